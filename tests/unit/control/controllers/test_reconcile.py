"""Reconciles on an API server in memory: which requests they make, in which order, and what is left when one is cut short."""

import copy
from typing import Any

import pytest

from stationkeeper.api.base import canonical_json
from stationkeeper.control.controllers.act import StaleError
from stationkeeper.control.kube.errors import ConflictError, InvalidError, RetriableError, UnavailableError
from tests.support import world
from tests.support.memory_api import MemoryApi
from tests.support.site import FLIGHTS, MODEL, WATCH, Site

Object = dict[str, Any]


@pytest.fixture
async def site() -> Site:
    made = Site()
    await made.fill()
    return made


def plain(log: list[str]) -> list[str]:
    """Requests without the hashes in names."""
    return [request.rpartition("-")[0] if "-" in request else request for request in log]


# -- what it costs -----------------------------------------------------------------------------------------------------


async def test_the_life_of_a_model_is_as_few_requests_as_can_be(site):
    assert plain(await site.look()) == ["PATCH models/flights/status", "PATCH jobs/flights-train"]
    site.train()
    assert plain(await site.look()) == [
        "PATCH modelrevisions/flights-r1",
        "PATCH deployments/flights-r1",
        "PATCH deployments/flights-r1",  # two pods: their number has a manager of its own
        "PATCH models/flights/status",
    ]
    site.make_ready()
    assert plain(await site.look()) == [
        "PATCH models/flights/status",  # why it may serve, before it does: the decision rests on it
        "GET services/flights",  # a foreign one may be there
        "PATCH services/flights",
        "PATCH poddisruptionbudgets/flights-serving",
        "PATCH cronjobs/flights",
        "PATCH models/flights/status",
        "GET models/flights",  # the decision stands in its status, so the Job that writes it down may be made
        "PATCH jobs/flights-record",
    ]
    assert site.condition("Ready") == ("True", "Serving")
    assert site.events() == [
        "FirstTraining",
        "Training",
        "RevisionPublished",
        "Starting",
        "Proven",
        "RevisionServing",
        "Serving",
    ]


async def test_at_rest_a_look_costs_no_request(site):
    await site.serve()
    assert await site.look() == []
    assert await site.look(WATCH) == []
    site.advance(hours=5)
    assert await site.look() == []


async def test_a_new_operator_costs_no_request_either(site):
    await site.serve()
    before = copy.deepcopy(site.api.objects)
    site.start()
    await site.fill()
    assert await site.look() == []
    assert await site.look(WATCH) == []
    assert site.api.objects == before


async def test_our_own_writes_ask_for_no_look_but_of_the_policy_that_counts(site):
    await site.look()
    assert site.watch() == [WATCH]
    await site.look(WATCH)
    assert site.watch() == []


async def test_an_edit_is_one_apply_and_one_status(site):
    await site.serve()
    site.api.change(MODEL, lambda model: model["spec"]["serving"].update(replicas=5))
    assert plain(await site.look()) == ["PATCH deployments/flights-r1", "PATCH models/flights/status"]
    assert site.model["status"]["observedGeneration"] == 2


