"""A promoted revision beside its predecessor: surely worse on the labels of enough windows, it is rolled back."""

import json

import pytest

from stationkeeper.api.meta import ENV_CONFIG
from tests.support.world import World, digest, policy
from tests.unit.control.planning.test_rollout import answering, replicas, status

LABELS = {"uri": "s3://labels/flights/"}
GOOD = ("Passed", "Passed", "Passed")


def promoted(**rollout) -> World:
    """Revision 2 serves, revision 1 is its champion; labels are checked, two of three windows decide."""
    world = World(policies=(policy(quality={"metric": "roc_auc", "maxDrop": 0.1}),))
    world.model["spec"]["labels"] = LABELS
    world.model["spec"]["serving"] = {"replicas": 2, "rollout": rollout}
    world.serve_first()
    world.advance(hours=2)
    world.annotate(retrain="once")
    world.settle()
    world.publish("second")
    world.settle()
    world.ready(2)
    world.settle()
    world.advance(minutes=5)
    world.settle()
    assert answering(world) == "2"
    return world


def asked(world: World) -> dict | None:
    """The predecessor in the configuration of the check."""
    (cronjob,) = (o for (kind, _), o in world.objects.items() if kind == "CronJob")
    env = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["env"]
    text = next(variable["value"] for variable in env if variable["name"] == ENV_CONFIG)
    found: dict | None = json.loads(text).get("predecessor")
    return found


def judged(world: World, *worse: bool | None) -> None:
    world.advance(hours=1)
    world.check(*[GOOD] * len(worse), quality=("Passed",) * len(worse), worse=worse)
    world.settle()


def test_checks_ask_the_predecessor_until_the_probation_is_over():
    world = promoted(probation="2h")
    assert asked(world) == {"number": 1, "digest": digest("first")}
    world.advance(hours=2)
    world.settle()
    assert asked(world) is None


@pytest.mark.parametrize("change", [{"probation": "0s"}, None, "pin"], ids=["no probation", "no labels", "a pin"])
def test_nobody_is_asked_where_nothing_could_follow(change):
    world = promoted(**(change if isinstance(change, dict) else {}))
    if change is None:
        del world.model["spec"]["labels"]
    elif change == "pin":
        world.model["spec"]["revision"] = 2
    world.edit("another spec")
    world.settle()
    assert asked(world) is None


def test_a_revision_that_is_surely_worse_is_rolled_back_told_and_not_tried_again():
    world = promoted()
    judged(world, True, True)
    assert replicas(world) == {"1": 2, "2": 2}, "the predecessor comes up first"
    assert answering(world) == "2"
    world.ready(1)
    world.settle()
    assert answering(world) == "1"
    (entry,) = status(world)["quarantine"]
    assert entry["digest"] == digest("second")
    assert entry["promoted"] is True
    assert entry["reason"].startswith("worse than revision 1 in 2 of 2 labelled windows of policy watch; roc_auc")
    assert any("event Warning RolledBack: revision 2: worse than revision 1" in line for line in world.transcript)
    world.advance(hours=12)
    world.settle()
    assert (answering(world), status(world).get("candidate")) == ("1", None)


@pytest.mark.parametrize(
    "worse",
    [(True,), (False, False, True), (None, None, True), (True, False, None, False)],
    ids=["one window", "one of three", "not asked", "long ago"],
)
def test_one_bad_window_is_not_enough(worse):
    world = promoted()
    judged(world, *worse)
    assert answering(world) == "2"
    assert not status(world).get("quarantine")


def test_a_predecessor_that_was_rolled_back_itself_is_nobody_to_go_back_to():
    world = promoted()
    world.model["status"]["quarantine"] = [
        {"digest": digest("first"), "reason": "bad", "at": world.now.isoformat(), "promoted": True}
    ]
    judged(world, True, True)
    assert answering(world) == "2"


def test_a_crash_between_any_two_writes_rolls_back_once():
    for crash in range(6):
        world = promoted()
        world.advance(hours=1)
        world.check(GOOD, GOOD, quality=("Passed", "Passed"), worse=(True, True))
        world.step(crash_after=crash)
        world.settle()
        world.ready(1)
        world.settle()
        assert answering(world) == "1", f"after {crash} writes"
        assert len(status(world)["quarantine"]) == 1
