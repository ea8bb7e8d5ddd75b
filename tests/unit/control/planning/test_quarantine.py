"""What was taken back is not made again: quarantine covers code and data, until one changes or a person lifts it."""

import json

import pytest

from stationkeeper.api.status import TrainingOutcome
from tests.support.world import World, digest, policy

DRIFT = ("Passed", "Breached", "Passed")


def configured(world: World) -> list[dict]:
    """What the newest training Job is told of quarantined data."""
    (prepare, *_) = world.training_job()["spec"]["template"]["spec"]["initContainers"]
    return json.loads(prepare["env"][0]["value"])["quarantined"]


def rolled_back() -> World:
    """Revision 2 served for a while; a person took it back."""
    world = World(policies=(policy(),))
    world.serve_first()
    world.annotate(retrain="once")
    world.settle()
    world.publish("second", data="newer")
    world.settle()
    world.ready(2)
    world.settle()
    world.advance(hours=2)
    world.settle()
    world.annotate(rollback=digest("second"))
    world.settle()
    world.ready(1)
    world.settle()
    world.advance(minutes=2)
    assert world.model["status"]["serving"]["number"] == 1
    return world


def ask(world: World, token: str) -> None:
    world.annotate(retrain=token)
    world.settle()


def test_the_next_training_is_told_which_data_not_to_learn_from():
    world = rolled_back()
    (entry,) = world.model["status"]["quarantine"]
    assert entry["dataDigest"] == digest("newer")
    ask(world, "again")
    (told,) = configured(world)
    assert told == {
        "dataDigest": digest("newer"),
        "revisionDigest": digest("second"),
        "reason": "rolled back by a person",
    }


def test_changed_code_may_learn_from_it():
    world = rolled_back()
    world.model["spec"]["training"]["estimator"]["params"] = {"max_iter": 7}
    world.edit("other code")
    world.settle()
    assert world.model["status"]["episode"]["cause"] == "CodeChange"
    assert configured(world) == []


def test_a_person_may_lift_it_and_the_revision_stays_out():
    world = rolled_back()
    world.annotate(resume=digest("second"))
    ask(world, "again")
    assert configured(world) == []
    assert world.model["status"]["serving"]["number"] == 1
    assert world.model["status"]["quarantine"][0]["lifted"] is True
    del world.model["metadata"]["annotations"]["stationkeeper.dev/resume"]
    world.settle()
    assert world.model["status"]["quarantine"][0]["lifted"] is True, "it was said once"


def test_lifting_lets_automatic_trainings_go_on_too():
    world = rolled_back()
    world.check(DRIFT, DRIFT)
    world.settle()
    waits = world.model["status"]["waiting"]["reason"]
    world.annotate(resume=digest("second"))
    world.advance(hours=3)
    world.check(DRIFT, DRIFT)
    world.settle()
    assert waits in ("AutoRetrainHeld", "Cooldown")
    assert world.condition("Retraining")["reason"] == "Training"


def test_data_of_which_a_good_revision_was_made_is_not_at_fault():
    """A canary that fails where another revision of the same code and data serves has another fault than its training."""
    world = World()
    world.serve_first()
    ask(world, "once")
    world.publish("twin")
    world.settle()
    world.annotate(reject=digest("twin"))
    world.settle()
    ask(world, "again")
    assert configured(world) == []


def test_what_was_damaged_in_the_store_may_be_trained_again():
    from stationkeeper.api.summary import FailureSummary

    world = World()
    world.serve_first()
    ask(world, "once")
    world.publish("second", data="newer")
    world.settle()
    world.crash_pod(2, FailureSummary(reason="DigestMismatch", message="blobs/1 does not hash to its name"), exit_code=3)
    world.settle()
    assert world.model["status"]["quarantine"][0]["digest"] == digest("second")
    ask(world, "again")
    assert configured(world) == []


def test_a_training_that_was_not_repeated_waits_for_data_and_costs_nothing():
    world = rolled_back()
    world.model["spec"]["retraining"]["cooldown"] = "1s"
    world.check(DRIFT, DRIFT)
    world.advance(days=2)  # the drift began after the rollback
    world.check(DRIFT, DRIFT)
    world.settle()
    before = len(world.model["status"]["trainings"])
    said = "the same code on the same 3 objects made revision 123456, which is quarantined"
    world.finish_training(TrainingOutcome.QUARANTINED, "Quarantined", said)
    world.settle()
    status = world.model["status"]
    assert (status["waiting"]["reason"], status["waiting"]["message"]) == ("Quarantined", said)
    assert status["episode"]["nextAttemptAt"] > world.now.isoformat()
    assert len(status["trainings"]) == before - 1, "nothing was trained"
    assert world.condition("Ready")["status"] == "True"
    assert [o["spec"]["outcome"] for o in world.objects.values() if o["kind"] == "ModelRevision"] == ["Published"] * 2
    world.advance(hours=1)
    world.settle()
    assert world.model["status"]["episode"]["attempt"] == 2, "the data is looked at again"


def test_a_person_who_asks_hears_why_not():
    world = rolled_back()
    ask(world, "again")
    world.finish_training(TrainingOutcome.QUARANTINED, "Quarantined", "the same code on the same 3 objects")
    world.settle()
    assert world.condition("Retraining")["reason"] == "Quarantined"
    assert "the same 3 objects" in world.condition("Retraining")["message"]
    assert "episode" not in world.model["status"]


@pytest.mark.parametrize("change", [{"gates": [{"metric": "roc_auc", "min": 0.1}]}, {"resources": {}}])
def test_a_running_training_goes_on_as_it_was_begun(change):
    world = World()
    world.settle()
    before = world.training_job()["spec"]
    training = world.model["spec"]["training"]
    training["evaluation" if "gates" in change else "resources"] = change if "gates" in change else {"requests": {"cpu": "2"}}
    world.edit("an edit that does not retrain")
    world.settle()
    assert world.training_job()["spec"] == before
