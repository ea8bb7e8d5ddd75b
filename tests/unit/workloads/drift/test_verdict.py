"""A table of windows and their verdicts, and the promises: few false alarms, planted drift found."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.drift.verdict import Findings, judge, unreadable
from tests.unit.workloads.drift import helpers

REFERENCE = helpers.reference()
EMPTY = Profile.empty(REFERENCE)
PASSED, BREACHED, INSUFFICIENT, ERROR = "Passed", "Breached", "InsufficientData", "Error"


def window(
    rows: int = 1_000, *, refused: int = 0, lost: tuple[str, ...] = (), mismatched: tuple[str, ...] = (), **more: Any
) -> Profile:
    made = EMPTY.fresh()
    made.update(helpers.columns(rows, 1, **more), helpers.predictions(rows, 1))
    if refused:
        made.refused(lost, mismatched, rows=refused)
    return made


def verdicts(found: Findings) -> tuple[str, str, str]:
    return found.data.verdict.value, found.features.verdict.value, found.predictions.verdict.value


CASES: list[tuple[str, Profile, dict[str, Any], tuple[str, str, str], str]] = [
    ("a healthy window", window(), {}, (PASSED, PASSED, PASSED), "0 of 4 features drifted"),
    ("no rows", window(0), {}, (INSUFFICIENT,) * 3, "0 rows are fewer than the 500"),
    ("too few rows", window(499), {}, (INSUFFICIENT,) * 3, "499 rows are fewer"),
    ("one of four drifted, three tolerated", window(shift=1.0), {}, (PASSED, PASSED, PASSED), "1 of 4 features drifted: temp (PSI"),
    ("two of four drifted", window(shift=1.0, shares=(0.1, 0.2, 0.3, 0.4)), {}, (PASSED, BREACHED, PASSED), "2 of 4 features drifted: "),
    ("one of four, none tolerated", window(shift=1.0), {"features": {"maxDriftedShare": 0.25}}, (PASSED, BREACHED, PASSED), "temp (PSI"),
    ("the same, but too lax a threshold", window(shift=1.0), {"features": {"default": {"threshold": 9}, "maxDriftedShare": 0.25}}, (PASSED, PASSED, PASSED), "0 of 4"),
    ("the drifted column ignored", window(shift=1.0), {"features": {"columns": [{"name": "temp", "ignore": True}], "maxDriftedShare": 0.25}}, (PASSED, PASSED, PASSED), "0 of 3"),
    ("a NaN flood is broken data", window(missing=0.5), {}, (BREACHED, PASSED, PASSED), "broken data: temp missing in 49.9%"),
    ("a NaN flood that is allowed", window(missing=0.5), {"schema": {"maxMissingIncrease": 0.9}}, (PASSED, PASSED, PASSED), "whole"),
    ("a column that does not come any more", window(0, refused=900, lost=("temp",)), {}, (BREACHED, INSUFFICIENT, INSUFFICIENT), "temp absent from 900 of 900 rows (missing_column)"),
    ("one of many clients lost a column", window(refused=400, lost=("temp",)), {}, (BREACHED, PASSED, PASSED), "absent from 400 of 1400"),
    ("one careless request", window(refused=3, lost=("temp",)), {}, (PASSED, PASSED, PASSED), "whole"),
    ("lost columns ignored", window(refused=400, lost=("temp",)), {"schema": {"missingColumns": "Ignore"}}, (PASSED, PASSED, PASSED), "whole"),
    ("text where numbers were", window(0, refused=900, mismatched=("distance",)), {}, (BREACHED, INSUFFICIENT, INSUFFICIENT), "distance of another type in 900 of 900 rows (data_type)"),
    ("refusals without rows prove nothing about the rest", window(0, refused=900, lost=("temp",)), {"schema": {"missingColumns": "Ignore"}}, (INSUFFICIENT,) * 3, "0 rows (900 more were refused)"),
    ("a policy for a column that is none", window(), {"features": {"columns": [{"name": "tmp"}]}}, (PASSED, ERROR, PASSED), "'tmp', which is no feature of this revision; it has temp, distance"),
    ("everything ignored", window(), {"features": {"columns": [{"name": f.name, "ignore": True} for f in helpers.FEATURES]}}, (PASSED, INSUFFICIENT, PASSED), "no feature could be compared"),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "spec", "expected", "says"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_verdicts(profile: Profile, spec: dict[str, Any], expected: tuple[str, str, str], says: str) -> None:
    found = judge(profile, helpers.policy(**spec))
    assert verdicts(found) == expected
    assert says in found.message


def test_a_breach_of_the_predictions_names_the_output() -> None:
    made = EMPTY.fresh()
    made.update(helpers.columns(1_000, 1), {"probability": np.full(1_000, 0.9), "label": helpers.objects(["late"] * 1_000)})
    found = judge(made, helpers.policy())
    assert verdicts(found) == (PASSED, PASSED, BREACHED)
    assert found.message.startswith("predictions shifted: label (PSI")


def test_extra_columns_count_when_the_policy_says_so() -> None:
    made = window()
    made.extra(["wind"], 600)
    assert judge(made, helpers.policy()).violations == []
    found = judge(made, helpers.policy(schema={"extraColumns": "Breach"}))
    assert [(v.type, v.column, v.observed) for v in found.violations] == [("extra_column", "wind", "in 600 of 1000 rows")]


def test_categories_under_a_ks_policy_are_compared_by_calibrated_psi() -> None:
    found = judge(window(), helpers.policy(features={"default": {"test": "KolmogorovSmirnov", "threshold": 0.9}}))
    by_name = {c.name: c for c in found.columns}
    assert (by_name["temp"].test, by_name["temp"].threshold, by_name["temp"].calibrated) == ("KolmogorovSmirnov", 0.9, False)
    assert (by_name["carrier"].test, by_name["carrier"].calibrated) == ("PSI", True)


def test_a_column_without_values_is_no_pass_for_ks() -> None:
    found = judge(
        window(missing=1.0), helpers.policy(features={"default": {"test": "KolmogorovSmirnov"}, "maxDriftedShare": 0.2})
    )
    assert found.features.verdict == INSUFFICIENT
    assert next(c for c in found.columns if c.name == "temp").verdict == INSUFFICIENT


def test_the_whole_is_as_grave_as_its_gravest_group() -> None:
    assert judge(window(0, refused=900, lost=("temp",)), helpers.policy()).verdict == BREACHED
    assert judge(window(10), helpers.policy()).verdict == INSUFFICIENT
    assert judge(window(), helpers.policy()).verdict == PASSED
    assert unreadable("why").verdict == ERROR


def test_ordinary_days_of_the_reference_are_no_drift_but_what_none_of_them_showed_is() -> None:
    rng, rows = np.random.default_rng(2), 20_000
    data = helpers.columns(rows)
    data["temp"] = np.repeat(rng.uniform(-10, 10, rows // 500), 500) + rng.normal(size=rows)  # forty days, each with its weather
    made = build_reference(helpers.frame(data), helpers.FEATURES, {}, timestamps=np.arange(rows).astype("datetime64[m]"))
    spec = helpers.policy(features={"maxDriftedShare": 0.25})

    def day(level: float) -> str:
        traffic = helpers.columns(500, 9)
        traffic["temp"] = level + rng.normal(size=500)
        profile = Profile.empty(made)
        profile.update(traffic, {})
        return judge(profile, spec).features.verdict.value

    assert [day(9.0), day(-9.0), day(40.0)] == [PASSED, PASSED, BREACHED]


@pytest.mark.parametrize("rows", [500, 5_000, 100_000])
def test_healthy_windows_alarm_no_more_often_than_promised(rows: int) -> None:
    rng, windows, promise = np.random.default_rng(rows), 400, 0.05
    spec = helpers.policy(falseAlarmRate=promise, features={"maxDriftedShare": 0.01})  # one drifted column is a breach
    shares = [column.vector / column.vector.sum() for _, column in EMPTY.layout.columns]
    drawn = [rng.multinomial(rows, p, windows) for p in shares]
    alarms = 0
    for i in range(windows):
        made = EMPTY.fresh()
        made.vector[0] = rows
        for (group, column), counts in zip(EMPTY.layout.columns, drawn, strict=True):
            made.counts(group, column.name)[:] = counts[i]
        alarms += judge(made, spec).verdict != PASSED
    assert alarms <= promise * windows + 3 * np.sqrt(promise * windows)


def test_a_share_of_the_features_is_counted_by_their_importance() -> None:
    drifted = window(shift=1.0)  # temp alone
    heavy = judge(drifted, helpers.policy(), importance={"temp": 0.6, "distance": 0.2, "carrier": 0.2, "holiday": 0.0})
    assert (heavy.features.verdict, heavy.drifted_share) == (BREACHED, pytest.approx(0.6))
    assert heavy.message.startswith("1 of 4 features drifted (60% by importance): temp (PSI")
    assert {c.name: c.importance for c in heavy.columns if c.group == "features"}["temp"] == 0.6
    light = judge(drifted, helpers.policy(), importance={"temp": 0.1, "distance": 0.9})
    assert (light.features.verdict, light.drifted_share) == (PASSED, pytest.approx(0.1))
    assert judge(drifted, helpers.policy()).drifted_share == 0.25


def test_a_feature_that_carries_the_score_and_cannot_be_compared_is_no_pass() -> None:
    spec = helpers.policy(features={"default": {"test": "KolmogorovSmirnov"}}, schema={"maxMissingIncrease": 1})
    found = judge(window(missing=1.0), spec, importance={"temp": 1.0})
    assert found.features.verdict == INSUFFICIENT


def test_every_part_of_a_calibrated_threshold_is_told_and_of_a_given_one_none() -> None:
    spec = helpers.policy(features={"columns": [{"name": "temp", "threshold": 0.4}, {"name": "distance", "minEffect": 0.9}]})
    by_name = {c.name: c for c in judge(window(shift=0.3), spec).columns}
    assert (by_name["temp"].threshold, by_name["temp"].parts, by_name["temp"].calibrated) == (0.4, None, False)
    parts = by_name["distance"].parts
    assert parts is not None
    assert (by_name["distance"].threshold, parts.effect, parts.variation) == (0.9, 0.9, 0.0)
    assert 0 < parts.noise < 0.05
    assert by_name["temp"].p_value is not None
    assert by_name["temp"].p_value < 1e-6 < 0.01 < (by_name["distance"].p_value or 0)


def test_the_more_columns_drift_the_less_each_must_prove() -> None:
    def limit(name: str, **more: Any) -> float:
        found = judge(window(5_000, **more), helpers.policy(features={"default": {"minEffect": 0}}))
        return next(c.threshold or 0.0 for c in found.columns if c.name == name)

    assert limit("holiday", shift=1.0, shares=(0.1, 0.2, 0.3, 0.4)) < limit("holiday", shift=1.0) == limit("holiday")


def test_an_effect_that_was_meant_for_another_test_is_not_taken_for_psi() -> None:
    spec = helpers.policy(features={"default": {"test": "KolmogorovSmirnov", "minEffect": 0.5}})
    by_name = {c.name: c for c in judge(window(), spec).columns}
    assert (by_name["temp"].threshold, by_name["carrier"].threshold) == (0.5, pytest.approx(0.02, rel=0.5))


def test_planted_shifts_are_found() -> None:
    spec = helpers.policy(features={"maxDriftedShare": 0.25})
    found = [judge(helpers.profile(REFERENCE, 500, seed, shift=0.5), spec) for seed in range(40)]
    assert sum(f.features.verdict == BREACHED for f in found) >= 38
    found = [judge(helpers.profile(REFERENCE, 500, seed, shares=(0.25, 0.3, 0.2, 0.25)), spec) for seed in range(40)]
    assert sum(f.features.verdict == BREACHED for f in found) >= 38


def test_what_the_reference_never_held_is_told_even_where_it_may_only_drift() -> None:
    data = helpers.columns(2_000, 3) | {"carrier": helpers.objects(["ZZ"] * 100 + ["DL"] * 1_900)}
    data["temp"][:200] = 99.0
    window = Profile.empty(REFERENCE)
    window.update(data, helpers.predictions(2_000, 3))
    carrier = "carrier of no category that the reference names in 5.0% of rows: it may only drift, because schema.maxUnseenShare is not given"
    temp = "temp outside the range in 10.0% of rows: it may only drift, because schema.maxOutOfRangeShare is not given"
    assert judge(window, helpers.policy()).notes == [carrier, temp]
    assert judge(window, helpers.policy(schema={"maxUnseenShare": 0.2, "maxOutOfRangeShare": 0.05})).notes == []
    assert judge(helpers.profile(REFERENCE, 2_000), helpers.policy()).notes == []


def test_columns_that_are_empty_on_both_sides_are_no_pass() -> None:
    features = [helpers.FEATURES[0], Column(name="wind", kind=ColumnKind.NUMERIC)]
    empty = {name: np.full(1_000, np.nan) for name in ("temp", "wind")}
    reference = build_reference(pl.DataFrame(empty), features, {})
    window = Profile.empty(reference)
    window.update(empty, {})
    found = judge(window, helpers.policy()).features
    assert (found.verdict, found.message) == ("InsufficientData", "no feature holds any value, here or in the reference")
    window.update(empty | {"temp": np.arange(1_000.0)}, {})
    assert judge(window, helpers.policy()).features.verdict == "Breached", "values that come where none were are a drift"


def test_nothing_has_passed_against_a_reference_too_small_to_show_a_drift() -> None:
    few, some = (
        build_reference(helpers.frame(helpers.columns(n, 7)), helpers.FEATURES, helpers.predictions(n, 7)) for n in (100, 400)
    )
    found = judge(helpers.profile(few, 1_000), helpers.policy())
    assert (found.features.verdict, found.predictions.verdict) == ("InsufficientData", "InsufficientData")
    assert "1000 rows against 100 are too few to show a shift of half a standard deviation in temp, distance" in found.notes[0]
    moved = helpers.profile(few, 1_000, shift=2)
    assert judge(moved, helpers.policy()).features.verdict == "InsufficientData", "one of four, and nobody knows of the others"
    assert judge(moved, helpers.policy(features={"maxDriftedShare": 0.2})).features.verdict == "Breached", "what is plain is seen"
    assert verdicts(judge(helpers.profile(some, 1_000), helpers.policy())) == ("Passed",) * 3
    window = judge(helpers.profile(REFERENCE, 60), helpers.policy(minSamples=50))
    assert window.features.verdict == "Passed", "as small a window as the policy wants"
    assert "60 rows against 20000 are too few to show a shift of half a standard deviation in" in window.notes[0]
