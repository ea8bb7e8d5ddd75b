"""A canary that Prometheus is asked about by name: numbers within bounds, past them, and no number at all."""

from dataclasses import replace

import pytest

from stationkeeper.api.serving import Analysis
from stationkeeper.api.verdicts import Verdict
from stationkeeper.control.planning.canary import Measured, analyse, analyse_foreign
from stationkeeper.control.planning.queries import Answer, results
from tests.support import transcripts
from tests.support.world import SETTINGS, World, digest
from tests.unit.control.planning.test_decisions import newest
from tests.unit.control.planning.test_rollout import answering, later, on_first_step, status

QUERIES = [{"name": "late-answers", "max": 0.05}, {"name": "bookings", "min": 1.5}]
ANALYSIS = {"minRequests": 200, "deadline": "10m", "queries": QUERIES}


def asked(**analysis) -> World:
    world = on_first_step(analysis=ANALYSIS | analysis)
    world.settings = replace(SETTINGS, queries=frozenset({"late-answers", "bookings"}))
    world.answered(2, 300)
    return world


def queries_within_their_bounds() -> World:
    world = asked()
    world.asked("late-answers", 0.02)
    world.asked("bookings", None, "it gives no series: nothing was counted yet")
    later(world, seconds=70)
    world.say("a query without an answer: it holds")
    world.asked("bookings", 2)
    later(world, seconds=5)
    world.ready(2)
    world.answered(2, 900)
    later(world, seconds=130)
    world.ready(2)
    world.settle()
    return world


def query_past_its_bound() -> World:
    world = asked()
    world.asked("late-answers", 0.11)
    world.asked("bookings", 2)
    later(world, seconds=5)
    return world


def no_answer_until_the_deadline() -> World:
    world = asked()
    world.asked("late-answers", 0.02)
    world.asked("bookings", None, "Prometheus does not answer within 3 s")
    later(world, minutes=9)
    world.say("it has held for nine minutes")
    later(world, minutes=2)
    return world


SCENARIOS = [queries_within_their_bounds, query_past_its_bound, no_answer_until_the_deadline]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_transcript(scenario, request):
    transcripts.check(scenario, request)


def test_a_promotion_carries_the_numbers_of_its_last_step():
    decision = newest(queries_within_their_bounds()).decision
    assert decision.kind == "Promoted"
    assert [(q.name, q.value, q.min, q.max) for q in decision.queries] == [
        ("late-answers", 0.02, None, 0.05),
        ("bookings", 2, 1.5, None),
    ]
    assert decision.message == "revision 2 passed every step: 900 requests, 0 errors, late-answers 0.02, bookings 2"


@pytest.mark.parametrize(
    ("scenario", "numbers"),
    [
        (query_past_its_bound, [("late-answers", 0.11), ("bookings", 2)]),
        (no_answer_until_the_deadline, [("late-answers", 0.02), ("bookings", None)]),
    ],
)
def test_a_rejection_carries_what_was_seen_then(scenario, numbers):
    world = scenario()
    decision = newest(world).decision
    assert (decision.kind, answering(world)) == ("Rejected", "1")
    assert [(q.name, q.value) for q in decision.queries] == numbers
    assert [q.problem for q in decision.queries if q.value is None] == [
        "Prometheus does not answer within 3 s" for _, value in numbers if value is None
    ]


def test_without_an_answer_it_waits_where_the_spec_says_so():
    world = asked(withoutEvidence="Wait")
    later(world, hours=5)
    assert status(world)["candidate"]["step"] == 0
    assert "the query late-answers has no answer: it has not been asked yet" in world.condition("RolloutProgressing")["message"]
    world.asked("late-answers", 0)
    world.asked("bookings", 1.5)
    later(world, seconds=5)
    assert status(world)["candidate"]["step"] == 1, "a bound itself is allowed"


