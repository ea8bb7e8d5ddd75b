"""How a new revision takes over, told as transcripts: canary, approval, pin, rollback."""

import copy

import pytest

from stationkeeper.api.meta import EXIT_INVALID
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import FailureSummary
from tests.support import transcripts
from tests.support.world import World, digest, model, policy

DRIFT = ("Passed", "Breached", "Passed")
CANARY = {
    "strategy": "Canary",
    "steps": [{"weight": 20, "hold": "1m"}, {"weight": 50, "hold": "2m"}],
    "analysis": {"minRequests": 200, "deadline": "10m"},
}


def candidate(replicas: int = 4, **rollout) -> World:
    """Revision 1 serves, revision 2 is published. What begins with `champion_` is told by its training."""
    told = {name: rollout.pop(name) for name in list(rollout) if name.startswith("champion_")}
    world = World(policies=(policy(),))
    world.model["spec"]["serving"] = {"replicas": replicas}
    world.serve_first()
    world.model["spec"]["serving"]["rollout"] = {**CANARY, **rollout}
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.transcript.clear()
    world.publish("second", **told)
    world.settle()
    return world


def on_first_step(**rollout) -> World:
    world = candidate(**rollout)
    world.ready(2)
    world.settle()
    world.answered(1, 4000)
    return world


def later(world: World, **delta: float) -> None:
    world.advance(**delta)
    world.settle()


def status(world: World) -> dict:
    return world.model["status"]


def replicas(world: World) -> dict[str, int]:
    return {
        obj["metadata"]["labels"]["stationkeeper.dev/revision"]: obj["spec"]["replicas"]
        for (kind, _), obj in world.objects.items()
        if kind == "Deployment"
    }


def answering(world: World) -> str | None:
    """The revision that the Service names; None while it names the canary too."""
    service = world.objects[("Service", "flights")]
    return service["spec"]["selector"].get("stationkeeper.dev/revision")


def canary_to_promotion() -> World:
    world = on_first_step()
    world.answered(2, 120)
    later(world, seconds=70)
    world.say("too few requests: it holds")
    world.answered(2, 300)
    later(world, seconds=5)
    world.ready(2)
    world.answered(2, 0)
    world.settle()
    later(world, seconds=110)
    world.answered(2, 900, errors=2)
    later(world, seconds=20)
    world.ready(2)
    world.settle()
    later(world, seconds=31)
    return world


def canary_that_errs() -> World:
    world = on_first_step()
    world.answered(2, 30, errors=3)
    later(world, seconds=5)
    later(world, seconds=5)
    return world


def approval_by_a_person() -> World:
    world = on_first_step(approval="Manual", steps=[{"weight": 20, "hold": "1m"}])
    world.answered(2, 300)
    later(world, seconds=61)
    world.ready(2)
    world.settle()
    later(world, minutes=30)
    world.annotate(approve=digest("second"))
    world.settle()
    later(world, seconds=31)
    return world


def rolled_back_by_a_person() -> World:
    world = candidate(strategy="BlueGreen")
    world.ready(2)
    world.settle()
    later(world, seconds=31)
    world.advance(minutes=10)
    world.annotate(rollback=digest("second"))
    world.settle()
    world.ready(1)
    world.settle()
    later(world, seconds=31)
    world.advance(hours=3)
    world.check(DRIFT, DRIFT)
    world.settle()
    return world


def no_room_for_both() -> World:
    world = candidate(strategy="Recreate")
    world.ready(2)
    world.settle()
    later(world, seconds=31)
    return world


SCENARIOS = [canary_to_promotion, canary_that_errs, approval_by_a_person, rolled_back_by_a_person, no_room_for_both]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_transcript(scenario, request):
    transcripts.check(scenario, request)


