"""A watched object that changes is changed code; one that cannot be seen is not."""

import itertools
import json
from typing import Any

import pytest

from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import FailureSummary, Summary, WatchSummary
from tests.support.world import World, digest, model, policy

URI = "s3://code/flights/train.tar.gz"
_numbers = itertools.count(1)


def watching() -> World:
    world = World(model(watch={"uri": URI}))
    world.serve_first()
    return world


def cronjob(world: World) -> dict[str, Any]:
    (found,) = [o for (kind, _), o in world.objects.items() if kind == "CronJob"]
    return found


def look(world: World, said: Summary, exit_code: int = 0) -> None:
    """The CronJob looks, and its pod ends."""
    name = f"look-{next(_numbers)}"
    world.advance(minutes=15)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "ops",
            "uid": f"uid-of-{name}",
            "creationTimestamp": world.now.isoformat(),
            "ownerReferences": [{"uid": cronjob(world)["metadata"]["uid"], "controller": True}],
        },
        "spec": {},
        "status": {"conditions": [{"type": "Failed" if exit_code else "Complete", "status": "True"}]},
    }
    world.objects[("Job", name)] = job
    world.pod(job, "watch", said.encode().decode(), exit_code)
    world.settle()


def see(world: World, state: str, uri: str = URI) -> None:
    look(world, WatchSummary(uri=uri, digest=digest(state)))


def cause(world: World) -> str | None:
    return (world.model["status"].get("episode") or {}).get("cause")


def test_what_is_seen_first_is_no_change_and_what_is_another_later_is():
    world = watching()
    see(world, "one")
    see(world, "one")
    assert cause(world) is None
    see(world, "two")
    assert cause(world) == "CodeChange"
    assert any("WatchedChanged" in line and URI in line for line in world.transcript)
    world.publish("second")
    world.settle()
    world.ready(2)
    world.settle()
    world.advance(seconds=40)
    world.settle()
    see(world, "two")
    assert cause(world) is None, "it has been trained"
    see(world, "one")
    assert cause(world) == "CodeChange", "code that goes back is another too"


def test_a_change_that_was_refused_is_not_tried_again():
    world = watching()
    see(world, "one")
    see(world, "two")
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused")
    world.settle()
    see(world, "two")
    assert cause(world) is None


def test_a_change_supersedes_a_training_that_runs():
    world = watching()
    see(world, "one")
    see(world, "two")
    before = world.training_job()["metadata"]["name"]
    see(world, "three")
    assert world.training_job()["metadata"]["name"] != before
    assert ("Job", before) not in world.objects


def test_what_cannot_be_seen_is_told_once_and_is_no_change():
    world = watching()
    see(world, "one")
    for _ in range(2):
        look(world, FailureSummary(reason="ArtifactMissing", message=f"{URI} does not exist"), exit_code=3)
    assert cause(world) is None
    assert world.model["status"]["watched"]["trouble"] == f"ArtifactMissing: {URI} does not exist"
    assert len([line for line in world.transcript if "WatchFailed" in line]) == 1
    see(world, "one")
    assert "trouble" not in world.model["status"]["watched"]
    assert cause(world) is None


def test_another_object_begins_anew_and_none_is_forgotten():
    world = watching()
    see(world, "one")
    world.model["spec"]["training"]["watch"] = {"uri": "s3://code/other.zip"}
    world.edit("another object")
    world.settle()
    see(world, "two")  # a late word about the old one
    assert cause(world) is None
    see(world, "three", uri="s3://code/other.zip")
    assert cause(world) is None
    assert world.model["status"]["watched"]["first"] == digest("three")
    del world.model["spec"]["training"]["watch"]
    world.edit("nothing is watched")
    world.settle()
    assert "watched" not in world.model["status"]
    assert [key for key in world.objects if key[0] == "CronJob"] == []
    assert cause(world) is None


def test_it_is_looked_at_before_the_first_revision_serves_too():
    world = World(model(watch={"uri": URI, "schedule": "0 * * * *"}))
    world.settle()
    spec = cronjob(world)["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("0 * * * *", "Forbid")
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert json.loads(container["env"][0]["value"])["uri"] == URI


def test_policies_and_a_watched_object_have_a_cronjob_each():
    world = World(model(watch={"uri": URI}), policies=(policy(),))
    world.serve_first()
    assert len([key for key in world.objects if key[0] == "CronJob"]) == 2
    world.policies.clear()
    world.settle()
    assert len([key for key in world.objects if key[0] == "CronJob"]) == 1


@pytest.mark.parametrize("writes", range(4))
def test_no_crash_trains_a_change_twice(writes):
    world = watching()
    see(world, "one")
    name = f"look-{next(_numbers)}"
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "ops",
            "uid": f"uid-of-{name}",
            "creationTimestamp": "2027-01-01T00:00:00Z",
            "ownerReferences": [{"uid": cronjob(world)["metadata"]["uid"], "controller": True}],
        },
        "spec": {},
    }
    world.objects[("Job", name)] = job
    world.pod(job, "watch", WatchSummary(uri=URI, digest=digest("two")).encode().decode())
    world.step(crash_after=writes)
    world.step(crash_after=writes)
    world.settle()
    trainings = [key for key in world.objects if key[0] == "Job" and "-train-" in key[1]]
    assert len(trainings) == 2
    assert cause(world) == "CodeChange"


def test_what_was_trained_from_this_very_state_is_not_trained_again_when_the_status_is_lost():
    world = watching()
    see(world, "one")
    see(world, "two")
    world.publish("second")
    world.settle()
    world.ready(2)
    world.settle()
    world.advance(seconds=40)
    world.settle()
    del world.model["status"]
    for key in [key for key in world.objects if key[1].startswith("look-")]:
        del world.objects[key]
    world.settle()
    assert cause(world) is None, "nothing has been seen, and that is no change"
    see(world, "two")
    assert cause(world) is None
    see(world, "three")
    assert cause(world) == "CodeChange"


def test_an_edit_is_a_change_whether_the_object_can_be_seen_or_not():
    world = watching()
    look(world, FailureSummary(reason="ArtifactMissing", message="gone"), exit_code=3)
    world.model["spec"]["training"]["estimator"]["params"] = {"max_iter": 7}
    world.edit("other parameters")
    world.settle()
    assert cause(world) == "CodeChange"