def test_a_name_that_nobody_has_is_told_once_for_each_edit_and_holds_the_canary():
    world = asked()
    world.settings = replace(SETTINGS, queries=frozenset({"bookings"}))
    world.asked("late-answers", None, "the operator's configuration has no such query")
    world.asked("bookings", 2)
    world.transcript.clear()
    world.edit("a query is mistyped")
    later(world, seconds=70)
    world.settle()
    said = [line for line in world.transcript if "UnknownQuery" in line]
    assert said == [
        "  event Warning UnknownQuery: spec.serving.rollout.analysis.queries: late-answers; the operator's configuration has bookings"
    ]
    assert status(world)["candidate"]["step"] == 0
    assert "late-answers has no answer: the operator's configuration has no such query" in status(world)["candidate"]["analysis"]


LIMITS = Analysis.model_validate(ANALYSIS)
ENOUGH, FEW = Measured(300), Measured(100)
TABLE = [
    (
        "both within",
        ENOUGH,
        {"late-answers": 0.05, "bookings": 1.5},
        Verdict.PASSED,
        "300 requests, 0 errors, late-answers 0.05, bookings 1.5",
    ),
    (
        "above max",
        ENOUGH,
        {"late-answers": 0.051, "bookings": 9},
        Verdict.BREACHED,
        "late-answers gives 0.051; at most 0.05 is allowed",
    ),
    ("below min", ENOUGH, {"late-answers": 0, "bookings": 1}, Verdict.BREACHED, "bookings gives 1; at least 1.5 is asked for"),
    ("a breach beside no answer", ENOUGH, {"bookings": 1}, Verdict.BREACHED, "bookings gives 1"),
    ("one without an answer", ENOUGH, {"bookings": 9}, Verdict.INSUFFICIENT_DATA, "late-answers has no answer"),
    (
        "few requests decide nothing",
        FEW,
        {"late-answers": 1, "bookings": 0},
        Verdict.INSUFFICIENT_DATA,
        "200 requests are needed",
    ),
]


@pytest.mark.parametrize(("requests", "numbers", "verdict", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_number_past_its_bound_breaches_and_none_holds(requests, numbers, verdict, words):
    found = analyse(LIMITS, ENOUGH, requests, results(LIMITS.queries, {name: Answer(value) for name, value in numbers.items()}))
    assert found.verdict == verdict
    assert words in found.message


def test_a_fault_that_the_pods_count_themselves_is_told_first():
    answers = {"late-answers": Answer(1.0), "bookings": Answer(0.0)}
    found = analyse(LIMITS, ENOUGH, Measured(300, errors=30), results(LIMITS.queries, answers))
    assert (found.verdict, "server errors" in found.message) == (Verdict.BREACHED, True)


def test_a_server_that_is_not_ours_is_judged_by_queries_alone():
    answers = {"late-answers": Answer(0.01), "bookings": Answer(2.0)}
    assert analyse_foreign(results(LIMITS.queries, answers)).verdict == Verdict.PASSED
    assert analyse_foreign(results(LIMITS.queries, answers | {"bookings": Answer(0.0)})).verdict == Verdict.BREACHED
    assert analyse_foreign(results(LIMITS.queries, {})).verdict == Verdict.INSUFFICIENT_DATA
    assert "name analysis.queries" in analyse_foreign([]).message
    assert analyse_foreign([]).verdict == Verdict.INSUFFICIENT_DATA


def test_what_is_promoted_after_an_approval_still_carries_its_numbers():
    world = on_first_step(approval="Manual", steps=[{"weight": 20, "hold": "1m"}], analysis=ANALYSIS)
    world.answered(2, 300)
    world.asked("late-answers", 0.02)
    world.asked("bookings", 2)
    later(world, seconds=61)
    world.answers.clear()
    world.measured.clear()
    later(world, seconds=5)
    world.ready(2)
    later(world, hours=1)
    assert world.condition("RolloutProgressing")["reason"] == "WaitingForApproval"
    world.annotate(approve=digest("second"))
    world.settle()
    decision = newest(world).decision
    assert (decision.kind, [q.value for q in decision.queries]) == ("Promoted", [0.02, 2])
    assert decision.message.startswith("revision 2 passed every step: 300 requests, 0 errors")
    assert [(m.number, m.requests) for m in decision.measured] == [(1, 4000), (2, 300)], "the pods count the next step anew"
    assert (decision.shift, decision.deviation) == (0.0, 0.0)