FAULTS = [
    ("it errs more than allowed", lambda w: w.answered(2, 300, errors=4), "server errors"),
    ("a few errors of few requests decide nothing", lambda w: w.answered(2, 100, errors=2), None),
    ("it is slow", lambda w: w.answered(2, 300, seconds=0.2), "95 %"),
    ("it is slower, but fast enough", lambda w: w.answered(2, 300, seconds=0.009), None),
    ("its predictions shift", lambda w: w.answered(2, 300, late=0.6), "predictions differ"),
    ("chance moves predictions of few", lambda w: w.answered(2, 200, late=0.3), None),
]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("name", "happens", "why"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_bad_canary_is_taken_back_at_every_step(name, happens, why, step):
    world = on_first_step()
    if step:
        world.answered(2, 300)
        later(world, seconds=61)
        world.ready(2)
        world.settle()
    happens(world)
    later(world, seconds=5)
    if why is None:
        assert status(world)["candidate"]["step"] == step
        return
    assert "candidate" not in status(world)
    assert answering(world) == "1"
    assert replicas(world) == {"1": 4}, "its pods go, the stable revision kept all of its own"
    assert why in world.condition("RolloutProgressing")["message"]
    assert [entry["digest"] for entry in status(world)["quarantine"]] == [digest("second")]
    later(world, hours=1)
    assert replicas(world) == {"1": 4}, "once per revision: it does not come back"


SEEN = {"1": 0.5, "0": -0.5}
EXPECTED = [
    ("a shift that the gates saw is none", SEEN, 0.6, True),
    ("no shift where the gates saw one is one", SEEN, 0.1, False),
    ("of a revision without a figure the plain shift counts", {}, 0.6, False),
]


@pytest.mark.parametrize(("seen", "late", "stays"), [row[1:] for row in EXPECTED], ids=[row[0] for row in EXPECTED])
def test_a_canary_is_measured_from_the_shift_that_its_gates_saw(seen, late, stays):
    world = candidate(champion_shift=seen)
    assert next(iter(world.kind("ModelRevision")[1:]))["spec"]["champion"].get("shift", {}) == seen
    world.ready(2)
    world.settle()
    world.answered(1, 4000)
    world.answered(2, 300, late=late)
    later(world, seconds=5)
    assert ("candidate" in status(world)) is stays
    if not stays:
        assert status(world)["decisions"][-1]["deviation"] == pytest.approx(abs(late - 0.1 - seen.get("1", 0)), abs=1e-3)
        assert status(world)["decisions"][-1]["shift"] == pytest.approx(late - 0.1, abs=1e-3)


def test_the_shift_that_gates_saw_is_of_one_champion_only():
    world = candidate(champion_shift=SEEN, champion_digest=digest("another"))
    world.ready(2)
    world.settle()
    world.answered(1, 4000)
    world.answered(2, 300, late=0.6)
    later(world, seconds=5)
    assert "candidate" not in status(world)


def test_a_canary_that_crashes_is_taken_back_though_the_others_answer():
    world = on_first_step()
    world.answered(2, 300)
    failure = FailureSummary(reason="InternalError", message="out of file descriptors")
    world.crash_pod(2, failure, 1, restarts=2)
    later(world, seconds=5)
    assert answering(world) == "1"
    assert "out of file descriptors" in status(world)["quarantine"][0]["reason"]


@pytest.mark.parametrize(("answer", "step"), [("Rollback", None), ("Wait", 0)])
def test_without_requests_there_is_no_evidence_and_it_is_never_a_pass(answer, step):
    world = on_first_step(analysis={"minRequests": 200, "deadline": "10m", "withoutEvidence": answer})
    world.measured.clear()
    later(world, minutes=9)
    assert status(world)["candidate"]["step"] == 0
    later(world, minutes=2)
    assert status(world).get("candidate", {}).get("step") == step
    assert status(world)["serving"]["number"] == 1


def test_flapping_metrics_fail_it_once():
    world = on_first_step()
    for errors in (0, 1, 2):  # at the border of what is allowed
        world.answered(2, 250, errors=errors)
        later(world, seconds=5)
    assert status(world)["candidate"]["step"] == 0
    world.answered(2, 250, errors=3)
    later(world, seconds=5)
    world.answered(2, 400, errors=3)
    later(world, seconds=5)
    assert answering(world) == "1"
    assert len(status(world)["quarantine"]) == 1


def test_a_paused_canary_stays_but_still_fails():
    world = on_first_step()
    world.annotate(pause="looking at it")
    world.answered(2, 300)
    later(world, hours=1)
    assert (status(world)["candidate"]["step"], world.condition("RolloutProgressing")["reason"]) == (0, "Paused")
    world.answered(2, 300, errors=50)
    later(world, seconds=5)
    assert answering(world) == "1"


@pytest.mark.parametrize("strategy", ["BlueGreen", "Canary"])
def test_a_paused_rollout_takes_no_request_over_until_it_is_resumed(strategy):
    world = candidate(strategy=strategy)
    world.annotate(pause="not today")
    world.ready(2)
    later(world, hours=1)
    assert (answering(world), world.condition("RolloutProgressing")["reason"]) == ("1", "Paused")
    del world.model["metadata"]["annotations"]["stationkeeper.dev/pause"]
    world.settle()
    assert answering(world) == ("2" if strategy == "BlueGreen" else None)


def test_a_pause_holds_a_canary_that_has_passed_every_step():
    world = on_first_step(steps=[{"weight": 20, "hold": "1m"}])
    world.answered(2, 300)
    later(world, seconds=61)
    world.annotate(pause="not today")
    world.ready(2)
    later(world, hours=1)
    assert (answering(world), world.condition("RolloutProgressing")["reason"]) == (None, "Paused")


def test_a_pin_is_a_later_word_than_a_pause():
    world = candidate(strategy="BlueGreen")
    world.annotate(pause="not today")
    world.model["spec"]["revision"] = 2
    world.edit("Git pins revision 2")
    world.ready(2)
    world.settle()
    assert answering(world) == "2"


def test_what_follows_a_rolled_back_only_revision_takes_its_steps():
    world = World(policies=(policy(),))
    world.model["spec"]["serving"] = {"replicas": 4, "rollout": CANARY}
    world.serve_first()
    world.annotate(rollback=digest("first"))
    world.settle()
    world.advance(hours=2)
    world.annotate(retrain="mended")
    world.settle()
    world.publish("second")
    world.settle()
    assert replicas(world) == {"1": 4, "2": 1}
    world.ready(2)
    world.settle()
    assert (answering(world), status(world)["candidate"]["step"]) == (None, 0)


def test_a_pin_during_a_canary_takes_it_back_without_blame():
    world = on_first_step()
    world.model["spec"]["revision"] = 1
    world.edit("Git pins revision 1")
    world.settle()
    assert (answering(world), replicas(world)) == ("1", {"1": 4})
    assert "quarantine" not in status(world) or not status(world)["quarantine"]
    world.advance(hours=9)
    world.check(DRIFT, DRIFT)
    world.settle()
    assert status(world)["waiting"]["reason"] == "Pinned"
    del world.model["spec"]["revision"]
    world.edit("Git lifts the pin")
    world.settle()
    assert status(world)["candidate"]["number"] == 2


def test_a_pin_overrides_quarantine_and_needs_no_steps():
    world = on_first_step()
    world.answered(2, 300, errors=50)
    later(world, seconds=5)
    world.model["spec"]["revision"] = 2
    world.edit("Git pins the quarantined revision")
    world.settle()
    assert replicas(world)["2"] == 4
    world.ready(2)
    world.settle()
    assert answering(world) == "2"


def test_a_pin_to_nothing_keeps_serving_and_says_so():
    world = candidate()
    world.model["spec"]["revision"] = 9
    world.edit("Git pins a revision that never was")
    world.settle()
    found = world.condition("RolloutProgressing")
    assert (answering(world), found["reason"]) == ("1", "RevisionNotFound")
    assert "revision 9" in found["message"]
    assert world.condition("Ready")["status"] == "True"


def test_a_rejected_candidate_is_quarantined_and_the_stable_one_stays():
    world = on_first_step(approval="Manual")
    world.annotate(reject=digest("second"))
    world.settle()
    assert (answering(world), replicas(world)) == ("1", {"1": 4})
    assert status(world)["quarantine"][0]["reason"] == "rejected by a person"


def test_an_approval_of_another_revision_approves_nothing():
    world = candidate(strategy="BlueGreen", approval="Manual")
    world.annotate(approve=digest("first"))
    world.ready(2)
    world.settle()
    assert world.condition("RolloutProgressing")["reason"] == "WaitingForApproval"
    assert answering(world) == "1"


def test_changed_code_trains_again_after_a_rollback_and_drift_of_before_does_not():
    world = rolled_back_by_a_person()
    assert status(world)["waiting"]["reason"] == "AutoRetrainHeld"
    world.model["spec"]["training"]["estimator"]["params"] = {"max_iter": 50}
    world.edit("the training is mended")
    world.settle()
    assert status(world)["episode"]["cause"] == "CodeChange"
    assert status(world)["episode"]["attempt"] == 1


def test_rolling_back_the_only_revision_keeps_it_and_says_so():
    world = World()
    world.serve_first()
    world.annotate(rollback=digest("first"))
    world.settle()
    assert answering(world) == "1"
    assert "no other revision may serve" in world.condition("RolloutProgressing")["message"]


def test_an_edit_of_serving_during_a_canary_reaches_both():
    world = on_first_step()
    world.model["spec"]["serving"]["replicas"] = 8
    world.edit("twice the pods")
    world.settle()
    assert replicas(world) == {"1": 8, "2": 2}


@pytest.mark.parametrize("weight", [1, 20, 50, 99])
def test_a_canary_has_never_more_pods_than_the_stable_revision_nor_none(weight):
    world = candidate(steps=[{"weight": weight, "hold": "1m"}])
    assert 1 <= replicas(world)["2"] <= 4


def test_every_crash_between_two_writes_ends_with_the_canary_promoted():
    def play(crash_after: int | None) -> World:
        world = candidate()

        def go() -> None:
            if crash_after is not None:
                world.step(crash_after)
            world.settle()

        world.answered(1, 4000)
        for requests, seconds in ((0, 1), (300, 61), (900, 121), (0, 5), (0, 31)):
            world.ready(2)
            world.answered(2, requests)
            go()
            world.advance(seconds=seconds)
            go()
        return world

    for writes in range(5):
        crashed = play(writes)
        assert (answering(crashed), replicas(crashed)) == ("2", {"1": 0, "2": 4})


def test_deletion_in_every_phase_plans_nothing():
    for world in (candidate(), on_first_step(), rolled_back_by_a_person()):
        world.model["metadata"]["deletionTimestamp"] = "2026-01-06T00:00:00Z"
        before = copy.deepcopy(world.objects)
        world.settle()
        assert world.objects == before, "owner references do the rest"


def test_a_candidate_that_cannot_start_is_taken_back_before_it_answers_anyone():
    world = candidate()
    world.crash_pod(2, FailureSummary(reason="DigestMismatch", message="the model is not what it was"), EXIT_INVALID)
    later(world, seconds=5)
    assert (answering(world), replicas(world)) == ("1", {"1": 4})


def test_a_superseding_training_waits_for_the_running_rollout():
    world = on_first_step()
    world.model["spec"]["training"] = model(estimator={"class": "sklearn.linear_model.LogisticRegression"})["spec"]["training"]
    world.edit("other code")
    world.settle()
    assert status(world)["waiting"]["reason"] == "RolloutRunning"
    assert status(world)["candidate"]["number"] == 2
    assert status(world)["lastTraining"]["outcome"] == TrainingOutcome.PUBLISHED


def unplaced(world: World, number: int) -> None:
    """The newest revision's pods find no node, for longer than its deadline."""
    deployment = next(
        obj
        for (kind, _), obj in world.objects.items()
        if kind == "Deployment" and obj["metadata"]["labels"]["stationkeeper.dev/revision"] == str(number)
    )
    world.pod(deployment, "serve", "", **{"stationkeeper.dev/revision": str(number)})
    pod = list(world.objects.values())[-1]
    scheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: insufficient cpu. preemption: none",
    }
    pod["status"] = {"conditions": [scheduled]}
    deployment["status"] = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}


