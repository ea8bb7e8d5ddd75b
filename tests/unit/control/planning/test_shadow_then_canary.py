"""A candidate that first proves itself off the request path, and then step by step on it."""

import pytest

from tests.support import transcripts
from tests.support.world import World, digest
from tests.unit.control.planning.test_decisions import newest
from tests.unit.control.planning.test_rollout import answering, later, replicas, status
from tests.unit.control.planning.test_shadow import SHADOW, TEN_MINUTES, candidate, compared, own_services, record, shadow_jobs

STEPWISE = {
    "shadow": {**SHADOW["shadow"], "then": "Canary"},
    "steps": [{"weight": 20, "hold": "1m"}, {"weight": 50, "hold": "2m"}],
    "analysis": {"minRequests": 200, "deadline": "30m"},
}


def shadowing(**rollout) -> World:
    world = candidate(**STEPWISE | rollout)
    world.ready(2)
    world.settle()
    return world


def on_first_step(**rollout) -> World:
    world = shadowing(**rollout)
    compared(world, "Passed", rows=1800, message="1800 rows, 1.2% got another class")
    world.answered(1, 4000)
    return world


def shadow_then_canary() -> World:
    world = on_first_step()
    world.answered(2, 300)
    later(world, seconds=61)
    world.ready(2)
    world.answered(2, 900)
    world.settle()
    later(world, seconds=121)
    world.ready(2)
    world.settle()
    later(world, seconds=31)
    return world


def canary_that_errs_after_its_shadow() -> World:
    world = on_first_step()
    world.answered(2, 300, errors=30)
    later(world, seconds=5)
    return world


@pytest.mark.parametrize("scenario", [shadow_then_canary, canary_that_errs_after_its_shadow])
def test_transcript(scenario, request):
    transcripts.check(scenario, request)


def test_a_shadow_before_steps_has_the_pods_of_the_first():
    world = shadowing()
    assert (answering(world), replicas(world)) == ("1", {"1": 4, "2": 1})
    assert world.condition("RolloutProgressing")["reason"] == "Shadow"


def test_a_shadow_that_disagrees_answers_nobody():
    world = shadowing()
    compared(world, "Breached", message="41.0% of 1800 rows got another class")
    assert (answering(world), replicas(world)) == ("1", {"1": 4})
    assert "failed as a shadow" in status(world)["quarantine"][0]["reason"]


def test_what_the_shadow_showed_is_remembered_and_nothing_is_compared_any_more():
    world = on_first_step()
    for job in shadow_jobs(world):
        world.remove(job)  # its time to live has passed
    world.answered(2, 100)
    later(world, minutes=25)
    assert (status(world)["candidate"]["step"], answering(world)) == (0, None)
    assert status(world)["candidate"]["shadow"]["verdict"] == "Passed"
    assert (shadow_jobs(world), own_services(world)) == ([], set())


def test_the_decision_carries_both():
    decision = newest(shadow_then_canary()).decision
    assert (decision.kind, decision.steps, decision.message) == (
        "Promoted",
        2,
        "revision 2 passed every step: 900 requests, 0 errors",
    )
    assert decision.reports[0].startswith("s3://models/flights/shadow/")
    assert [m.requests for m in decision.measured] == [4000, 900]
    failed = newest(canary_that_errs_after_its_shadow()).decision
    assert (failed.kind, failed.measured[1].errors) == ("Rejected", 30)
    assert "failed as a canary" in failed.message


def test_a_pause_and_an_approval_hold_it_where_they_would_a_canary():
    world = shadowing(approval="Manual", steps=[{"weight": 20, "hold": "1m"}])
    later(world, seconds=TEN_MINUTES)
    world.annotate(pause="not today")
    world.compare("Passed")
    later(world, hours=1)
    assert (answering(world), world.condition("RolloutProgressing")["reason"]) == ("1", "Paused")
    del world.model["metadata"]["annotations"]["stationkeeper.dev/pause"]
    world.settle()
    assert status(world)["candidate"]["step"] == 0
    world.answered(1, 4000)
    world.answered(2, 300)
    later(world, seconds=61)
    world.ready(2)
    world.settle()
    assert world.condition("RolloutProgressing")["reason"] == "WaitingForApproval"
    assert status(world)["candidate"]["shadow"]["verdict"] == "Passed"
    world.annotate(approve=digest("second"))
    world.settle()
    assert answering(world) == "2"


def test_a_newer_candidate_is_a_shadow_again_before_it_takes_a_step():
    world = on_first_step()
    record(world, 3)
    world.settle()
    world.ready(3)
    world.settle()
    assert (answering(world), status(world)["candidate"]["number"]) == ("1", 3)
    assert "step" not in status(world)["candidate"]
    assert world.condition("RolloutProgressing")["reason"] == "Shadow"


@pytest.mark.parametrize("writes", range(6))
def test_every_crash_between_two_writes_ends_on_the_first_step_after_one_comparison(writes):
    world = shadowing()
    later(world, seconds=TEN_MINUTES)
    world.compare("Passed")
    world.step(crash_after=writes)
    world.step(crash_after=writes)
    world.settle()
    assert (answering(world), status(world)["candidate"]["step"], len(shadow_jobs(world))) == (None, 0, 1)
    assert status(world)["candidate"]["shadow"]["verdict"] == "Passed"
