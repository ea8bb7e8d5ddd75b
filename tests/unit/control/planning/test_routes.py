"""Requests through a Gateway: exact weights, told as transcripts, and what the Gateway has not taken over."""

import pytest

from tests.support import transcripts
from tests.support.world import World, digest, policy
from tests.unit.control.planning.test_rollout import CANARY, DRIFT, answering, replicas, status

ROUTE = {"gateway": {"name": "public", "namespace": "infra"}, "hostnames": ["flights.example.com"]}


def settle(world: World) -> None:
    """Operator and Gateway, until both are at rest."""
    world.settle()
    world.gateway()
    world.settle()


def after(world: World, **delta: float) -> None:
    world.advance(**delta)
    settle(world)


def routed(replicas: int = 4, **rollout) -> World:
    """Revision 1 serves behind a Gateway."""
    world = World(policies=(policy(),))
    world.model["spec"]["serving"] = {"replicas": replicas, "route": ROUTE, "rollout": {**CANARY, **rollout}}
    world.serve_first()
    settle(world)
    return world


def candidate(world: World | None = None, **rollout) -> World:
    """Revision 2 is published."""
    world = world or routed(**rollout)
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.transcript.clear()
    world.publish("second")
    settle(world)
    return world


def on_first_step(**rollout) -> World:
    world = candidate(**rollout)
    world.ready(2)
    settle(world)
    world.answered(1, 4000)
    after(world, seconds=5)
    return world


def shares(world: World) -> dict[int, int]:
    """What the route asks for, by revision."""
    numbers = {
        name: obj["metadata"]["labels"]["stationkeeper.dev/revision"]
        for (_, name), obj in world.objects.items()
        if obj["kind"] == "Service"
    }
    refs = world.objects[("HTTPRoute", "flights")]["spec"]["rules"][0]["backendRefs"]
    return {int(numbers[ref["name"]]): ref["weight"] for ref in refs}


def services(world: World) -> set[str]:
    return {
        obj["metadata"]["labels"]["stationkeeper.dev/revision"]
        for (kind, name), obj in world.objects.items()
        if kind == "Service" and name != "flights"
    }


def weights_to_promotion() -> World:
    world = on_first_step()
    world.answered(2, 300)
    after(world, seconds=65)
    world.ready(2)
    settle(world)
    world.answered(2, 900)
    after(world, seconds=125)
    world.ready(2)
    settle(world)
    after(world, seconds=5)
    after(world, seconds=31)
    return world


def weights_to_rollback() -> World:
    world = on_first_step()
    world.answered(2, 30, errors=3)
    world.advance(seconds=5)
    world.settle()
    world.say("the Gateway has not heard of it yet: the pods stay")
    after(world, seconds=5)
    after(world, seconds=31)
    return world


def route_not_accepted() -> World:
    world = routed()
    world.refusal = "NotAllowedByListeners"
    world.model["spec"]["serving"]["route"]["hostnames"] = ["other.example.com"]
    world.edit("a host name that the listener does not allow")
    candidate(world)
    world.ready(2)
    settle(world)
    after(world, hours=1)
    world.refusal = ""
    settle(world)
    after(world, seconds=31)
    after(world, seconds=5)
    return world


def no_gateway_api() -> World:
    world = routed()
    del world.objects[("HTTPRoute", "flights")]
    world.routable = False
    candidate(world)
    world.ready(2)
    settle(world)
    after(world, hours=1)
    return world


def all_at_once() -> World:
    world = candidate(strategy="BlueGreen")
    world.ready(2)
    settle(world)
    after(world, seconds=4)
    after(world, seconds=31)
    return world


SCENARIOS = [weights_to_promotion, weights_to_rollback, route_not_accepted, no_gateway_api, all_at_once]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_transcript(scenario, request):
    transcripts.check(scenario, request)


def parent(world: World) -> dict:
    """What the Gateway wrote of the route."""
    (found,) = world.objects[("HTTPRoute", "flights")]["status"]["parents"]
    return found


def test_the_service_goes_to_the_stable_revision_alone_while_the_route_shares():
    world = on_first_step()
    assert (answering(world), shares(world), status(world)["candidate"]["weight"]) == ("1", {1: 80, 2: 20}, 20)


def test_the_weight_that_is_told_is_what_the_gateway_has_taken():
    world = candidate()
    world.ready(2)
    world.settle()
    world.advance(seconds=5)
    world.settle()
    assert (shares(world), status(world)["candidate"]["weight"]) == ({1: 80, 2: 20}, 0)
    settle(world)
    assert status(world)["candidate"]["weight"] == 20


def test_a_canary_behind_a_gateway_has_the_pods_that_its_share_of_the_load_needs():
    for weight, pods in ((1, 1), (20, 2), (50, 5), (99, 10)):
        world = candidate(replicas=10, steps=[{"weight": weight, "hold": "1m"}])
        assert replicas(world)["2"] == pods


def test_a_step_that_the_gateway_has_not_taken_is_never_passed_and_its_hold_begins_with_it():
    world = on_first_step(analysis={"minRequests": 200, "deadline": "10m"})
    world.answered(2, 300)
    after(world, seconds=65)
    world.ready(2)
    world.settle()
    world.answered(2, 0)
    for _ in range(3):  # the Gateway's controller is away
        world.advance(minutes=20)
        world.settle()
    assert status(world)["candidate"]["step"] == 1
    assert "has not taken" in world.condition("RolloutProgressing")["message"]
    assert "quarantine" not in status(world) or not status(world)["quarantine"], "it cannot be blamed for what it never got"
    world.answered(2, 300)
    settle(world)
    after(world, seconds=60)
    assert status(world)["candidate"]["step"] == 1, "the hold began when the weight was taken"
    after(world, seconds=61)
    assert status(world)["candidate"]["step"] == 2