def test_a_candidate_for_which_there_is_no_room_is_not_blamed():
    world = candidate()
    unplaced(world, 2)
    later(world, hours=1)
    assert status(world).get("quarantine", []) == []
    rolling = world.condition("RolloutProgressing")
    assert (rolling["status"], rolling["reason"]) == ("False", "NoRoom")
    assert "revision 2 waits: the cluster has no room" in rolling["message"]
    assert "insufficient cpu; add nodes, or ask for less" in rolling["message"]
    assert "preemption" not in rolling["message"]
    (told,) = [line for line in world.transcript if "NoRoom" in line]
    assert "Warning NoRoom" in told, "somebody must make room"
    assert world.condition("Ready")["status"] == "True", "what serves goes on"
    assert world.condition("Stalled")["status"] == "False", "room may come by itself"
    world.objects = {key: obj for key, obj in world.objects.items() if key[0] != "Pod" or "conditions" not in obj["status"]}
    world.ready(2)
    later(world, seconds=5)
    assert status(world)["candidate"]["step"] == 0


def handed_over(world: World, most: int) -> list[dict[str, int]]:
    """Sizes until revision 2 serves alone; every pod becomes ready as soon as it may. Never more than `most` pods are asked for."""
    seen = [replicas(world)]
    for _ in range(40):
        if status(world)["serving"]["number"] == 2:
            return seen
        world.ready(1)
        world.ready(2)
        world.answered(1, 4000)
        world.answered(2, 400)
        later(world, seconds=5)
        if replicas(world) != seen[-1]:
            seen.append(replicas(world))
        assert sum(replicas(world).values()) <= most, seen
        ready = sum(min(obj["spec"]["replicas"], (obj.get("status") or {}).get("readyReplicas") or 0)
                    for (kind, _), obj in world.objects.items() if kind == "Deployment")  # fmt: skip
        assert ready >= 4, f"as many answer as ever: {seen}"
    raise AssertionError(f"it never took over: {seen}")