async def test_the_servers_own_form_of_a_value_is_no_reason_to_write(site):
    def canonical(obj: Object) -> None:
        if obj["kind"] == "Deployment":
            obj["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "as the server says"

    site.api.admit = canonical
    await site.serve()
    site.start()
    await site.fill()
    assert len(await site.look()) == 1, "a new operator asks once"
    assert await site.look() == []


async def test_a_decision_as_an_earlier_version_wrote_it_is_written_anew_once(site):
    await site.serve()
    (decision,) = site.model["status"]["decisions"]
    assert [value for value in decision.values() if not value] == []
    older = {**decision, "measured": [], "reports": [], "recorded": False}
    site.api.change(MODEL, lambda model: model["status"].update(decisions=[older]))
    assert await site.look() == ["PATCH models/flights/status"]
    assert site.model["status"]["decisions"] == [decision]
    assert await site.look() == []


async def test_a_status_that_the_server_cuts_is_written_once_a_look(site):
    def prune(obj: Object) -> None:  # its CRD is older than the operator
        obj.get("status", {}).pop("notices", None)

    site.api.admit = prune
    await site.serve()
    assert await site.look() == ["PATCH models/flights/status"]


async def test_what_somebody_keeps_undoing_is_given_a_rest(site):
    await site.serve()

    def undo(request: str) -> None:
        if request.startswith("PATCH deployments"):
            key = next(key for key in site.api.objects if key[0] == "deployments")
            site.store.put(site.api.change(key, lambda deployment: deployment["spec"].update(replicas=9)))

    site.api.after = undo
    site.api.change(MODEL, lambda model: model["spec"]["serving"].update(replicas=5))
    site.watch()
    assert await site.reconciler.reconcile(FLIGHTS) == 10
    assert len(site.api.log) < 30


# -- what others did meanwhile -----------------------------------------------------------------------------------------


def edited(model: Object) -> None:
    model["spec"]["training"]["estimator"]["params"] = {"max_iter": 7}


async def test_an_edit_that_was_not_seen_yet_stops_the_episode_that_was_planned_without_it(site):
    site.api.change(MODEL, edited)
    with pytest.raises(StaleError):
        await site.look(watch=False)
    assert site.api.all("jobs") == []
    await site.look(watch=False)  # the live object is in the store now
    (job,) = site.api.all("jobs")
    assert "max_iter" in canonical_json(job).decode()


async def test_an_edit_that_was_not_seen_yet_stops_the_job_of_an_episode_that_stands(site):
    def die(request: str) -> None:
        if request.startswith("PATCH jobs"):
            raise UnavailableError("the operator died")

    site.api.before = die
    with pytest.raises(UnavailableError):
        await site.look()
    site.api.before = lambda _: None
    site.start()
    await site.fill()
    site.api.change(MODEL, edited)
    with pytest.raises(StaleError):
        await site.look(watch=False)
    assert site.api.all("jobs") == []


async def test_a_model_that_is_gone_gets_nothing_any_more(site):
    site.api.remove(MODEL)
    with pytest.raises(StaleError):
        await site.look(watch=False)
    assert await site.look(watch=False) == []
    assert site.api.all("jobs") == []


async def test_a_model_that_was_made_anew_gets_nothing_of_the_old_one(site):
    site.api.remove(MODEL)
    site.api.create(world.model(), "models")
    with pytest.raises(StaleError):
        await site.look(watch=False)
    await site.look()
    (job,) = site.api.all("jobs")
    assert job["metadata"]["ownerReferences"][0]["uid"] == site.model["metadata"]["uid"]


async def test_a_model_that_is_being_deleted_is_left_alone(site):
    site.api.change(MODEL, lambda model: model["metadata"].update(deletionTimestamp="2026-01-05T12:00:00Z"))
    assert await site.look() == []


async def test_a_foreign_edit_is_put_right(site):
    await site.serve()
    key = next(key for key in site.api.objects if key[0] == "deployments")
    site.api.change(key, lambda deployment: deployment["spec"].update(replicas=9))
    assert site.watch() == [FLIGHTS]
    await site.look()
    assert site.api.objects[key]["spec"]["replicas"] == 2


async def test_a_child_that_lost_its_labels_gets_them_back_and_is_believed_again(site):
    await site.serve()
    key = next(key for key in site.api.objects if key[0] == "deployments")
    labels = site.api.objects[key]["metadata"]["labels"]
    site.api.change(key, lambda deployment: deployment["metadata"].update(labels={}))
    site.api.events[:] = [("DELETED", {**obj, "metadata": {**obj["metadata"], "labels": labels}}) for _, obj in site.api.events]
    assert site.watch() == [FLIGHTS]
    await site.look()
    assert site.api.objects[key]["metadata"]["labels"] == labels
    assert await site.look() == []


async def test_a_child_that_was_deleted_is_made_again(site):
    await site.serve()
    site.api.remove(("services", "ops", "flights"))
    assert site.watch() == [FLIGHTS]
    await site.look()
    assert ("services", "ops", "flights") in site.api.objects


async def test_a_service_of_somebody_else_is_told_and_never_touched(site):
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "flights", "namespace": "ops"}, "spec": {"mine": "no"}}
    before = site.api.create(theirs, "services")
    await site.look()
    site.train()
    await site.look()
    site.make_ready()
    with pytest.raises(StaleError):
        await site.look()
    assert await site.look() == ["GET services/flights", "PATCH models/flights/status", "GET services/flights"]
    assert site.condition("Stalled") == ("True", "NameConflict")
    assert await site.look() == ["GET services/flights"], "whether it is still there"
    assert site.api.objects["services", "ops", "flights"] == before
    site.api.remove(("services", "ops", "flights"))
    await site.look()
    assert site.condition("Stalled")[0] == "False"
    assert site.api.objects["services", "ops", "flights"]["spec"]["selector"]


