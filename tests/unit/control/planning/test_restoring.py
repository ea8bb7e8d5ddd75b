"""A fresh cluster on storage with a past: it is read before anything is trained, and what served last serves at once."""

import json
from typing import Any

import pytest

from stationkeeper.api.model import ModelSpec
from stationkeeper.api.status import LastTraining, Quarantined, TrainingOutcome
from stationkeeper.api.summary import FailureSummary, RestoredRevision, RestoreSummary
from stationkeeper.api.training import Training
from stationkeeper.control.planning.intent import intent_digest, training_digest
from tests.support.world import START, World, digest, model, policy, sourced


def adopting(**spec: Any) -> World:
    made = model()
    made["spec"]["storage"]["adopt"] = True
    made["spec"] |= spec
    world = World(made, policies=(policy(),))
    world.settle()
    return world


def template() -> str:
    return training_digest(Training.model_validate(model()["spec"]["training"]))


def revision(number: int) -> RestoredRevision:
    return RestoredRevision(
        number=number,
        digest=digest(f"revision {number}"),
        cause="Drift",
        episode=f"e{number}",
        attempt=1,
        template_digest=template(),
        data_digest=digest("data"),
        trained_at=START,
        champion_digest=digest(f"revision {number - 1}") if number > 1 else None,
        champion_number=number - 1 if number > 1 else None,
    )


def found(*numbers: int, serving: int | None = None, bad: tuple[int, ...] = (), **more: Any) -> RestoreSummary:
    quarantine = [
        Quarantined(digest=digest(f"revision {number}"), reason="it was worse", at=START, promoted=True) for number in bad
    ]
    return RestoreSummary(
        lineage="uid-of-old",
        latest_revision=max(numbers, default=0),
        serving=serving,
        revisions=[revision(number) for number in numbers],
        quarantine=quarantine,
        **more,
    )


def jobs(world: World, kind: str) -> list[Any]:
    return [o for (k, name), o in sorted(world.objects.items()) if k == "Job" and f"-{kind}-" in name]


def end(world: World, said: Any, exit_code: int = 0) -> None:
    (job,) = jobs(world, "restore")
    world.pod(job, "restore", said.encode().decode(), exit_code)
    job["status"] = {"conditions": [{"type": "Failed" if exit_code else "Complete", "status": "True"}]}


def restored(*numbers: int, **more: Any) -> World:
    world = adopting(**more.pop("spec", {}))
    end(world, found(*numbers, **more))
    world.settle()
    return world


def test_storage_is_read_before_anything_is_trained_and_it_says_so():
    world = adopting()
    assert [name for kind, name in world.objects if kind == "Job"] == [jobs(world, "restore")[0]["metadata"]["name"]]
    assert world.condition("Reconciling")["reason"] == "Restoring"
    assert world.condition("Ready")["status"] == "False"
    assert world.condition("Stalled")["status"] == "False"


def test_without_adopt_nothing_is_read():
    world = World()
    world.settle()
    assert jobs(world, "restore") == []
    assert len(jobs(world, "train")) == 1


def test_what_served_last_serves_again_at_once_and_is_not_trained_anew():
    manual = {"serving": {"replicas": 2, "rollout": {"approval": "Manual"}}}
    world = restored(3, 2, 1, serving=2, bad=(3,), spec=manual)
    world.ready(2)
    world.settle()
    assert world.model["status"]["serving"]["number"] == 2, "nobody is asked again"
    assert world.condition("Ready")["status"] == "True"
    assert jobs(world, "train") == []
    numbers = {o["spec"]["number"] for (k, _), o in world.objects.items() if k == "ModelRevision"}
    assert numbers == {1, 2, 3}
    (record,) = [o["spec"] for (k, _), o in world.objects.items() if k == "ModelRevision" and o["spec"]["number"] == 2]
    assert record["manifestURI"] == f"s3://models/flights/manifests/{digest('revision 2')[7:]}.json"
    assert world.model["status"]["quarantine"][0]["digest"] == digest("revision 3")
    assert "found 3 revisions, of which revision 2 served last" in world.model["status"]["restore"]["message"]


def test_numbers_go_on_and_rows_are_split_as_before():
    world = restored(7, 6, serving=7)
    world.ready(7)
    world.settle()
    world.annotate(retrain="once")
    world.settle()
    assert world.model["status"]["episode"]["revision"] == 8
    (job,) = jobs(world, "train")
    told = json.loads(job["spec"]["template"]["spec"]["initContainers"][0]["env"][0]["value"])
    assert told["lineage"] == "uid-of-old"
    assert told["champion"]["digest"] == digest("revision 7")


def test_code_that_was_refused_there_is_not_tried_again_here():
    refused = LastTraining(
        episode="e9",
        attempt=1,
        cause="CodeChange",
        outcome="Refused",
        reason="GateRefused",
        message="too low",
        finished_at=START,
        template_digest=template(),
        revision=3,
    )
    older = revision(2).model_copy(update={"template_digest": digest("the code before")})
    world = adopting()
    end(world, found(serving=2, refused=refused).model_copy(update={"revisions": [older], "latest_revision": 3}))
    world.settle()
    world.ready(2)
    world.settle()
    assert "episode" not in world.model["status"]
    assert world.model["status"]["latestRevision"] == 3


