"""A candidate that is asked off the request path, told as transcripts, and what its comparisons may decide."""

import copy
import json
from datetime import timedelta

import pytest

from stationkeeper.api.summary import FailureSummary
from tests.support import transcripts
from tests.support.world import World, digest, policy
from tests.unit.control.planning.test_rollout import DRIFT, answering, later, replicas, status

SHADOW = {
    "strategy": "Shadow",
    "shadow": {"duration": "10m", "minRows": 1000},
    "analysis": {"deadline": "30m"},
}
TEN_MINUTES = 600 + 60 + 30  # with an interval of capture and the time of its upload


def candidate(capture: dict | None = None, **rollout) -> World:
    """Revision 1 serves, revision 2 is published."""
    world = World(policies=(policy(),))
    world.model["spec"]["serving"] = {"replicas": 4, "capture": capture or {}}
    world.serve_first()
    world.model["spec"]["serving"]["rollout"] = {**SHADOW, **rollout}
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.transcript.clear()
    world.publish("second")
    world.settle()
    return world


def shadowing(**rollout) -> World:
    """Revision 2 is asked what revision 1 is asked."""
    world = candidate(**rollout)
    world.ready(2)
    world.settle()
    return world


def compared(world: World, verdict: str, **fields) -> None:
    """The time of a comparison comes, and it ends."""
    later(world, seconds=TEN_MINUTES)
    world.compare(verdict, **fields)
    world.settle()


def shadow_jobs(world: World) -> list[dict]:
    return [obj for (kind, name), obj in world.objects.items() if kind == "Job" and "-shadow-" in name]


def own_services(world: World) -> set[str]:
    return {name for kind, name in world.objects if kind == "Service" and name != "flights"}


def record(world: World, number: int) -> None:
    """Somebody restores a revision's record."""
    key = next(key for key in world.objects if key[0] == "ModelRevision" and "-r2-" in key[1])
    made = copy.deepcopy(world.objects[key])
    made["metadata"] |= {"name": f"flights-r{number}", "uid": f"restored-{number}"}
    made["spec"] |= {"number": number, "digest": digest(str(number))}
    world.objects[("ModelRevision", f"flights-r{number}")] = made
    world.say(f"revision {number} is published")


def shadow_that_agrees() -> World:
    world = shadowing()
    compared(world, "InsufficientData", rows=400, message="400 rows; 1000 rows are needed")
    later(world, seconds=500)
    world.say("the next comparison is due")
    later(world, seconds=101)
    world.compare("Passed", rows=1800, message="1800 rows, 1.2% got another class")
    world.settle()
    later(world, seconds=31)
    return world


def shadow_that_disagrees() -> World:
    world = shadowing()
    compared(world, "Breached", message="41.0% of 1800 rows got another class; at most 25.0% may")
    later(world, seconds=5)
    return world


def shadow_without_traffic() -> World:
    world = shadowing()
    for _ in range(3):
        compared(world, "InsufficientData", rows=0, message="0 rows; 1000 rows are needed")
    later(world, seconds=TEN_MINUTES)
    return world


def shadow_that_crashes() -> World:
    world = shadowing()
    later(world, seconds=60)
    world.crash_pod(2, FailureSummary(reason="InternalError", message="out of file descriptors"), 1, restarts=2)
    later(world, seconds=5)
    return world


def new_revision_during_a_shadow() -> World:
    world = shadowing()
    later(world, seconds=TEN_MINUTES)
    record(world, 3)
    world.settle()
    world.ready(3)
    world.settle()
    compared(world, "Passed")
    later(world, seconds=31)
    return world


