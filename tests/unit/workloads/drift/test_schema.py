"""Broken data as profiles show it: a table of faults and what is said of them, and no cry over healthy and seasonal windows."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import fisher_exact

from stationkeeper.api.report import Violation
from stationkeeper.workloads.drift import schema
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from tests.unit.workloads.drift import helpers

REFERENCE = helpers.reference()
ALPHA = 0.01 / 12
STRICT = {"maxUnseenShare": 0.01, "maxOutOfRangeShare": 0.01, "extraColumns": "Breach"}


def window(rows: int = 1_000, seed: int = 1, of: ReferenceProfile = REFERENCE, **changed: Any) -> Profile:
    """Traffic in which columns were replaced: by an array, or by a function of the healthy values."""
    data = helpers.columns(rows, seed)
    for name, change in changed.items():
        data[name] = change(data[name]) if callable(change) else change
    made = Profile.empty(of)
    made.update(data, helpers.predictions(rows, seed))
    return made


def found(profile: Profile, **checks: Any) -> list[tuple[str, str, str, str]]:
    spec = helpers.policy(schema={**STRICT, **checks}).schema_
    return [(v.type, v.column, v.observed, v.expected) for v in schema.violations(profile, spec, ALPHA)]


def some(value: Any, every: int = 10) -> Any:
    """Every so many values replaced."""

    def change(values: Any) -> Any:
        changed = values.copy()
        changed[::every] = value
        return changed

    return change


CASES: list[tuple[str, Profile, list[tuple[str, str, str, str]]]] = [
    ("a healthy window", window(), []),
    ("missing values", window(temp=some(np.nan, 2)), [("completeness", "temp", "missing in 51.2% of rows", "at most 7.0%, which is the reference's 2.0% and 5.0%")]),
    ("categories that nobody knew", window(carrier=some("ZZ")), [("unseen_category", "carrier", "of no category that the reference names in 10.0% of rows", "at most 1.0% beside its 4 categories")]),
    ("numbers beyond the range", window(temp=some(99.0)), [("out_of_range", "temp", "outside the range in 10.0% of rows", "-8.30541 to 30.308 in all but 1.0%")]),
    ("numbers below the range", window(distance=some(-5.0)), [("out_of_range", "distance", "outside the range in 10.1% of rows", "4 to 4468 in all but 1.0%")]),
    ("tens of what came before", window(distance=lambda v: v * 10), [("out_of_range", "distance", "outside the range in 69.0% of rows", "4 to 4468 in all but 1.0%"), ("unit_change", "distance", "looks 10 times the reference: another unit?", "around 675")]),
    ("one category only", window(carrier=helpers.objects(["DL"] * 1_000)), [("constant_column", "carrier", "'DL' in every row", "varying categories")]),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_broken_is_named_with_what_was_seen_and_expected(
    profile: Profile, expected: list[tuple[str, str, str, str]]
) -> None:
    assert found(profile) == expected


def test_each_check_can_be_left_out() -> None:
    broken = window(temp=some(99.0), distance=lambda v: v * 10, carrier=helpers.objects(["DL"] * 1_000))
    assert {kind for kind, *_ in found(broken)} == {"out_of_range", "unit_change", "constant_column"}
    assert found(broken, maxOutOfRangeShare=None, unitChange="Ignore", constantColumns="Ignore") == []


def test_seasons_are_not_called_broken_unless_the_policy_asks() -> None:
    spec = helpers.policy().schema_
    summer = window(temp=lambda v: v + 40, carrier=some("ZZ", 3))
    assert schema.violations(summer, spec, ALPHA) == []


def test_refused_rows_and_unknown_columns() -> None:
    made = window()
    made.refused(["temp"], ["distance"], rows=400)
    made.extra(["wind"], 600)
    assert found(made) == [
        ("missing_column", "temp", "absent from 400 of 1400 rows", "in every row"),
        ("data_type", "distance", "of another type in 400 of 1400 rows", "numeric"),
        ("extra_column", "wind", "in 600 of 1400 rows", "not a feature of the model"),
    ]
    lenient = {"missingColumns": "Ignore", "typeMismatch": "Ignore", "extraColumns": "Ignore"}
    assert found(made, **lenient) == []


def test_what_refused_rows_alone_show_needs_no_answered_row() -> None:
    made = Profile.empty(REFERENCE)
    made.refused(["temp"], rows=400)
    assert [kind for kind, *_ in found(made)] == ["missing_column"]


@pytest.mark.parametrize("rows", [200, 1_000, 5_000])
def test_healthy_windows_break_nothing(rows: int) -> None:
    strict = {"maxUnseenShare": 0, "maxOutOfRangeShare": 0, "maxMissingIncrease": 0}
    alarms = sum(bool(found(window(rows, seed), **strict)) for seed in range(100))
    assert alarms <= 3  # each of twelve checks at a twelfth of one percent


def test_the_chance_of_a_share_is_that_of_fishers_exact_test() -> None:
    for now, before in (((1, 1_000), (0, 20_000)), ((60, 1_000), (1_000, 20_000)), ((9, 200), (3, 400)), ((50, 50), (1, 80))):
        table = [[now[0], now[1] - now[0]], [before[0], before[1] - before[0]]]
        exact = fisher_exact(table, alternative="greater").pvalue
        assert schema.Share(now, before).chance() == pytest.approx(exact, rel=1e-6)


# ---- constants ----


def test_a_stuck_number_shows_in_counts_where_its_bin_holds_one_value_only() -> None:
    rounded = helpers.columns(20_000, 7)
    rounded["temp"] = np.round(rounded["temp"])
    made = build_reference(helpers.frame(rounded), helpers.FEATURES, helpers.predictions(20_000))
    assert found(window(of=made, temp=np.full(1_000, 12.0))) == [
        ("constant_column", "temp", "about 12 in every row", "varying numbers")
    ]
    assert found(window(of=made, temp=np.full(200, 12.0), rows=200)) == [
        ("constant_column", "temp", "about 12 in every row", "varying numbers")
    ]


def test_a_value_that_nearly_all_rows_have_anyway_is_no_fault() -> None:
    assert found(window(holiday=helpers.objects(["false"] * 1_000))) == []
    assert found(window(holiday=helpers.objects(["true"] * 1_000))) == []


def test_a_column_that_ordinary_stretches_hold_still_is_no_fault() -> None:
    rows = 24_000
    data = helpers.columns(rows)
    data["temp"] = np.repeat(np.arange(12.0), rows // 12)  # the month
    times = np.arange(rows).astype("datetime64[m]")
    month = build_reference(helpers.frame(data), helpers.FEATURES, helpers.predictions(rows), timestamps=times)
    unknown = build_reference(helpers.frame(data), helpers.FEATURES, helpers.predictions(rows))
    still = np.full(1_000, 3.0)
    assert found(window(of=month, temp=still)) == []
    assert [kind for kind, *_ in found(window(of=unknown, temp=still))] == ["constant_column"]


# ---- units ----


def heavy(scale: float = 1.0, rows: int = 5_000, seed: int = 3) -> Any:
    return scale * np.random.default_rng(seed).lognormal(0, 2, rows)


def wide() -> ReferenceProfile:
    data = helpers.columns(20_000, 7) | {"temp": heavy(rows=20_000, seed=9)}
    return build_reference(helpers.frame(data), helpers.FEATURES, helpers.predictions(20_000))


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (1.0, None),
        (2.0, None),
        (10.0, "looks 10 times the reference: another unit?"),
        (100.0, "looks 100 times the reference: cents for euros?"),
        (1_000.0, "looks 1000 times the reference: metres for kilometres?"),
        (0.1, "looks a 10th of the reference: another unit?"),
        (0.01, "looks a 100th of the reference: euros for cents?"),
    ],
)
def test_a_scaled_column_is_named_by_its_power_of_ten(scale: float, said: str | None) -> None:
    violations = found(window(5_000, of=wide(), temp=heavy(scale)), maxOutOfRangeShare=None)
    assert [observed for kind, _, observed, _ in violations if kind == "unit_change"] == ([said] if said else [])


@pytest.mark.parametrize(
    "traffic",
    [np.zeros(1_000), np.full(1_000, 1e9), np.full(1_000, np.nan), np.full(1_000, np.inf), -heavy(rows=1_000)],
    ids=["zeros", "a far constant", "missing", "infinite", "the other sign"],
)
def test_counts_that_only_say_that_all_is_elsewhere_name_no_unit(traffic: Any) -> None:
    kinds = {kind for kind, *_ in found(window(of=wide(), temp=traffic))}
    assert "unit_change" not in kinds


def test_a_year_that_ended_is_no_unit() -> None:
    data = helpers.columns(20_000, 7) | {"temp": np.random.default_rng(1).integers(2_010, 2_014, 20_000).astype(float)}
    made = build_reference(helpers.frame(data), helpers.FEATURES, helpers.predictions(20_000))
    kinds = {kind for kind, *_ in found(window(of=made, temp=np.full(1_000, 2_014.0)), maxOutOfRangeShare=None)}
    assert kinds == set()


# ---- counts and rows together ----


def test_what_rows_know_more_of_stands_for_what_counts_said() -> None:
    def said(kind: Any, column: str, observed: str) -> Violation:
        return Violation(type=kind, column=column, observed=observed, expected="")

    counted = [said("completeness", "temp", "counts"), said("out_of_range", "distance", "counts")]
    rows = [said("out_of_range", "distance", "rows"), said("duplicate_rows", "*", "rows")]
    assert [(v.column, v.observed) for v in schema.united(counted, rows)] == [
        ("temp", "counts"),
        ("distance", "rows"),
        ("*", "rows"),
    ]


def test_one_sentence_names_the_cause_before_what_follows_from_it() -> None:
    rows = [Violation(type="data_type", column="qty", observed="text", expected="numbers")]
    rows += [Violation(type="duplicate_rows", column="*", observed="50.0% of rows repeat another", expected="at most 5.0%")]
    counted = [Violation(type="completeness", column="qty", observed="missing", expected="there")]
    told = schema.broken(schema.united(counted, rows))
    assert told == "broken data: qty text (data_type), qty missing (completeness), 50.0% of rows repeat another (duplicate_rows)"
    many = [Violation(type="constant_column", column=f"x{i}", observed="1", expected="more") for i in range(7)]
    assert schema.broken(many).endswith("x4 1 (constant_column) and 2 more")
