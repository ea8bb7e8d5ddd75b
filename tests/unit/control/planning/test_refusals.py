"""What the gates refused is on record: it has a number of its own, is never served, and pushes nothing out."""

import pytest

from stationkeeper.api.base import sha256
from stationkeeper.api.status import TrainingOutcome
from tests.support.world import World, policy

DRIFT = ("Passed", "Breached", "Passed")


def records(world: World) -> list[tuple[int, str]]:
    found = [o["spec"] for o in world.objects.values() if o["kind"] == "ModelRevision"]
    return sorted((spec["number"], spec["outcome"]) for spec in found)


def ask(world: World, token: str) -> None:
    world.model["metadata"]["annotations"] = {"stationkeeper.dev/retrain": token}
    world.settle()


def refuse(world: World, token: str) -> None:
    ask(world, token)
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused", f"roc_auc 0.5{token} is below 0.6", metrics={"roc_auc": 0.5})
    world.settle()
    world.advance(minutes=5)


def publish(world: World, token: str) -> None:
    ask(world, token)
    world.publish(token)
    world.settle()
    world.ready(world.model["status"]["candidate"]["number"])
    world.settle()
    world.advance(seconds=31)
    world.settle()


def test_a_refused_challenger_is_on_record_with_why_and_never_serves():
    world = World()
    world.serve_first()
    refuse(world, "1")
    (spec,) = [o["spec"] for o in world.objects.values() if o["kind"] == "ModelRevision" and o["spec"]["number"] == 2]
    assert (spec["outcome"], spec["reason"], spec["message"]) == ("Rejected", "GateRefused", "roc_auc 0.51 is below 0.6")
    assert "manifestURI" not in spec
    assert spec["outcomeURI"] == f"s3://models/flights/episodes/{spec['episode']}/1/outcome.json"
    message = world.pods_message("evaluate-and-publish")
    assert spec["digest"] == sha256(message.encode()), "whoever has the outcome can tell that it is this one"
    assert world.model["status"]["serving"]["number"] == 1
    assert world.model["status"]["lastTraining"]["revision"] == 2
    assert world.model["status"]["latestRevision"] == 2
    assert len([key for key in world.objects if key[0] == "Deployment"]) == 1


def test_the_next_challenger_has_another_number():
    world = World(policies=(policy(),))
    world.serve_first()
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.finish_training(TrainingOutcome.REFUSED, "NoGain")
    world.settle()
    world.advance(hours=3)
    world.settle()
    world.publish("cure")
    world.settle()
    assert records(world) == [(1, "Published"), (2, "Rejected"), (3, "Published")]


def test_refusals_are_bounded_by_themselves_and_push_out_nothing_that_was_published():
    world = World()
    world.model["spec"]["revisionHistoryLimit"] = 2
    world.serve_first()
    publish(world, "a")
    for token in "bcdef":
        refuse(world, token)
    assert records(world) == [(1, "Published"), (2, "Published"), (6, "Rejected"), (7, "Rejected")]
    assert world.model["status"]["serving"]["number"] == 2


def test_a_pin_to_a_refused_challenger_says_so_and_keeps_serving():
    world = World()
    world.serve_first()
    refuse(world, "1")
    world.model["spec"]["revision"] = 2
    world.edit("a pin to what was refused")
    world.settle()
    condition = world.condition("RolloutProgressing")
    assert condition["reason"] == "RevisionNotFound"
    assert "revision 2, a challenger that the gates refused (GateRefused); revision 1 keeps serving" in condition["message"]
    assert world.model["status"]["serving"]["number"] == 1


def test_a_first_model_that_is_refused_is_trained_again():
    world = World()
    world.settle()
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused")
    world.settle()
    assert records(world) == [(1, "Rejected")]
    world.advance(hours=2)
    world.settle()
    world.publish("better")
    world.settle()
    assert records(world) == [(1, "Rejected"), (2, "Published")]


@pytest.mark.parametrize("writes", range(4))
def test_no_crash_loses_a_refusal_or_tells_it_twice(writes):
    world = World()
    world.serve_first()
    ask(world, "1")
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused")
    # A changed training is wanted as soon as this one is over: the very pass that reads the outcome starts the next.
    world.model["spec"]["training"]["schedule"] = "* * * * *"
    world.model["spec"]["retraining"]["cooldown"] = "1s"
    world.advance(minutes=2)
    world.step(crash_after=writes)
    world.settle()
    assert (2, "Rejected") in records(world)
    assert len(records(world)) == 2
    assert world.model["status"]["episode"]["revision"] == 3