@pytest.mark.parametrize(("published", "imported"), [("serves", False), ("refused", False), ("bad", False), ("new", True)])
def test_a_model_that_is_made_elsewhere_imports_only_what_its_past_does_not_know(published: str, imported: bool):
    made = sourced()
    made["spec"]["storage"]["adopt"] = True
    world = World(made)
    world.settle()
    intent = intent_digest(ModelSpec.model_validate(made["spec"]))
    files = {1: "serves", 2: "bad"}
    known = [revision(n).model_copy(update={"template_digest": intent, "data_digest": digest(files[n])}) for n in files]
    bad = Quarantined(digest=digest("revision 2"), reason="it was worse", at=START, data_digest=digest("bad"), promoted=True)
    last = LastTraining(
        episode="e3",
        attempt=1,
        cause="Source",
        outcome="Refused",
        reason="GateRefused",
        message="too bad",
        finished_at=START,
        template_digest=intent,
        revision=3,
        source=digest("refused"),
    )
    told = found(serving=1, refused=last).model_copy(update={"revisions": known, "latest_revision": 3, "quarantine": [bad]})
    end(world, told)
    world.settle()
    world.ready(1)
    world.settle()
    assert world.model["status"]["serving"]["number"] == 1
    world.advance(minutes=5)
    world.look(published)
    world.settle()
    assert len(jobs(world, "train")) == imported


def test_of_a_model_that_is_trained_here_the_past_names_no_published_file():
    refused = LastTraining(
        episode="e3",
        attempt=1,
        cause="Drift",
        outcome="Refused",
        reason="GateRefused",
        message="too bad",
        finished_at=START,
        template_digest=template(),
        revision=3,
        source=digest("data"),
    )
    world = adopting()
    end(world, found(2, serving=2, refused=refused))
    world.settle()
    assert world.model["status"]["lastTraining"]["revision"] == 3
    assert "source" not in world.model["status"]["lastTraining"]


def in_use() -> World:
    """A Model whose prefix belongs to another, as its first attempt found out."""
    world = World()
    world.settle()
    world.finish_training(TrainingOutcome.FAILED, "StorageInUse", "set spec.storage.adopt to take over what it left", exit_code=3)
    world.settle()
    assert world.condition("Stalled")["reason"] == "StorageInUse"
    return world


@pytest.mark.parametrize("writes", [None, 0, 1, 2, 3])
def test_one_that_was_refused_its_prefix_is_restored_once_it_adopts(writes):
    world = in_use()
    world.model["spec"]["storage"]["adopt"] = True
    world.edit("adopt, as it was told")
    world.step(crash_after=writes)
    world.settle()
    assert world.condition("Stalled")["status"] == "False"
    assert world.condition("Reconciling")["reason"] == "Restoring"
    end(world, found(2, 1, serving=2))
    world.settle()
    world.ready(2)
    world.settle()
    assert world.model["status"]["serving"]["number"] == 2
    assert len(jobs(world, "train")) == 1, "that which was refused"


def test_adopt_waits_for_an_attempt_that_runs_to_be_refused():
    world = in_use()
    world.advance(minutes=5)
    world.settle()
    assert len(jobs(world, "train")) == 2
    world.model["spec"]["storage"]["adopt"] = True
    world.edit("adopt is set while it runs")
    world.settle()
    assert jobs(world, "restore") == []
    world.finish_training(TrainingOutcome.FAILED, "StorageInUse", exit_code=3)
    world.settle()
    assert len(jobs(world, "restore")) == 1


def test_an_empty_past_is_followed_by_the_first_training():
    world = restored()
    assert "no revision that can be trusted" in world.model["status"]["restore"]["message"]
    assert world.model["status"]["episode"]["cause"] == "Initial"


def test_a_model_with_records_is_not_restored():
    world = World()
    world.serve_first()
    world.model["spec"]["storage"]["adopt"] = True
    world.edit("adopt is set long after")
    world.settle()
    assert jobs(world, "restore") == []
    deployments = [o for (k, _), o in world.objects.items() if k == "Deployment"]
    assert deployments[0]["metadata"]["generation"] == 1, "and its pods are not restarted for it"


def test_what_cannot_be_read_trains_nothing_and_is_tried_again():
    world = adopting()
    end(world, FailureSummary(reason="StorageDenied", message="cannot list"), exit_code=3)
    world.settle()
    assert world.condition("Stalled")["status"] == "True"
    assert "StorageDenied: cannot list" in world.condition("Stalled")["message"]
    assert jobs(world, "train") == []
    world.remove(jobs(world, "restore")[0])
    world.settle()
    end(world, found(1, serving=1))
    world.settle()
    assert world.condition("Stalled")["status"] == "False"
    assert world.model["status"]["candidate"]["number"] == 1


def test_a_lost_message_is_heard_again():
    world = adopting()
    (job,) = jobs(world, "restore")
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    world.step()
    world.settle()
    (again,) = jobs(world, "restore")
    assert again["metadata"]["uid"] != job["metadata"]["uid"]


@pytest.mark.parametrize("writes", range(5))
def test_no_crash_serves_what_was_taken_back_or_trains_anew(writes):
    world = adopting()
    end(world, found(3, 2, serving=2, bad=(3,)))
    for _ in range(3):
        world.step(crash_after=writes)
    world.settle()
    world.ready(2)
    world.settle()
    assert world.model["status"]["serving"]["number"] == 2
    assert jobs(world, "train") == []
    served = {o["metadata"]["labels"]["stationkeeper.dev/revision"] for (k, _), o in world.objects.items() if k == "Deployment"}
    assert served == {"2"}