SCENARIOS = [
    shadow_that_agrees,
    shadow_that_disagrees,
    shadow_without_traffic,
    shadow_that_crashes,
    new_revision_during_a_shadow,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_transcript(scenario, request):
    transcripts.check(scenario, request)


def test_a_shadow_answers_nobody_and_has_all_of_its_pods():
    world = shadowing()
    assert (answering(world), replicas(world)) == ("1", {"1": 4, "2": 4})
    later(world, minutes=9)
    assert answering(world) == "1"
    assert status(world)["candidate"].get("weight") is None


def test_the_job_is_told_that_rows_are_kept_by_their_event_time():
    world = candidate(capture={"eventTime": "departed_at"})
    world.ready(2)
    world.settle()
    later(world, seconds=TEN_MINUTES)
    (job,) = shadow_jobs(world)
    config = json.loads(job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
    assert config["eventTime"] == "departed_at"


def test_the_job_is_told_what_to_compare_and_where_the_candidate_is():
    world = shadowing()
    later(world, seconds=TEN_MINUTES)
    (job,) = shadow_jobs(world)
    config = json.loads(job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
    (service,) = own_services(world)
    assert config["url"] == f"http://{service}.ops.svc:80/v2/models/flights/infer"
    assert (config["stable"]["number"], config["candidate"]["number"], config["attempt"]) == (1, 2, 1)
    assert config["since"] == status(world)["candidate"]["shadowedSince"]
    assert config["until"] > config["since"]
    selector = world.objects[("Service", service)]["spec"]["selector"]
    assert selector["stationkeeper.dev/revision"] == "2"


def test_the_job_is_told_what_the_gates_saw_the_predictions_differ_by():
    world = World(policies=(policy(),))
    world.model["spec"]["serving"] = {"replicas": 4}
    world.serve_first()
    world.model["spec"]["serving"]["rollout"] = SHADOW
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.publish("second", champion_shift={"1": 0.2, "0": -0.2})
    world.settle()
    world.ready(2)
    world.settle()
    later(world, seconds=TEN_MINUTES)
    (job,) = shadow_jobs(world)
    config = json.loads(job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
    assert config["expectedShift"] == {"1": 0.2, "0": -0.2}


def test_evidence_is_never_early_and_a_comparison_runs_once():
    world = shadowing()
    later(world, seconds=TEN_MINUTES - 1)
    assert shadow_jobs(world) == []
    later(world, seconds=1)
    assert len(shadow_jobs(world)) == 1
    later(world, minutes=15)
    assert len(shadow_jobs(world)) == 1, "it still runs"


@pytest.mark.parametrize("wrong", ["stable_digest", "candidate_digest"])
def test_a_word_about_other_revisions_is_not_believed(wrong):
    world = shadowing()
    compared(world, "Passed", **{wrong: digest("another")})
    assert answering(world) == "1"
    assert status(world)["candidate"]["shadow"].get("verdict") is None


def test_a_word_of_another_shadow_of_the_same_two_is_not_believed():
    world = shadowing()
    compared(world, "Passed", since=world.now - timedelta(days=1))
    assert answering(world) == "1"


def test_a_word_of_a_pod_or_a_container_that_is_not_ours_is_not_believed():
    world = shadowing()
    later(world, seconds=TEN_MINUTES)
    world.compare("Passed")
    pod = next(
        o for o in world.objects.values() if o["kind"] == "Pod" and o["status"]["containerStatuses"][0]["name"] == "shadow"
    )
    pod["status"]["containerStatuses"][0]["name"] = "sidecar"
    world.settle()
    assert answering(world) == "1"
    pod["status"]["containerStatuses"][0]["name"] = "shadow"
    (job,) = shadow_jobs(world)
    job["metadata"]["ownerReferences"][0]["uid"] = "another-model"
    world.settle()
    assert answering(world) == "1"


@pytest.mark.parametrize(("answer", "number"), [("Rollback", None), ("Wait", 2)])
def test_comparisons_that_fail_are_no_evidence(answer, number):
    world = shadowing(analysis={"deadline": "30m", "withoutEvidence": answer})
    for _ in range(4):
        later(world, seconds=TEN_MINUTES)
        if "candidate" in status(world):
            world.compare("StorageDenied", message="no such key", exit_code=3)
            world.settle()
            if "candidate" in status(world):
                assert "StorageDenied: no such key" in world.condition("RolloutProgressing")["message"]
    later(world, minutes=1)
    assert answering(world) == "1"
    assert status(world).get("candidate", {}).get("number") == number


def test_one_comparison_is_made_though_the_deadline_is_shorter():
    world = shadowing(analysis={"deadline": "1m"})
    later(world, minutes=5)
    assert status(world)["candidate"]["number"] == 2
    compared(world, "Passed")
    assert answering(world) == "2"


def test_a_passed_shadow_waits_for_a_person_and_what_it_showed_is_remembered():
    world = shadowing(approval="Manual")
    compared(world, "Passed")
    assert world.condition("RolloutProgressing")["reason"] == "WaitingForApproval"
    for key in [key for key in world.objects if key[0] == "Job" and "-shadow-" in key[1]]:
        world.remove(world.objects[key])
    later(world, hours=2)
    assert shadow_jobs(world) == [], "the evidence is there"
    assert status(world)["candidate"]["shadow"]["verdict"] == "Passed"
    world.annotate(approve=digest("second"))
    world.settle()
    assert answering(world) == "2"


def test_a_paused_shadow_takes_nothing_over_and_still_fails():
    world = shadowing()
    later(world, seconds=TEN_MINUTES)
    world.annotate(pause="not today")
    world.compare("Passed")
    later(world, hours=1)
    assert (answering(world), world.condition("RolloutProgressing")["reason"]) == ("1", "Paused")
    world = shadowing()
    later(world, seconds=TEN_MINUTES)
    world.annotate(pause="not today")
    world.compare("Breached", message="other classes")
    world.settle()
    assert "other classes" in status(world)["quarantine"][0]["reason"]


def test_a_pin_needs_no_shadow():
    world = candidate()
    world.model["spec"]["revision"] = 2
    world.edit("Git pins revision 2")
    world.ready(2)
    world.settle()
    assert answering(world) == "2"


def test_the_first_revision_has_nothing_to_be_compared_with():
    world = World()
    world.model["spec"]["serving"]["rollout"] = SHADOW
    world.serve_first()
    assert answering(world) == "1"


def test_a_comparison_that_has_decided_stays_for_people_to_look_at():
    world = shadowing()
    later(world, seconds=TEN_MINUTES)
    world.compare("Breached")
    (job,) = shadow_jobs(world)
    del job["status"]  # the Job's controller is slower than the pod
    later(world, seconds=5)
    assert status(world)["quarantine"]
    assert len(shadow_jobs(world)) == 1


def test_what_was_made_for_a_shadow_goes_with_it():
    world = shadowing()
    later(world, seconds=TEN_MINUTES)
    assert own_services(world)
    world.annotate(reject=digest("second"))
    world.settle()
    assert (own_services(world), shadow_jobs(world), replicas(world)) == (set(), [], {"1": 4})


def test_every_crash_between_two_writes_ends_with_the_candidate_promoted_by_one_comparison():
    def play(crash_after: int) -> World:
        world = candidate()

        def go(**delta: float) -> None:
            world.advance(**delta)
            world.step(crash_after)
            world.settle()

        go()
        world.ready(2)
        go(seconds=1)
        go(seconds=TEN_MINUTES)
        world.compare("Passed")
        go(seconds=1)
        go(seconds=31)
        return world

    for writes in range(6):
        crashed = play(writes)
        assert (answering(crashed), replicas(crashed)) == ("2", {"1": 0, "2": 4})
        assert len(shadow_jobs(crashed)) == 1
