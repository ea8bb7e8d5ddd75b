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


def looked(world: World, condition: dict) -> dict:
    """A Job of the CronJob that has ended in this way."""
    name = f"look-{next(_numbers)}"
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
        "status": {"conditions": [condition | {"status": "True"}]},
    }
    world.objects[("Job", name)] = job
    return job


def look(world: World, said: Summary, exit_code: int = 0) -> None:
    """The CronJob looks, and its pod ends."""
    world.advance(minutes=15)
    job = looked(world, {"type": "Failed" if exit_code else "Complete"})
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
    world.advance(minutes=15)
    looked(world, {"type": "Failed", "reason": "BackoffLimitExceeded"})  # and its pods are gone
    world.settle()
    assert world.model["status"]["watched"]["trouble"].startswith("ArtifactMissing"), "silence does not unsay it"
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


IMAGE = "registry.example.com/ops/trainer:stable"


def with_image(**watch: Any) -> World:
    """A team's own container, whose tag is watched."""
    made = model(watch={"image": IMAGE, **watch}, container={"image": IMAGE, "task": "Classification"})
    del made["spec"]["training"]["estimator"]
    return World(made)


def trainer(world: World) -> str:
    """The image that the newest training's container runs."""
    steps = world.training_job()["spec"]["template"]["spec"]["initContainers"]
    (found,) = [step["image"] for step in steps if step["name"] == "train"]
    return str(found)


def test_a_tag_that_moves_is_changed_code_and_trains_by_the_digest_that_was_seen():
    world = with_image()
    world.settle()
    assert trainer(world) == IMAGE, "before anybody has looked"
    world.serve_first()
    see(world, "one", IMAGE)
    assert cause(world) is None
    see(world, "two", IMAGE)
    assert cause(world) == "CodeChange"
    assert trainer(world) == f"registry.example.com/ops/trainer@{digest('two')}"
    before = world.training_job()["metadata"]["name"]
    see(world, "three", IMAGE)
    assert world.training_job()["metadata"]["name"] != before, "a tag that moves again supersedes it"
    assert trainer(world) == f"registry.example.com/ops/trainer@{digest('three')}"


def test_a_training_for_another_cause_runs_the_image_that_was_seen_too():
    world = with_image()
    world.serve_first()
    see(world, "one", IMAGE)
    world.model["metadata"]["annotations"] = {"stationkeeper.dev/retrain": "now"}
    world.settle()
    assert (cause(world), trainer(world)) == ("Manual", f"registry.example.com/ops/trainer@{digest('one')}")


def test_an_image_beside_the_one_that_trains_is_a_sign_and_no_more():
    world = with_image(image="registry.example.com/ops/base:stable")
    world.serve_first()
    see(world, "one", "registry.example.com/ops/base:stable")
    see(world, "two", "registry.example.com/ops/base:stable")
    assert (cause(world), trainer(world)) == ("CodeChange", IMAGE)


def test_who_asks_a_registry_is_given_no_key_of_the_store():
    world = with_image(pullSecretName="registry")
    world.settle()
    pod = cronjob(world)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [variable["name"] for variable in container["env"]] == ["STATIONKEEPER_CONFIG"]
    told = json.loads(container["env"][0]["value"])
    assert (told["image"], told["insecure"], "uri" in told) == (IMAGE, False, False)
    assert [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume] == ["registry"]


def test_a_look_that_ends_without_a_word_is_told_too():
    """As when a secret that it is to be given does not exist: the pod never starts, and is gone with the deadline."""
    world = with_image(pullSecretName="gone")
    world.serve_first()
    looked(world, {"type": "Failed", "reason": "DeadlineExceeded"})
    world.settle()
    assert "DeadlineExceeded" in world.model["status"]["watched"]["trouble"]
    assert "the secrets that it is given" in world.model["status"]["watched"]["trouble"]
    assert cause(world) is None