@pytest.mark.parametrize("strategy", ["BlueGreen", "Canary"])
def test_without_room_for_as_many_again_it_takes_over_pod_by_pod(strategy):
    steps = [{"weight": 20, "hold": "1s"}]
    world = candidate(strategy=strategy, steps=steps, maxSurge=1)
    seen = handed_over(world, most=5)
    assert seen[0] == {"1": 4, "2": 1}
    assert {"1": 2, "2": 3} in seen
    assert status(world).get("quarantine", []) == []
    later(world, seconds=31)
    assert replicas(world) == {"1": 0, "2": 4}


def test_a_takeover_that_fails_half_way_is_taken_back_whole():
    world = candidate(strategy="BlueGreen", maxSurge=2)
    world.ready(2)
    world.settle()
    assert replicas(world) == {"1": 2, "2": 4}
    world.answered(1, 4000)
    world.answered(2, 300, errors=30)
    later(world, seconds=5)
    assert replicas(world)["1"] == 4
    assert answering(world) == "1"
    assert "server errors" in status(world)["quarantine"][0]["reason"]


def test_a_pod_that_is_lost_during_a_takeover_does_not_bring_the_old_ones_back():
    world = candidate(strategy="BlueGreen", maxSurge=1)
    world.ready(2)
    world.settle()
    before = replicas(world)
    assert before == {"1": 3, "2": 2}
    world.ready(2, pods=0)
    later(world, seconds=5)
    assert replicas(world) == before
    assert answering(world) is None, "what is left of both answers"