ROUTED = {**world.model()["spec"], "serving": {"replicas": 2, "route": {"gateway": {"name": "public"}}}}


async def test_a_route_is_made_after_the_endpoints_that_it_sends_to():
    site = Site(model={**world.model(), "spec": ROUTED})
    await site.fill()
    await site.look()
    site.train()
    await site.look()
    site.make_ready()
    made = plain(await site.look())
    assert made == [  # its own Service came with its pods
        "PATCH models/flights/status",  # why it may serve
        "GET services/flights",
        "PATCH services/flights",
        "GET httproutes/flights",  # a foreign one may be there
        "PATCH httproutes/flights",
        "PATCH poddisruptionbudgets/flights-serving",
        "PATCH cronjobs/flights",
        "PATCH models/flights/status",
        "GET models/flights",  # its decision is written down
        "PATCH jobs/flights-record",
    ]
    assert site.condition("Routed") == ("Unknown", "RoutePending")
    assert await site.look() == []


async def test_what_the_gateway_says_of_the_route_is_heard():
    site = Site(model={**world.model(), "spec": ROUTED})
    await site.fill()
    await site.serve()
    key = ("httproutes", "ops", "flights")
    generation = site.api.objects[key]["metadata"]["generation"]
    condition = {"type": "Accepted", "status": "True", "reason": "Accepted", "observedGeneration": generation}
    parent = {"parentRef": {"name": "public"}, "controllerName": "example.com/gateway", "conditions": [condition]}
    site.api.change(key, lambda route: route.update(status={"parents": [parent]}))
    assert site.watch() == [FLIGHTS]
    assert await site.look() == ["PATCH models/flights/status"]
    assert site.condition("Routed") == ("True", "RouteAccepted")
    assert site.model["status"]["route"]["weights"] == [{"revision": 1, "weight": 100}]


async def test_a_route_of_somebody_else_is_told_and_never_touched(site):
    theirs = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {"mine": "no"}}
    before = site.api.create({**theirs, "metadata": {"name": "flights", "namespace": "ops"}}, "httproutes")
    await site.serve()
    assert site.condition("Ready") == ("True", "Serving")
    site.api.change(MODEL, lambda model: model.update(spec=ROUTED))
    with pytest.raises(StaleError):
        await site.look()
    await site.look()
    assert site.condition("Stalled") == ("True", "NameConflict")
    assert site.api.objects["httproutes", "ops", "flights"] == before
    site.api.remove(("httproutes", "ops", "flights"))
    await site.look()
    assert site.condition("Stalled")[0] == "False"
    assert site.api.objects["httproutes", "ops", "flights"]["spec"]["rules"]


async def test_a_cluster_that_loses_its_gateway_api_holds_up_nothing():
    site = Site(model={**world.model(), "spec": ROUTED})
    await site.fill()
    await site.serve()
    site.api.remove(("httproutes", "ops", "flights"))
    site.api.lacks.add("httproutes")
    site.api.change(MODEL, lambda model: model["spec"]["serving"].update(replicas=5))
    with pytest.raises(StaleError):
        await site.look()
    await site.look()
    assert site.condition("Routed") == ("False", "GatewayAPIMissing")
    assert [d["spec"]["replicas"] for d in site.api.all("deployments")] == [5]
    assert await site.look() == []


async def test_what_is_deleted_is_just_what_was_seen(site):
    site.api.create({**world.policy(), "metadata": {**world.policy()["metadata"], "name": "second"}}, "driftpolicies")
    await site.serve()
    assert len(site.api.all("cronjobs")) == 2
    site.api.remove(("driftpolicies", "ops", "second"))
    site.watch()
    key, old = next((key, obj) for key, obj in site.api.objects.items() if key[0] == "cronjobs" and "second" in str(obj))
    site.api.remove(key)
    site.api.create(old, "cronjobs")  # by somebody, under the same name
    with pytest.raises(StaleError):
        await site.look(watch=False)
    assert key in site.api.objects


