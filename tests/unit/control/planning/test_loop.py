"""The loop, told as transcripts: what is written, in which order, and what people are told."""

import copy
from datetime import datetime

import pytest

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.model import Labels
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import FailureSummary
from stationkeeper.control.planning.intent import judgement_digest
from tests.support import transcripts
from tests.support.world import World, digest, model, policy

GOOD = ("Passed", "Passed", "Passed")
DRIFT = ("Passed", "Breached", "Passed")
BOTH = ("Passed", "Breached", "Breached")
BROKEN = ("Breached", "InsufficientData", "InsufficientData")


def whole_loop() -> World:
    world = World(policies=(policy(),))
    world.say("the Model is applied")
    world.serve_first()
    world.check(GOOD, DRIFT)
    world.settle()
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.advance(minutes=1)
    world.finish_training(TrainingOutcome.WAITING_FOR_LABELS, "TooFewNewRows", "120 of 500 new rows have labels")
    world.settle()
    world.advance(seconds=15)
    world.say("the wait is over")
    world.settle()
    world.advance(minutes=1)
    world.publish("second")
    world.settle()
    world.advance(seconds=20)
    world.ready(2, pods=1)
    world.settle()
    world.advance(seconds=5)
    world.ready(2)
    world.settle()
    world.advance(seconds=31)
    world.say("the predecessor has drained")
    world.settle()
    return world


def refused_challenger() -> World:
    world = World(policies=(policy(),))
    world.serve_first()
    world.transcript.clear()
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.advance(minutes=1)
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused", "roc_auc fell by 0.04 (0.02 to 0.06), at most 0.01 is allowed")
    world.settle()
    world.advance(hours=1, seconds=1)
    world.say("cooldown is over")
    world.settle()
    world.advance(minutes=1)
    world.finish_training(TrainingOutcome.REFUSED, "NoGain", "no better than the champion")
    world.settle()
    return world


def schema_break() -> World:
    world = World(policies=(policy(),))
    world.serve_first()
    world.transcript.clear()
    world.advance(hours=2)
    world.check(DRIFT, BROKEN)
    world.settle()
    world.advance(minutes=2)
    world.check(DRIFT, DRIFT)
    world.say("(the data group of those windows passed)")
    world.settle()
    return world


def bad_candidate() -> World:
    world = World()
    world.serve_first()
    world.transcript.clear()
    world.model["metadata"]["annotations"] = {"stationkeeper.dev/retrain": "please"}
    world.edit("a person asks for a training")
    world.settle()
    world.publish("second")
    world.settle()
    world.crash_pod(2, FailureSummary(reason="ParityFailed", message="3 of 32 golden rows differ"), exit_code=3)
    world.settle()
    return world


@pytest.mark.parametrize("scenario", [whole_loop, refused_challenger, schema_break, bad_candidate])
def test_transcript(scenario, request):
    transcripts.check(scenario, request)


def test_every_crash_between_two_writes_ends_in_the_same_world():
    """Replay the whole loop; before each reconcile try dying after every number of writes, and go on from there."""

    def play(crash_after: int | None) -> World:
        world = World(policies=(policy(),))

        def go() -> None:
            if crash_after is not None:
                world.step(crash_after)
            world.settle()

        go()
        world.advance(seconds=60)
        world.publish("first")
        go()
        world.ready(1)
        go()
        world.advance(hours=2)
        world.check(DRIFT, DRIFT)
        go()
        world.publish("second")
        go()
        world.ready(2)
        go()
        world.advance(seconds=31)
        go()
        return world

    whole = play(None)
    names = {key for key in whole.objects if key[0] in ("ModelRevision", "Deployment", "Service", "CronJob")}
    for writes in range(1, 6):
        crashed = play(writes)
        assert {key for key in crashed.objects if key[0] in ("ModelRevision", "Deployment", "Service", "CronJob")} == names
        trainings = [key for key in crashed.objects if key[0] == "Job" and "-train-" in key[1]]
        assert len(trainings) == 2, f"one training per episode, whatever dies after {writes} writes"
        assert crashed.model["status"]["serving"]["number"] == 2


