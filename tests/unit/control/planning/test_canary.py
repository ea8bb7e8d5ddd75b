"""What the pods' own counts say of a canary: faults, patience, and that what could not be compared has not passed."""

from typing import Any

import pytest

from stationkeeper.api.serving import Analysis
from stationkeeper.api.verdicts import Verdict
from stationkeeper.control.planning.canary import Measured, analyse, percentile, shift

INFINITE = float("inf")


def answered(requests: int, *, errors: int = 0, seconds: float = 0.005, positive: float = 0.3) -> Measured:
    """Requests that all took up to `seconds`, `positive` of them answered with `true`."""
    latency = tuple((bound, requests if bound >= seconds else 0) for bound in (0.001, 0.005, 0.05, 0.5, INFINITE))
    late = round(requests * positive)
    return Measured(requests, errors, latency, {"true": late, "false": requests - late})


@pytest.mark.parametrize(
    ("limits", "stable", "candidate", "verdict", "words"),
    [
        ({}, answered(100), answered(100), Verdict.PASSED, "100 requests, 0 errors"),
        ({}, answered(0), answered(2, errors=2), Verdict.BREACHED, "2 of 2 answers were server errors"),
        ({}, answered(0), answered(2, errors=1), Verdict.INSUFFICIENT_DATA, "100 requests are needed"),
        ({"maxLatencyRatio": 3}, answered(100), answered(100, seconds=0.05), Verdict.BREACHED, "took up to 48 ms"),
        ({}, answered(100), answered(100, positive=0.9), Verdict.BREACHED, "predictions differ"),
        ({}, answered(1_000), answered(99), Verdict.INSUFFICIENT_DATA, "100 requests are needed"),
    ],
)
def test_the_first_fault_decides_and_few_requests_hold(
    limits: dict[str, Any], stable: Measured, candidate: Measured, verdict: Verdict, words: str
) -> None:
    found = analyse(Analysis.model_validate(limits), stable, candidate)
    assert found.verdict == verdict
    assert words in found.message


@pytest.mark.parametrize("candidate", [answered(101), answered(101, seconds=0.5), answered(101, positive=1.0)])
def test_a_step_holds_until_the_stable_revision_can_be_compared_with(candidate: Measured) -> None:
    found = analyse(Analysis(max_latency_ratio=3), answered(99), candidate)
    assert (found.verdict, found.message) == (
        Verdict.INSUFFICIENT_DATA,
        "101 requests, 0 errors; the stable revision answered 99 beside it, and 100 are needed to compare them",
    )


LIMIT = 0.25
SHIFTS = [
    ("it does what the gates saw", 0.3, 0.8, {"true": 0.5, "false": -0.5}, None),
    ("it does half of it", 0.3, 0.5, {"true": 0.5, "false": -0.5}, 0.3),
    ("it does as much the other way", 0.6, 0.1, {"true": 0.5, "false": -0.5}, 1.0),
    ("it does nothing of it", 0.3, 0.3, {"true": 0.5, "false": -0.5}, 0.5),
    ("the gates saw none", 0.3, 0.8, {}, 0.5),
    ("a class that nobody answered any more was to come", 0.3, 0.3, {"late": 0.6, "false": -0.6}, 0.6),
]


@pytest.mark.parametrize(("stable", "candidate", "expected", "off"), [row[1:] for row in SHIFTS], ids=[row[0] for row in SHIFTS])
def test_predictions_are_measured_from_where_the_gates_saw_them(
    stable: float, candidate: float, expected: dict[str, float], off: float | None
) -> None:
    many = 100_000  # chance moves nothing
    ours, theirs = answered(many, positive=candidate), answered(many, positive=stable)
    found = shift(theirs, ours, expected)
    assert found is not None
    assert found.distance == pytest.approx(abs(candidate - stable))
    assert found.deviation == pytest.approx(off or 0.0)
    verdict = analyse(Analysis(max_prediction_shift=LIMIT), theirs, ours, (), expected)
    assert verdict.verdict == (Verdict.BREACHED if off else Verdict.PASSED)
    if off:
        assert f"by {abs(candidate - stable):.2f}" in verdict.message
        assert (f"by {off:.2f} from what the gates saw" in verdict.message) is bool(expected)


def test_where_nothing_is_compared_the_stable_revision_need_not_answer() -> None:
    limits = Analysis(max_latency_ratio=None, max_prediction_shift=None)
    assert analyse(limits, Measured(), answered(100)).verdict == Verdict.PASSED


def test_latencies_below_what_a_machine_scatters_by_are_no_fault() -> None:
    limits = Analysis(max_latency_ratio=1.5)
    assert analyse(limits, answered(100, seconds=0.001), answered(100, seconds=0.005)).verdict == Verdict.PASSED


def test_a_percentile_is_interpolated_in_its_bucket() -> None:
    latency = ((0.1, 50), (0.2, 100), (INFINITE, 100))
    assert percentile(latency, 0.5) == pytest.approx(0.1)
    assert percentile(latency, 0.75) == pytest.approx(0.15)
    assert percentile((), 0.95) == 0.0