# -- when it is cut short ----------------------------------------------------------------------------------------------


async def test_what_the_api_server_refuses_people_hear_of(site):
    def refuse(request: str) -> None:
        if request.startswith("PATCH jobs"):
            raise InvalidError("spec.template: no", 422)

    site.api.before = refuse
    with pytest.raises(InvalidError):
        await site.look()
    assert site.events() == ["FirstTraining", "Training", "ApplyRefused"]


@pytest.mark.parametrize("error", [UnavailableError("no answer"), ConflictError("modified", 409)])
async def test_what_may_succeed_later_is_no_news_for_people(site, error):
    def refuse(request: str) -> None:
        if request.startswith("PATCH jobs"):
            raise error

    site.api.before = refuse
    with pytest.raises(RetriableError):
        await site.look()
    assert "ApplyRefused" not in site.events()


class DeathError(Exception):
    """The operator's process ended."""


async def live(site: Site) -> None:
    """The whole life of a Model, by an operator that is started anew whenever it dies."""
    steps = [lambda: None, site.train, site.make_ready, lambda: site.advance(minutes=1), lambda: None]
    for step in steps:
        step()
        while True:
            try:
                await site.look()
                await site.look(WATCH)
                break
            except (DeathError, StaleError):
                site.start()
                await site.fill()


def substance(api: MemoryApi) -> dict[str, Any]:
    """All that stands in the cluster, without what differs from life to life."""

    def stripped(obj: Object) -> Object:
        meta = {name: obj["metadata"].get(name) for name in ("labels", "annotations")}
        return {"metadata": meta, "spec": obj.get("spec"), "status": obj.get("status")}

    return {"/".join(key): stripped(obj) for key, obj in api.objects.items() if key[0] != "events"}


async def test_dying_at_any_request_leaves_nothing_undone_and_nothing_done_twice():
    whole = Site()
    await whole.fill()
    await live(whole)
    wanted = substance(whole.api)
    assert whole.condition("Ready") == ("True", "Serving")
    requests: list[str] = []
    counted = Site()
    counted.api.before = requests.append
    await counted.fill()
    await live(counted)
    for moment in ("before", "after"):
        for number in range(len(requests)):
            site = Site()
            die_at(site.api, moment, number)
            await live_from_start(site)
            assert substance(site.api) == wanted, f"died {moment} request {number}: {requests[number]}"
            made = plain([job["metadata"]["name"] for job in site.api.all("jobs")])
            assert sorted(made) == ["flights-record", "flights-train"]
            assert len(site.api.all("modelrevisions")) == 1


def die_at(api: MemoryApi, moment: str, number: int) -> None:
    """The operator dies once, before or after this request."""
    left = [number]

    def hook(_: str) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise DeathError

    setattr(api, moment, hook)


async def live_from_start(site: Site) -> None:
    try:
        await site.fill()
    except DeathError:
        site.start()
        await site.fill()
    await live(site)


# -- people and policies -----------------------------------------------------------------------------------------------


async def test_people_are_told_only_what_stands_in_the_status(monkeypatch):
    model = world.model()
    model["spec"]["notify"] = ["ml-team"]
    site = Site(model=model)
    await site.fill()
    told: list[tuple[list[str], list[str]]] = []

    def submit(_key: object, names: list[str], messages: list[Any]) -> None:
        written = [notice["id"] for notice in site.model["status"]["notices"]]
        told.append(([message.notice.id for message in messages], written))

    monkeypatch.setattr(site.notifier, "submit", submit)
    await site.serve()
    assert told
    for submitted, written in told:
        assert submitted == written


async def test_a_policy_counts_its_models(site):
    assert await site.look(WATCH) == ["PATCH driftpolicies/watch/status"]
    assert site.api.objects["driftpolicies", "ops", "watch"]["status"]["models"] == 1
    assert await site.look(WATCH) == []


async def test_a_key_without_an_object_is_done(site):
    assert await site.reconciler.reconcile(FLIGHTS._replace(name="unknown")) is None