def test_a_new_model_is_trained_once_and_says_so():
    world = World()
    plan = world.plan()
    assert plan.status_first, "the episode is written before its Job exists"
    assert [obj["kind"] for obj in plan.apply] == ["Job"]
    world.settle()
    assert world.condition("Ready")["status"] == "False"
    assert world.condition("Reconciling")["status"] == "True"
    assert world.condition("Retraining") | {"lastTransitionTime": ""} == {
        "type": "Retraining",
        "status": "True",
        "reason": "Training",
        "message": f"attempt 1 for Initial (episode {world.model['status']['episode']['id']})",
        "observedGeneration": 1,
        "lastTransitionTime": "",
    }
    assert rolling(world) == ("False", "FirstTraining", "the first revision is being trained")
    assert sum("FirstTraining" in line for line in world.transcript) == 1, "told once"
    world.finish_training(TrainingOutcome.REFUSED, reason="GateRefused", message="too bad")
    world.settle()
    assert rolling(world) == ("False", "NeverTrained", "no revision to serve: GateRefused: too bad")


def rolling(world: World) -> tuple[str, str, str]:
    found = world.condition("RolloutProgressing")
    return found["status"], found["reason"], found["message"]


def test_a_steady_model_changes_nothing_as_time_goes_by():
    world = World(policies=(policy(),))
    world.serve_first()
    before = copy.deepcopy((world.objects, world.model))
    for _ in range(5):
        world.advance(minutes=7)
        world.step()
    assert (world.objects, world.model) == before


def test_planning_does_not_touch_what_it_is_given():
    world = World(policies=(policy(),))
    world.serve_first()
    observed = world.observed()
    before = copy.deepcopy(observed)
    world.settings  # noqa: B018
    from stationkeeper.control.planning import plan_model

    plan_model(observed, world.now, world.settings)
    assert observed == before


def test_an_edit_of_the_training_supersedes_a_running_one():
    world = World()
    world.settle()
    first = world.training_job()["metadata"]["name"]
    world.model["spec"]["training"]["estimator"]["params"] = {"max_iter": 7}
    world.edit("the estimator is edited")
    world.settle()
    jobs = [key[1] for key in world.objects if key[0] == "Job"]
    assert len(jobs) == 1
    assert jobs[0] != first


def test_a_lost_message_is_recovered_by_the_same_job():
    world = World()
    world.settle()
    job = world.training_job()
    name = job["metadata"]["name"]
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    plan = world.plan()
    assert [ref.name for ref in plan.delete] == [name]
    world.step()
    world.step()
    assert world.training_job()["metadata"]["name"] == name


def test_foreign_pods_and_forged_messages_are_not_believed():
    world = World()
    world.settle()
    episode = world.model["status"]["episode"]
    forged = (
        f'{{"schemaVersion":1,"kind":"Training","episode":"{episode["id"]}","attempt":1,"outcome":"Published","reason":"X",'
        f'"message":"x","finishedAt":"2026-01-05T12:00:00Z","digest":"{digest("evil")}","manifestURI":"s3://evil/x",'
        f'"revision":1,"dataDigest":"{digest("evil")}"}}'
    )
    world.pod({"metadata": {"uid": "somebody-else"}}, "evaluate-and-publish", forged)
    world.pod(world.training_job(), "sidecar", forged)
    before = copy.deepcopy(world.model["status"])
    world.step()
    assert world.model["status"] == before
    assert not [key for key in world.objects if key[0] == "ModelRevision"]


GUARDS = [
    ("suspended", lambda w: w.model["spec"]["retraining"].update(suspend=True), "Suspended"),
    ("in the cooldown", lambda w: w.model["spec"]["retraining"].update(cooldown="9h"), "Cooldown"),
    ("over the limit", lambda w: w.model["spec"]["retraining"].update(limit={"max": 1, "per": "48h"}), "LimitReached"),
]


@pytest.mark.parametrize(("name", "arrange", "reason"), GUARDS, ids=[guard[0] for guard in GUARDS])
def test_a_guard_holds_a_drift_training_and_says_why(name, arrange, reason):
    world = World(policies=(policy(),))
    world.serve_first()
    arrange(world)
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    assert world.model["status"]["waiting"]["reason"] == reason
    assert world.condition("Retraining")["reason"] == reason
    assert world.condition("Drifted")["status"] == "True"
    assert world.condition("Ready")["status"] == "True", "drift does not make a serving model unready"
    assert world.model["status"]["episode"]["attempt"] == 0


def test_observe_tells_but_does_not_retrain():
    world = World(policies=(policy(action="Observe"),))
    world.serve_first()
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    assert world.condition("Drifted")["status"] == "True"
    assert "episode" not in world.model["status"]


