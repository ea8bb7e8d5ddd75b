"""Segments: each value against the reference's rows of the same value, bounded, with a rule for small ones."""

from typing import Any

import numpy as np
import pytest

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.report import SegmentResult
from stationkeeper.workloads.drift.hysteresis import parts
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.drift.segments import judge_segments
from tests.unit.workloads.drift import helpers

Columns = dict[str, Any]


def traffic(rows: int, seed: int, shares: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)) -> Columns:
    """Traffic in which every airline flies distances of its own."""
    data = helpers.columns(rows, seed, shares=shares)
    data["distance"] += 800 * (data["carrier"] == "AA") + 2_000 * (data["carrier"] == "UA")
    return data


REFERENCE = build_reference(helpers.frame(traffic(20_000, 7)), helpers.FEATURES, {})
SAMPLE = traffic(10_000, 8)
ALPHA = 0.01 / 12  # of the columns and ten segments with their rest


def policy(**more: Any) -> DriftPolicySpec:
    return helpers.policy(**({"segments": [{"column": "carrier"}], "features": {"maxDriftedShare": 0.3}} | more))


def judged(current: Columns, sample: Columns | None = SAMPLE, **more: Any) -> list[SegmentResult]:
    return judge_segments(current, sample, REFERENCE, policy(**more), ALPHA, {})


def verdicts(found: list[SegmentResult]) -> dict[str, str]:
    return {s.value: s.verdict.value for s in found}


def test_a_segment_that_differs_from_the_whole_as_it_always_did_has_not_drifted() -> None:
    # Had the whole reference been compared, the distances of every airline would differ from it.
    assert verdicts(judged(traffic(8_000, 1))) == dict.fromkeys(["AA", "B6", "DL", "UA"], "Passed")


def test_more_traffic_of_one_segment_is_no_drift_within_any() -> None:
    assert set(verdicts(judged(traffic(10_000, 1, (0.1, 0.2, 0.3, 0.4)))).values()) == {"Passed"}


def test_drift_of_one_segment_is_found_in_it_alone() -> None:
    current = traffic(8_000, 1)
    current["temp"] = current["temp"] - 5 * (current["carrier"] == "DL")
    found = judged(current)
    assert verdicts(found) == {"AA": "Passed", "B6": "Passed", "DL": "Breached", "UA": "Passed"}
    drifted = next(s for s in found if s.value == "DL")
    assert [c.name for c in drifted.columns] == ["temp"]
    assert drifted.drifted_share == pytest.approx(1 / 3)  # of temp, distance and holiday
    assert drifted.message.startswith("1 of 3 features drifted: temp (PSI")


def test_broken_data_of_one_segment_is_found_in_it_alone() -> None:
    current = traffic(8_000, 1)
    current["temp"][current["carrier"] == "B6"] = np.nan
    found = judged(current)
    assert {value for value, verdict in verdicts(found).items() if verdict == "Breached"} == {"B6"}
    assert "broken data: temp missing in 100.0% of rows (completeness)" in next(s.message for s in found if s.value == "B6")


def test_the_most_frequent_values_are_looked_at_and_the_rest_is_one_segment() -> None:
    found = judged(traffic(8_000, 1), segments=[{"column": "carrier", "maxValues": 2}])
    assert [(s.value, s.rows) for s in found] == [("AA", 3244), ("B6", 2387), ("(all other)", 2369)]
    assert set(verdicts(found).values()) == {"Passed"}


def test_segments_with_few_rows_on_either_side_are_no_pass() -> None:
    current = traffic(2_500, 1)
    current["carrier"][:600] = "ZZ"
    found = {s.value: s for s in judged(current)}
    assert (found["UA"].verdict, found["UA"].message) == (
        "InsufficientData",
        f"{found['UA'].rows} rows are fewer than the 500 of minSamples",
    )
    assert (found["ZZ"].verdict, found["ZZ"].message) == (
        "InsufficientData",
        "the reference keeps 0 rows of it, fewer than the 200 to compare with",
    )


def test_missing_values_are_a_segment() -> None:
    current, sample = traffic(4_000, 1), traffic(8_000, 2)
    current["carrier"][::2] = None
    sample["carrier"][::2] = None
    found = judged(current, sample, segments=[{"column": "carrier", "maxValues": 1}])
    assert verdicts(found) == {"(missing)": "Passed", "(all other)": "Passed"}


@pytest.mark.parametrize(
    ("column", "sample", "verdict", "says"),
    [
        ("carier", SAMPLE, "Error", "the policy names the segment column 'carier', which is no feature of this revision"),
        ("temp", SAMPLE, "Error", "temp is numeric: segments need a categorical feature"),
        ("carrier", None, "InsufficientData", "no rows of the reference are kept to compare with"),
        ("carrier", {k: v for k, v in SAMPLE.items() if k != "carrier"}, "InsufficientData", "the column could not be read"),
    ],
)
def test_what_cannot_be_cut_into_segments_says_why(column: str, sample: Columns | None, verdict: str, says: str) -> None:
    found = judged(traffic(2_000, 1), sample, segments=[{"column": column}, {"column": "holiday"}])
    assert (found[0].value, found[0].verdict.value, found[0].message) == ("*", verdict, says)
    assert len(found) >= 2  # the other column is still looked at


def test_checks_of_single_columns_hold_in_segments_too() -> None:
    current = traffic(8_000, 1)
    current["temp"] = current["temp"] - 5
    columns = [{"name": "temp", "ignore": True}, {"name": "distance", "threshold": 9}]
    assert set(verdicts(judged(current, features={"columns": columns})).values()) == {"Passed"}


def test_every_column_named_gets_its_segments() -> None:
    found = judged(traffic(8_000, 1), segments=[{"column": "holiday"}, {"column": "carrier"}])
    assert [(s.column, s.value) for s in found] == [
        ("holiday", "false"), ("holiday", "true"), ("carrier", "AA"), ("carrier", "B6"), ("carrier", "DL"), ("carrier", "UA"),
    ]  # fmt: skip


def test_importance_weighs_in_segments() -> None:
    current = traffic(8_000, 1)
    current["temp"] = current["temp"] - 5
    found = judge_segments(current, SAMPLE, REFERENCE, policy(), ALPHA, {"temp": 0.01, "distance": 0.98, "holiday": 0.01})
    assert {(s.verdict.value, round(s.drifted_share or 0, 2)) for s in found} == {("Passed", 0.01)}


def test_healthy_segments_alarm_no_more_often_than_promised() -> None:
    promise, windows = 0.2, 40
    spec = policy(features={"maxDriftedShare": 0.01}, minSamples=200, schema={"maxMissingIncrease": 0})
    alpha = promise / parts(spec)
    alarms = 0
    for seed in range(windows):
        found = judge_segments(traffic(2_500, 100 + seed), SAMPLE, REFERENCE, spec, alpha, {})
        alarms += any(s.verdict == "Breached" for s in found)
    assert alarms <= promise * windows + 3 * np.sqrt(promise * windows)
