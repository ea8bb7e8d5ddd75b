"""How many pods serve, and what keeps them in number: the spec, or an autoscaler; a budget for evictions."""

from tests.support.world import World
from tests.unit.control.planning.test_rollout import CANARY, answering, replicas, status

AUTOSCALING = {"minReplicas": 2, "maxReplicas": 10}


def serving(**fields) -> World:
    world = World()
    world.model["spec"]["serving"] = fields
    world.serve_first()
    return world


def deployment(world: World, number: int) -> dict:
    found = (o for (kind, _), o in world.objects.items() if kind == "Deployment")
    return next(o for o in found if o["metadata"]["labels"]["stationkeeper.dev/revision"] == str(number))


def guard(world: World, kind: str) -> dict | None:
    return next((o["spec"] for (k, _), o in world.objects.items() if k == kind), None)


def scale(world: World, number: int, pods: int) -> None:
    """The autoscaler decides."""
    found = deployment(world, number)
    found["spec"]["replicas"] = pods
    found["metadata"]["generation"] += 1
    world.ready(number)
    world.settle()


def test_an_autoscaler_has_the_stable_deployment_and_its_number_is_never_taken_back():
    world = serving(replicas=1, autoscaling=AUTOSCALING)
    target = guard(world, "HorizontalPodAutoscaler")["scaleTargetRef"]
    assert target["name"] == deployment(world, 1)["metadata"]["name"]
    assert replicas(world) == {"1": 2}, "it begins with the least"
    scale(world, 1, 7)
    assert replicas(world) == {"1": 7}
    built = [obj for obj in world.plan().apply if obj["kind"] == "Deployment"]
    assert ["replicas" in obj["spec"] for obj in built] == [False]
    assert status(world)["replicas"] == 7


def test_a_candidate_gets_as_many_pods_as_the_load_has_asked_for_and_then_the_autoscaler():
    world = serving(autoscaling=AUTOSCALING, rollout={**CANARY, "steps": [{"weight": 50, "hold": "1m"}]})
    scale(world, 1, 6)
    world.annotate(retrain="once")
    world.settle()
    world.publish("second")
    world.settle()
    assert replicas(world) == {"1": 6, "2": 6}
    world.ready(2)
    world.settle()
    scale(world, 1, 8)  # the load grows meanwhile
    assert replicas(world) == {"1": 8, "2": 8}
    world.ready(2)
    world.answered(1, 4000)
    world.answered(2, 4000)
    world.advance(seconds=70)
    world.settle()
    assert answering(world) == "2"
    assert guard(world, "HorizontalPodAutoscaler")["scaleTargetRef"]["name"] == deployment(world, 2)["metadata"]["name"]
    scale(world, 2, 3)
    world.advance(minutes=5)
    world.settle()
    assert replicas(world) == {"1": 0, "2": 3}


def test_without_autoscaling_again_the_spec_says_how_many():
    world = serving(replicas=3, autoscaling=AUTOSCALING)
    scale(world, 1, 9)
    del world.model["spec"]["serving"]["autoscaling"]
    world.edit("no autoscaling")
    world.settle()
    assert replicas(world) == {"1": 3}
    assert guard(world, "HorizontalPodAutoscaler") is None


def test_what_made_room_for_a_failed_candidate_is_started_again_though_autoscalers_start_nothing():
    world = serving(autoscaling=AUTOSCALING, rollout={"strategy": "Recreate"})
    world.annotate(retrain="once")
    world.settle()
    world.publish("second")
    world.settle()
    assert replicas(world) == {"1": 0, "2": 2}
    world.annotate(reject=status(world)["candidate"]["digest"])
    world.settle()
    assert replicas(world)["1"] == 2


def test_one_pod_at_a_time_may_be_evicted_of_the_revision_that_serves():
    world = serving(replicas=2)
    budget = guard(world, "PodDisruptionBudget")
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["selector"]["matchLabels"]["stationkeeper.dev/revision"] == "1"
    world.advance(hours=8)
    world.annotate(retrain="once")
    world.settle()
    world.publish("second")
    world.settle()
    world.ready(2)
    world.settle()
    assert guard(world, "PodDisruptionBudget")["selector"]["matchLabels"]["stationkeeper.dev/revision"] == "2"


def test_a_single_pod_has_no_budget():
    world = serving(replicas=2)
    world.model["spec"]["serving"]["replicas"] = 1
    world.edit("one will do")
    world.settle()
    assert guard(world, "PodDisruptionBudget") is None
    assert guard(serving(replicas=1), "PodDisruptionBudget") is None
    assert guard(serving(replicas=0), "PodDisruptionBudget") is None
