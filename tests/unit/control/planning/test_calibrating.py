"""`Calibrating`: what breaches while nobody knows what windows ordinarily differ by is told, and nothing is done about it."""

from datetime import timedelta
from typing import Any

import pytest

from stationkeeper.control.planning.policy import plan_policy
from tests.support.world import START, World, policy
from tests.unit.control.planning.test_memory import BROKEN, DRIFT, GOOD, SHIFT

WHY = "the reference has no timestamps; drift is observed only until 20 windows over 7 days show what they ordinarily differ by"
LONG_AGO = START - timedelta(days=30)  # the training's rows: what differs is no skew


def watched(through: Any = LONG_AGO, **spec: Any) -> World:
    world = World(policies=(policy(**spec),))
    world.serve_first(through)
    world.advance(minutes=5)
    return world


def told(world: World, *windows: tuple[str, str, str], calibrating: str = WHY) -> tuple[str, str]:
    world.advance(minutes=len(windows))
    world.check(*windows, calibrating=calibrating)
    world.settle()
    drifted = world.condition("Drifted")
    return drifted["status"], drifted["reason"]


@pytest.mark.parametrize(
    ("windows", "drifted"),
    [
        ((GOOD, GOOD, GOOD), ("False", "Calibrating")),
        ((GOOD, DRIFT, GOOD), ("False", "Calibrating")),
        ((DRIFT, DRIFT), ("Unknown", "Calibrating")),
        ((SHIFT, GOOD, SHIFT), ("Unknown", "Calibrating")),
        ((DRIFT, SHIFT), ("False", "Calibrating")),
        ((BROKEN, BROKEN), ("Unknown", "InsufficientData")),
    ],
    ids=[
        "all is calm",
        "one of three breached",
        "two of three",
        "in answers",
        "one in each group",
        "broken data says nothing of drift",
    ],
)
def test_a_breach_is_told_and_retrains_nobody(windows: tuple[tuple[str, str, str], ...], drifted: tuple[str, str]) -> None:
    world = watched()
    assert told(world, *windows) == drifted
    assert world.model["status"].get("episode") is None
    assert world.condition("Skewed")["status"] != "True"
    assert world.condition("DataValid")["status"] == ("False" if windows[0] == BROKEN else "True")
    if drifted[1] == "Calibrating":
        assert WHY in world.condition("Drifted")["message"]
    assert world.condition("Ready")["status"] == "True"
    plan = plan_policy(world.policies[0], [world.model], world.now, world.settings)
    assert plan.status is not None
    assert plan.status["drifted"] == 0


def test_what_was_observed_is_no_drift_once_thresholds_are_calibrated() -> None:
    world = watched()
    assert told(world, DRIFT, DRIFT) == ("Unknown", "Calibrating")
    assert told(world, DRIFT, calibrating="") == ("Unknown", "Calibrating")
    assert "before their thresholds were calibrated" in world.condition("Drifted")["message"]
    assert world.model["status"].get("episode") is None
    assert told(world, DRIFT, calibrating="") == ("True", "DriftDetected")
    assert world.model["status"]["episode"]["cause"] == "Drift"


def test_calm_windows_end_it_too() -> None:
    world = watched()
    assert told(world, DRIFT, DRIFT) == ("Unknown", "Calibrating")
    assert told(world, GOOD, GOOD, calibrating="") == ("False", "ChecksPassed")


def test_it_is_no_skew_that_windows_differ_from_a_reference_that_knows_too_little() -> None:
    world = watched(START)
    assert told(world, DRIFT, DRIFT) == ("Unknown", "Calibrating")
    assert world.condition("Skewed")["status"] == "False" or world.condition("Skewed")["reason"] == "NotChecked"
    assert told(world, DRIFT, DRIFT, calibrating="") == ("Unknown", "SkewDetected")


def test_people_are_told_once() -> None:
    world = watched()
    for _ in range(3):
        told(world, DRIFT, DRIFT)
    assert len([line for line in world.transcript if "event Normal Calibrating" in line]) == 1


def test_lost_quality_does_not_wait() -> None:
    world = World(policies=(policy(quality={"metric": "roc_auc", "min": 0.6}),))
    world.model["spec"]["labels"] = {"uri": "s3://labels/flights/"}
    world.serve_first(LONG_AGO)
    world.advance(minutes=5)
    world.check(DRIFT, DRIFT, quality=("Breached", "Breached"), calibrating=WHY)
    world.settle()
    assert (world.condition("Drifted")["status"], world.condition("Drifted")["reason"]) == ("True", "QualityLost")
    assert world.model["status"]["episode"]["cause"] == "Quality"