def weights_shown(rollout: dict, most: int = 12) -> list[int]:
    """Every weight that status says of a candidate between its first step and its promotion, at each look."""
    world = on_first_step(**rollout)
    world.answered(2, 3000)
    shown = []
    for _ in range(most):
        if status(world)["serving"]["number"] == 2:
            return shown
        for seconds in (130, 5):
            world.advance(seconds=seconds)
            for _ in range(4):  # plans of one look
                world.step()
                shown += [found["weight"]] if (found := status(world).get("candidate")) else []
        for number in (1, 2):
            world.ready(number)
    raise AssertionError("\n".join(world.transcript[-20:]))


@pytest.mark.parametrize("rollout", [{}, {"maxSurge": 1}, {"maxSurge": 2}], ids=["all at once", "pod by pod", "two by two"])
def test_a_candidate_that_takes_over_is_never_shown_going_back(rollout):
    shown = weights_shown(rollout)
    assert shown[0] == 20
    assert shown == sorted(shown), "a Deployment that was just asked for more pods keeps those that answer"
    assert shown[-1] >= 50


@pytest.mark.parametrize("writes", range(6))
def test_a_crash_during_a_takeover_changes_nothing(writes):
    world = candidate(strategy="BlueGreen", maxSurge=1)
    world.ready(2)
    world.step(crash_after=writes)
    handed_over(world, most=5)


def test_room_that_a_pod_still_has_while_it_ends_is_waited_for_and_no_lack_of_room():
    world = candidate(strategy="BlueGreen", maxSurge=1)
    world.ready(2)
    world.settle()
    assert replicas(world) == {"1": 3, "2": 2}
    unplaced(world, 2)
    pending = list(world.objects.values())[-1]
    world.pod({"metadata": {"uid": "one"}}, "serve", "", **{"stationkeeper.dev/revision": "1"})
    ending = list(world.objects.values())[-1]
    ending["metadata"]["deletionTimestamp"] = "2026-01-05T12:00:00Z"
    later(world, seconds=5)
    rolling = world.condition("RolloutProgressing")
    assert (rolling["status"], rolling["reason"]) == ("True", "Canary")
    assert "a pod that ends still has the room" in rolling["message"]
    assert replicas(world) == {"1": 3, "2": 2}, "and nothing moves meanwhile"
    world.remove(ending)
    later(world, seconds=5)
    assert world.condition("RolloutProgressing")["reason"] == "NoRoom", "now it lacks it"
    world.remove(pending)
    handed_over(world, most=5)


def test_a_person_approves_before_the_first_pod_goes():
    world = candidate(strategy="BlueGreen", maxSurge=1, approval="Manual")
    world.ready(2)
    later(world, minutes=5)
    assert replicas(world) == {"1": 4, "2": 1}
    assert answering(world) == "1"
    world.annotate(approve=digest("second"))
    world.settle()
    assert replicas(world)["1"] == 3
