"""When storage is swept: after a promotion and each week, alone, and never what matters."""

import json
from typing import Any

import pytest

from stationkeeper.api.jobs import SweepConfig
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import FailureSummary, SweepSummary
from tests.support.world import World, digest, policy

SWEEP = {"artifacts": "Sweep"}


def serving(**retention: Any) -> World:
    world = World(policies=(policy(),))
    world.model["spec"]["retention"] = retention
    world.serve_first()
    return world


def told(world: World) -> SweepConfig:
    (container,) = world.sweep_jobs()[-1]["spec"]["template"]["spec"]["containers"]
    return SweepConfig.model_validate(json.loads(container["env"][0]["value"]))


def train(world: World, token: str) -> None:
    world.annotate(retrain=token)
    world.settle()


def promote(world: World, token: str) -> None:
    world.advance(minutes=1)
    train(world, token)
    world.publish(token)
    world.settle()
    world.ready(world.model["status"]["candidate"]["number"])
    world.settle()
    world.advance(seconds=31)
    world.settle()


def ended(world: World, **counts: Any) -> None:
    world.end_sweep(SweepSummary(**counts))
    world.settle()


def test_by_default_nothing_is_ever_deleted():
    world = serving()
    world.advance(days=30)
    world.settle()
    assert world.sweep_jobs() == []
    assert "sweep" not in world.model["status"]


@pytest.mark.parametrize("retention", [SWEEP, {"captured": "90d"}, {"reports": "180d"}])
def test_it_is_swept_after_a_promotion_and_each_week_and_says_what_went(retention):
    world = serving(**retention)
    assert len(world.sweep_jobs()) == 1
    ended(world, manifests=2, files=7, captured=3)
    assert world.model["status"]["sweep"]["message"] == "deleted: 2 revisions, 7 files, 3 captured files"
    world.advance(days=6)
    world.settle()
    assert len(world.sweep_jobs()) == 1
    assert world.plan().requeue_after == pytest.approx(86400, abs=200)
    world.advance(days=1, minutes=5)
    world.settle()
    assert len(world.sweep_jobs()) == 2
    ended(world)
    promote(world, "next")
    assert len(world.sweep_jobs()) == 3
    assert set(told(world).serving) == {digest("next"), digest("first")}, "labels of its predecessor may yet come"


def test_everything_on_record_or_running_is_marked_and_a_pin_by_its_number():
    world = serving(**SWEEP)
    ended(world)
    world.model["spec"]["revisionHistoryLimit"] = 2
    for token in ("a", "b"):
        promote(world, token)
        ended(world)
    train(world, "c")
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused")
    world.settle()
    world.model["spec"]["revision"] = 3
    world.advance(days=8)
    world.settle()
    assert set(told(world).kept) == {digest("a"), digest("b")}, "revision 1 is on record no more; a refused one has no artifacts"
    assert told(world).pinned == 3


def test_a_record_that_cannot_be_read_marks_its_artifacts_all_the_same():
    world = serving(**SWEEP)
    ended(world)
    record = next(o for o in world.objects.values() if o["kind"] == "ModelRevision")
    strange = json.loads(json.dumps(record))
    strange["metadata"] |= {"name": "flights-r9", "uid": "uid-strange"}
    strange["spec"] |= {"number": 9, "digest": digest("strange"), "cause": "Boredom"}  # as a later version may have it
    world.objects[("ModelRevision", "flights-r9")] = strange
    world.advance(days=8)
    world.settle()
    assert set(told(world).kept) == {digest("first"), digest("strange")}


def test_a_sweep_waits_for_a_training_and_a_training_for_a_sweep():
    world = serving(**SWEEP)
    train(world, "during")
    assert world.model["status"]["waiting"]["reason"] == "Sweeping"
    assert not [
        name
        for kind, name in world.objects
        if kind == "Job" and "-train-" in name and world.objects[kind, name].get("status") is None
    ]
    ended(world)
    assert world.condition("Retraining")["reason"] == "Training"
    world.advance(days=8)
    world.settle()
    assert len(world.sweep_jobs()) == 1, "a training runs"
    world.publish("second")
    world.settle()
    assert len(world.sweep_jobs()) == 1, "a rollout runs"
    world.ready(2)
    world.settle()
    world.advance(seconds=31)
    world.settle()
    assert len(world.sweep_jobs()) == 2


def test_a_training_that_was_superseded_may_still_be_ending():
    world = serving(**SWEEP)
    ended(world)
    train(world, "once")
    world.advance(days=8)
    world.model["spec"]["training"]["estimator"]["params"] = {"max_iter": 7}
    world.model["spec"]["retraining"]["suspend"] = True
    world.edit("the estimator is edited, and nothing may train")
    plan = world.step()
    assert any("-train-" in ref.name for ref in plan.delete)
    assert world.model["status"]["sweep"]["done"] is True, "its Job was still there"
    world.settle()
    assert len(world.sweep_jobs()) == 2


@pytest.mark.parametrize("writes", range(4))
def test_no_crash_sweeps_twice(writes):
    world = serving(**SWEEP)
    ended(world)
    world.advance(days=8)
    world.step(crash_after=writes)
    world.step(crash_after=writes)
    world.settle()
    assert len(world.sweep_jobs()) == 2
    assert world.model["status"]["sweep"]["done"] is False


def test_a_sweep_that_failed_is_told_and_tried_again_the_next_day():
    world = serving(**SWEEP)
    world.end_sweep(FailureSummary(reason="StorageDenied", message="cannot delete s3://models/flights/blobs/1"), exit_code=3)
    world.settle()
    assert world.model["status"]["sweep"]["message"] == "StorageDenied: cannot delete s3://models/flights/blobs/1"
    assert any("Warning SweepFailed" in line for line in world.transcript)
    world.advance(hours=23)
    world.settle()
    assert len(world.sweep_jobs()) == 1
    world.advance(hours=2)
    world.settle()
    assert len(world.sweep_jobs()) == 2
    ended(world, manifests=20_000, complete=False)
    world.advance(hours=25)
    world.settle()
    assert len(world.sweep_jobs()) == 3


def test_switching_it_off_ends_the_one_that_runs():
    world = serving(**SWEEP)
    del world.model["spec"]["retention"]
    world.edit("keep everything")
    world.settle()
    assert world.sweep_jobs() == []
    assert world.model["status"]["sweep"]["done"] is True
    train(world, "on")
    assert world.condition("Retraining")["reason"] == "Training"
