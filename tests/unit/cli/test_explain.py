"""`stationkeeper explain`: sentences that a person on call can act on."""

from datetime import timedelta

from stationkeeper.api.summary import FailureSummary, SweepSummary
from stationkeeper.cli.explain import explain
from tests.support.world import World, digest, policy, sourced

DRIFT = ("Passed", "Breached", "Passed")


def told(world: World) -> str:
    return "\n".join(explain(world.model, world.now))


def test_a_model_that_nobody_looked_at():
    assert "has not looked at this Model yet" in told(World())


def test_a_training_that_waits_says_why_and_until_when():
    world = World(policies=(policy(),))
    world.serve_first()
    world.advance(minutes=5)
    world.check(DRIFT, DRIFT)
    world.settle()
    text = told(world)
    assert "Revision 1 serves, 2 of 2 pods ready." in text
    assert "A training is wanted for Drift but waits (Cooldown)" in text
    assert "looked at again in 5" in text
    assert "said Breached, Breached of the features" in text


def test_skew_is_explained_and_nothing_is_wanted_for_it():
    world = World(policies=(policy(),))
    world.serve_first(world.now)
    assert "Skew" not in told(world)
    world.advance(minutes=5)
    world.check(DRIFT, DRIFT)
    world.settle()
    text = told(world)
    assert "Skew: policy watch: the features never matched what the revision had just learned" in text
    assert "Nothing asks for a training now." in text


def test_what_a_gateway_does_is_told():
    world = World()
    world.model["spec"]["serving"] = {"replicas": 2, "route": {"gateway": {"name": "public"}}}
    world.serve_first()
    assert "Through the Gateway: Gateway public has not taken the route over yet" in told(world)
    world.gateway()
    world.settle()
    assert "Through the Gateway: 100 % to revision 1." in told(world)


def test_a_candidate_that_waits_for_a_person_names_the_commands():
    world = World(policies=(policy(),))
    world.serve_first()
    world.model["spec"]["serving"]["rollout"] = {"approval": "Manual"}
    world.now += timedelta(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.publish("second")
    world.settle()
    world.ready(2)
    world.settle()
    assert "stationkeeper approve flights" in told(world)
    world.annotate(reject=digest("second"))
    world.settle()
    assert "rejected by a person" in world.condition("RolloutProgressing")["message"]
    assert "waits (Cooldown)" in told(world), "the drift is still there"


def test_a_published_file_is_named_and_so_is_what_is_wrong_with_it():
    world = World(sourced())
    world.settle()
    assert "Nobody has looked at s3://published/flights/model.onnx yet" in told(world)
    world.look("A")
    world.settle()
    assert f"lies {digest('A')[7:19]}, first seen 2026-01-05T12:00:00Z" in told(world)
    world.advance(minutes=5)
    world.look(None, "there is no file s3://published/flights/model.onnx")
    world.settle()
    assert "cannot be used: there is no file" in told(world)


def test_drift_of_a_published_model_is_its_makers_to_answer():
    world = World(sourced(), policies=(policy(),))
    world.serve_first()
    world.check(DRIFT, DRIFT)
    world.settle()
    assert "Only the pipeline that publishes this model can answer the drift" in told(world)


def test_what_was_done_in_storage_is_told():
    world = World()
    world.model["spec"]["retention"] = {"captured": "1d"}
    world.serve_first()
    world.settle()
    assert "Storage is being swept; that began" in told(world)
    world.end_sweep(SweepSummary(captured=3))
    world.settle()
    world.advance(minutes=5)
    assert "Storage was swept 6 minutes ago: deleted: 3 captured files." in told(world)


def test_why_nothing_goes_on_is_said_once_and_sentences_end_once():
    world = World()
    world.settle()
    job = world.training_job()
    failed = FailureSummary(reason="StorageInUse", message="the prefix belongs to another; is it ours?")
    world.pod(job, "prepare", failed.encode().decode(), 3)
    job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    world.settle()
    text = told(world)
    assert text.count("the prefix belongs to another") == 1
    assert "Nothing serves.\n" in text
    assert "as Failed: as said above." in text
    assert "?." not in text