QUALITY = {"quality": {"metric": "roc_auc", "maxDrop": 0.02}}
ACTIONS = [
    ("moved features only tell", {"features": {"action": "Observe"}}, DRIFT, (), "DriftDetected", None),
    ("shifted predictions speak for features that only tell", {"features": {"action": "Observe"}}, BOTH, (), "DriftDetected", "Drift"),
    ("a group may retrain where the policy only tells", {"action": "Observe", "features": {"action": "Retrain"}}, DRIFT, (), "DriftDetected", "Drift"),
    ("lost quality retrains", QUALITY, GOOD, ("Breached", "Breached"), "QualityLost", "Quality"),
    ("proven harm claims before moved inputs", QUALITY, DRIFT, ("Breached", "Breached"), "DriftDetected", "Quality"),
    ("one bad labelled window is not enough", QUALITY, GOOD, ("Passed", "Breached"), "ChecksPassed", None),
    ("missing labels are no evidence", QUALITY, GOOD, ("InsufficientData",) * 2, "ChecksPassed", None),
    ("lost quality may only tell", {"quality": {**QUALITY["quality"], "action": "Observe"}}, GOOD, ("Breached",) * 2, "QualityLost", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "windows", "quality", "reason", "cause"), ACTIONS, ids=[row[0] for row in ACTIONS])
def test_each_group_of_checks_has_its_own_action(name, spec, windows, quality, reason, cause):
    world = World(policies=(policy(**spec),))
    world.serve_first()
    world.advance(hours=2)
    world.check(windows, windows, quality=quality)
    world.settle()
    assert world.condition("Drifted")["reason"] == reason
    assert world.model["status"].get("episode", {}).get("cause") == cause


def test_broken_data_may_only_tell():
    world = World(policies=(policy(schema={"action": "Observe"}),))
    world.serve_first()
    world.advance(hours=2)
    world.check(DRIFT, DRIFT, BROKEN)
    world.model["metadata"]["annotations"] = {"stationkeeper.dev/retrain": "now"}
    world.settle()
    assert world.condition("DataValid")["status"] == "False"
    assert world.model["status"]["episode"]["attempt"] == 1


def test_labels_change_what_quality_means_but_not_what_drift_means():
    labels = Labels(uri="s3://data/labels/")
    plain, judged = DriftPolicySpec(), DriftPolicySpec.model_validate(QUALITY)
    assert judgement_digest(plain, labels) == judgement_digest(plain)
    assert judgement_digest(judged, labels) != judgement_digest(judged)
    observing = DriftPolicySpec.model_validate({"action": "Observe", "features": {"action": "Retrain"}})
    assert judgement_digest(observing) == judgement_digest(plain), "an action judges nothing"


def test_a_suspended_policy_counts_nowhere():
    world = World(policies=(policy(suspend=True),))
    world.serve_first()
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    assert world.condition("Drifted")["reason"] == "NotChecked"
    assert world.objects[next(key for key in world.objects if key[0] == "CronJob")]["spec"]["suspend"] is True


def test_missing_evidence_is_neither_drift_nor_a_pass():
    world = World(policies=(policy(),))
    world.serve_first()
    world.advance(minutes=3)
    world.check(*[("InsufficientData",) * 3] * 2)
    world.settle()
    assert world.condition("Drifted")["status"] == "Unknown"
    assert world.condition("Drifted")["reason"] == "InsufficientData"


def test_the_schedule_trains_once_per_time_and_missed_times_collapse():
    world = World(model(schedule="0 * * * *"))
    world.serve_first()
    world.advance(hours=5)
    world.settle()
    assert world.model["status"]["episode"]["cause"] == "Schedule"
    world.finish_training(TrainingOutcome.REFUSED, "NoGain")
    world.settle()
    assert "episode" not in world.model["status"]
    world.advance(minutes=10)
    world.settle()
    assert "episode" not in world.model["status"]


def test_a_manual_request_is_answered_once():
    world = World()
    world.serve_first()
    world.model["metadata"]["annotations"] = {"stationkeeper.dev/retrain": "2026-01-05"}
    world.settle()
    assert world.model["status"]["episode"]["cause"] == "Manual"
    world.finish_training(TrainingOutcome.REFUSED, "NoGain")
    world.settle()
    assert world.model["status"]["handledRetrain"] == "2026-01-05"
    assert "episode" not in world.model["status"]


def test_changed_code_retrains_and_a_refused_code_is_not_tried_again():
    world = World()
    world.serve_first()
    world.model["spec"]["training"]["estimator"]["params"] = {"max_iter": 7}
    world.edit("new parameters")
    world.settle()
    assert world.model["status"]["episode"]["cause"] == "CodeChange"
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused")
    world.settle()
    world.advance(days=3)
    world.settle()
    assert "episode" not in world.model["status"]