def test_a_fault_is_taken_back_though_the_gateway_is_away():
    world = on_first_step()
    world.answered(2, 300, errors=50)
    world.advance(seconds=5)
    world.settle()
    assert (shares(world), answering(world)) == ({1: 100}, "1")
    world.advance(hours=5)
    world.settle()
    assert replicas(world) == {"1": 4, "2": 1}, "who may still get a request keeps its pods"
    assert services(world) == {"1", "2"}
    settle(world)
    after(world, seconds=31)
    assert (replicas(world), services(world)) == ({"1": 4}, {"1"})


def test_what_another_gateway_says_and_what_was_said_of_another_generation_is_not_believed():
    world = on_first_step()
    parent(world)["parentRef"]["name"] = "somebody-elses"
    world.settle()
    assert world.condition("Routed")["reason"] == "RoutePending"
    parent(world)["parentRef"]["name"] = "public"
    parent(world)["conditions"][0]["observedGeneration"] = 1
    world.settle()
    assert "has not taken" in world.condition("RolloutProgressing")["message"]
    assert world.condition("Routed")["status"] == "True", "of what stood there before it was so"


def test_a_route_whose_backends_are_not_resolved_is_not_taken():
    world = on_first_step()
    generation = world.objects[("HTTPRoute", "flights")]["metadata"]["generation"]
    condition = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": "no such Service"}
    parent(world)["conditions"].append({**condition, "observedGeneration": generation})
    world.settle()
    found = world.condition("Routed")
    assert (found["status"], found["reason"]) == ("False", "RouteNotAccepted")
    assert "BackendNotFound: no such Service" in found["message"]
    assert world.condition("Ready")["status"] == "True", "the Service serves"


def test_a_lost_pod_costs_a_canary_nothing_and_a_canary_without_any_gets_nothing():
    world = candidate(replicas=10)
    world.ready(2)
    settle(world)
    world.answered(1, 4000)
    after(world, seconds=5)
    world.ready(2, pods=1)
    settle(world)
    assert shares(world) == {1: 80, 2: 20}
    world.ready(2, pods=0)
    settle(world)
    assert shares(world) == {1: 100}
    world.ready(2)
    settle(world)
    assert shares(world) == {1: 80, 2: 20}


def test_a_person_rolls_back_and_the_route_follows_the_service():
    world = all_at_once()
    world.annotate(rollback=digest("second"))
    settle(world)
    world.ready(1)
    settle(world)
    assert (answering(world), shares(world)) == ("1", {2: 100}), "the Gateway must know the endpoints first"
    assert services(world) == {"1", "2"}
    after(world, seconds=4)
    assert shares(world) == {1: 100}
    after(world, seconds=31)
    assert (replicas(world), services(world)) == ({"1": 4}, {"1"})


def test_a_route_that_is_not_wanted_any_more_goes_with_its_services():
    world = routed()
    del world.model["spec"]["serving"]["route"]
    world.edit("without a route")
    settle(world)
    assert ("HTTPRoute", "flights") not in world.objects
    assert services(world) == set()
    assert answering(world) == "1"
    assert "Routed" not in {c["type"] for c in status(world)["conditions"]}
    assert "route" not in status(world)


def test_without_a_route_nothing_is_made_for_one():
    world = World()
    world.serve_first()
    assert services(world) == set()
    assert not [kind for kind, _ in world.objects if kind == "HTTPRoute"]
    assert "Routed" not in {c["type"] for c in status(world)["conditions"]}


def test_a_route_of_somebody_else_is_a_conflict_and_never_touched():
    world = World()
    world.serve_first()
    theirs = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {"rules": []}}
    theirs |= {"metadata": {"name": "flights", "namespace": "ops", "uid": "theirs"}}
    world.objects[("HTTPRoute", "flights")] = theirs
    world.settle()
    assert world.condition("Ready")["status"] == "True", "nobody asked for a route"
    world.model["spec"]["serving"]["route"] = ROUTE
    world.edit("a route")
    world.settle()
    found = world.condition("Stalled")
    assert (found["status"], found["reason"]) == ("True", "NameConflict")
    assert "HTTPRoute named flights" in found["message"]
    assert world.objects[("HTTPRoute", "flights")] == theirs


def test_with_no_gateway_api_models_serve_and_all_at_once_goes_on():
    world = routed(strategy="BlueGreen")
    del world.objects[("HTTPRoute", "flights")]
    world.routable = False
    candidate(world)
    assert world.condition("Routed")["reason"] == "GatewayAPIMissing"
    world.ready(2)
    settle(world)
    assert answering(world) == "2"
    assert world.condition("Ready")["status"] == "True"


def test_every_crash_between_two_writes_ends_with_the_canary_promoted():
    def play(crash_after: int | None) -> World:
        world = candidate()

        def go() -> None:
            if crash_after is not None:
                world.step(crash_after)
            settle(world)
            world.advance(seconds=4)
            settle(world)

        world.answered(1, 4000)
        for requests, seconds in ((0, 1), (300, 61), (900, 121), (0, 5), (0, 31), (0, 31)):
            world.ready(2)
            world.answered(2, requests)
            go()
            world.advance(seconds=seconds)
            go()
        return world

    for writes in range(7):
        crashed = play(writes)
        assert (answering(crashed), shares(crashed), replicas(crashed)) == ("2", {2: 100}, {"1": 0, "2": 4})
        assert services(crashed) == {"2"}