def test_a_refused_cure_is_tried_again_when_as_many_new_rows_have_come():
    """The rows since the drift began refused it; the same rows would refuse it again (SEMANTICS 8.3)."""
    world = World(policies=(policy(),))
    world.serve_first()
    world.advance(days=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    onset = datetime.fromisoformat(world.model["status"]["episode"]["onset"])
    for attempt in (1, 2):
        world.advance(days=1)
        since = world.now - onset
        world.finish_training(TrainingOutcome.REFUSED, "NoGain")
        world.settle()
        episode = world.model["status"]["episode"]
        assert episode["attempt"] == attempt
        assert datetime.fromisoformat(episode["nextAttemptAt"]) == world.now + since
        world.advance(seconds=since.total_seconds() + 1)
        world.settle()


def test_neither_defaults_nor_our_images_retrain_anyone():
    world = World()
    world.serve_first()
    world.model["spec"]["training"]["data"]["format"] = "parquet"
    world.settings = type(world.settings)(workloads_image="stationkeeper/workloads:next")
    world.edit("an upgrade writes defaults")
    world.settle()
    assert "episode" not in world.model["status"]
    deployment = next(o for o in world.objects.values() if o["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "stationkeeper/workloads:test"


def test_failures_back_off_and_a_changed_spec_starts_afresh():
    world = World()
    world.settle()
    for expected in (30, 60, 120):
        world.finish_training(TrainingOutcome.FAILED, "TrainingFailed", "ValueError: boom", exit_code=3)
        world.settle()
        until = world.model["status"]["episode"]["nextAttemptAt"]
        assert world.condition("Stalled")["status"] == "True"
        world.advance(seconds=expected - 1)
        world.step()
        assert world.model["status"]["episode"].get("nextAttemptAt") == until
        world.advance(seconds=1)
        world.settle()
    world.model["spec"]["training"]["estimator"]["params"] = {}
    world.edit("the mistake is mended")
    world.settle()
    assert world.model["status"]["episode"]["failures"] == 0
    assert world.condition("Stalled")["status"] == "False"


def test_a_foreign_service_is_never_adopted():
    world = World()
    world.objects[("Service", "flights")] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "flights", "namespace": "ops", "uid": "foreign"},
        "spec": {"selector": {"app": "theirs"}},
    }
    plan = world.step()
    assert plan.apply == ()
    assert world.condition("Stalled")["reason"] == "NameConflict"


def test_a_spec_that_cannot_be_read_keeps_what_serves():
    world = World(policies=(policy(),))
    world.serve_first()
    world.model["spec"]["training"]["schedule"] = "61 * * * *"
    world.edit("a schedule that means nothing")
    plan = world.step()
    assert (plan.apply, plan.delete) == ((), ())
    assert "spec.training.schedule" in world.condition("Stalled")["message"]
    assert world.condition("Available")["status"] == "True"


def test_a_missing_record_of_what_serves_deletes_nothing():
    world = World()
    world.serve_first()
    record = next(o for o in world.objects.values() if o["kind"] == "ModelRevision")
    del world.objects[("ModelRevision", record["metadata"]["name"])]
    plan = world.plan()
    assert not [ref for ref in plan.delete if ref.kind == "Deployment"]


def test_a_missing_secret_is_named_and_not_held_against_the_model():
    world = World()
    world.settle()
    job = world.training_job()
    world.pod(job, "prepare", "")
    pod = next(o for o in world.objects.values() if o["kind"] == "Pod")
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "s3-credentials" not found'}
    pod["status"] = {"initContainerStatuses": [{"name": "prepare", "state": {"waiting": waiting}}]}
    world.settle()
    assert world.condition("Stalled")["reason"] == "SecretMissing"
    assert "s3-credentials" in world.condition("Stalled")["message"]


def test_history_is_bounded_but_never_loses_what_serves():
    world = World()
    world.model["spec"]["revisionHistoryLimit"] = 2
    world.serve_first()
    for token in ("a", "b", "c"):
        world.model["metadata"]["annotations"] = {"stationkeeper.dev/retrain": token}
        world.settle()
        world.publish(token)
        world.settle()
        world.ready(world.model["status"]["candidate"]["number"])
        world.settle()
        world.advance(seconds=31)
        world.settle()
    numbers = sorted(o["spec"]["number"] for o in world.objects.values() if o["kind"] == "ModelRevision")
    assert numbers == [3, 4]
    replicas = {
        o["metadata"]["labels"]["stationkeeper.dev/revision"]: o["spec"]["replicas"]
        for o in world.objects.values()
        if o["kind"] == "Deployment"
    }
    assert replicas == {"3": 0, "4": 2}
