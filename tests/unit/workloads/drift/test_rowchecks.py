"""What rows show: a table of faults by value, and all checks of rows put together, each without holding up the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.manifest import Column
from stationkeeper.workloads.drift.multivariate import fit_components
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.drift.rowchecks import RowFindings, judge_rows
from tests.unit.workloads.drift import helpers

REFERENCE = helpers.reference()
SAMPLE = helpers.frame(helpers.columns(5_000, 8))
PCA = fit_components(helpers.frame(helpers.columns(20_000, 7)), helpers.FEATURES)
ROWS = helpers.frame(helpers.columns(2_000, 3))
EVERY_TENTH = pl.int_range(pl.len()) % 10 == 0
STRICT = {"maxUnseenShare": 0.01, "maxOutOfRangeShare": 0.01, "maxDuplicateShare": 0.1}


def judged(
    rows: pl.DataFrame, *, sample: pl.DataFrame | None = SAMPLE, manifest: Sequence[Column] = (), **spec: Any
) -> RowFindings:
    policy = helpers.policy(**({"schema": STRICT} | spec))
    return judge_rows(rows, REFERENCE, policy, sample=sample, pca=PCA, seed=1, features=manifest)


def violations(rows: pl.DataFrame, **more: Any) -> list[tuple[str, str, str, str]]:
    return [(v.type, v.column, v.observed, v.expected) for v in judged(rows, **more).violations]


def some(name: str, value: Any) -> pl.Expr:
    """Every tenth value of a column replaced."""
    return pl.when(EVERY_TENTH).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)


CASES: list[tuple[str, pl.DataFrame, list[tuple[str, str, str, str]]]] = [
    ("healthy rows", ROWS, []),
    ("a column that is gone", ROWS.drop("temp"), [("missing_column", "temp", "absent from all rows", "in every row")]),
    ("text among numbers", ROWS.with_columns(some("temp", "n/a").cast(pl.String)), [("data_type", "temp", "text that is no number in 200 of 2000 rows", "numbers")]),
    ("numbers as text", ROWS.with_columns(pl.col("temp").cast(pl.String)), []),
    ("one careless text in a thousand", ROWS.with_columns(pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("?")).otherwise(pl.col("temp").cast(pl.String)).alias("temp")), []),
    ("dates where numbers were", ROWS.with_columns(temp=pl.date(2013, 1, 1)), [("data_type", "temp", "wants numbers, and the data has Date", "numeric")]),
    ("numbers where categories were", ROWS.with_columns(carrier=pl.lit(4.0)), [("data_type", "carrier", "wants text, and the data has Float64", "categorical")]),
    ("words where booleans were", ROWS.with_columns(holiday=pl.lit("perhaps")), [("data_type", "holiday", "wants true or false, not str 'perhaps'", "categorical")]),
    ("true booleans", ROWS.with_columns(pl.col("holiday") == "true"), []),
    ("fractions of what was whole", ROWS.with_columns(some("distance", 3.5)), [("data_type", "distance", "fractions in 200 of 2000 rows, for example 3.5", "whole numbers")]),
    ("fractions that were cut off", ROWS.with_columns(pl.col("temp").floor()), [("data_type", "temp", "whole numbers in every row", "fractions, as in 100% of the reference's numbers")]),
    ("a rounded half", ROWS.with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col("temp").floor()).otherwise("temp")), []),
    ("tenths as whole numbers", ROWS.with_columns(temp=(pl.col("temp") * 1_000).floor()), [("out_of_range", "temp", "outside the range in 98.0% of rows", "-8.30541 to 30.308 in all but 1.0%"), ("unit_change", "temp", "looks 1000 times the reference: metres for kilometres?", "around 9.957")]),
    ("metres for kilometres", ROWS.with_columns(pl.col("distance") * 1000), [("out_of_range", "distance", "outside the range in 100.0% of rows", "4 to 4468 in all but 1.0%"), ("unit_change", "distance", "looks 1000 times the reference: metres for kilometres?", "around 675")]),
    ("a stuck sensor", ROWS.with_columns(temp=13.2), [("constant_column", "temp", "13.2 in every row", "varying numbers"), ("duplicate_rows", "*", "14.5% of rows repeat another", "at most 10.0%")]),
    ("one category", ROWS.with_columns(carrier=pl.lit("DL")), [("constant_column", "carrier", "'DL' in every row", "varying categories")]),
    ("new categories by name", ROWS.with_columns(some("carrier", "ZZ")), [("unseen_category", "carrier", "of no category that the reference names in 10.0% of rows, for example 'ZZ'", "at most 1.0% beside its 4 categories")]),
    ("rows that came twice", pl.concat([ROWS.head(1_000)] * 2), [("duplicate_rows", "*", "50.0% of rows repeat another", "at most 10.0%")]),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_broken_is_named_with_what_was_seen_and_expected(
    rows: pl.DataFrame, expected: list[tuple[str, str, str, str]]
) -> None:
    assert violations(rows) == expected


def test_categories_of_whole_numbers_that_came_as_floats() -> None:
    codes = helpers.columns(5_000, 1) | {"carrier": helpers.objects([str(i % 4) for i in range(5_000)])}
    reference = build_reference(helpers.frame(codes), helpers.FEATURES, {})
    rows = ROWS.with_columns((pl.int_range(pl.len()) % 4).cast(pl.Float64).cast(pl.String).alias("carrier"))
    found = judge_rows(rows, reference, helpers.policy(), sample=None, pca=None, seed=0).violations
    assert [(v.type, v.column, v.observed) for v in found] == [
        ("data_type", "carrier", "'0.0' for '0', and such like, in 2000 of 2000 rows")
    ]


def test_every_check_can_be_left_out() -> None:
    rows = ROWS.drop("temp").with_columns(pl.col("distance") * 1000.5, carrier=pl.lit("DL"), holiday=pl.lit("perhaps"))
    off = dict.fromkeys(("missingColumns", "typeMismatch", "unitChange", "constantColumns"), "Ignore")
    assert {kind for kind, *_ in violations(rows)} == {
        "missing_column", "data_type", "out_of_range", "unit_change", "constant_column",
    }  # fmt: skip
    assert violations(rows, schema=off) == []


def test_whole_numbers_are_known_from_the_manifest_or_from_the_sample() -> None:
    rows = ROWS.with_columns(some("distance", 3.5))
    assert [kind for kind, *_ in violations(rows, sample=None)] == []
    assert [kind for kind, *_ in violations(rows, sample=None, manifest=helpers.FEATURES)] == ["data_type"]


def test_healthy_rows_break_nothing() -> None:
    strict = {"schema": {"maxUnseenShare": 0, "maxOutOfRangeShare": 0}}
    found = [violations(helpers.frame(helpers.columns(600, seed)), **strict) for seed in range(60)]
    assert sum(map(bool, found)) <= 2


# ---- together ----

ALL: dict[str, Any] = {
    "features": {"multivariate": {"tests": ["DomainClassifier", "PCAReconstruction"]}},
    "segments": [{"column": "carrier", "maxValues": 2}],
}


def test_all_checks_of_rows_speak_together() -> None:
    found = judged(ROWS, **ALL)
    assert [(m.test, m.verdict.value) for m in found.multivariate] == [
        ("DomainClassifier", "Passed"),
        ("PCAReconstruction", "Passed"),
    ]
    assert [(s.value, s.verdict.value) for s in found.segments] == [("AA", "Passed"), ("B6", "Passed"), ("(all other)", "Passed")]
    assert (found.violations, found.notes) == ([], [])


def test_a_policy_that_asks_for_nothing_more_gets_data_quality_only() -> None:
    found = judged(ROWS)
    assert (found.violations, found.multivariate, found.segments, found.notes) == ([], [], [], [])


def test_a_column_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    changed = ROWS.with_columns(temp=pl.date(2013, 1, 1), distance=pl.col("distance") + 1_500)
    found = judged(changed, **ALL)
    assert found.notes == ["column 'temp': wants numbers, and the data has Date; it was not compared"]
    assert [m.verdict.value for m in found.multivariate] == ["Breached", "InsufficientData"]
    assert found.multivariate[0].columns == ["distance"]
    assert {s.verdict.value for s in found.segments} == {"Breached"}
    assert [v.type for v in found.violations] == ["data_type"]


def test_too_few_rows_are_no_pass() -> None:
    found = judged(ROWS.head(499), **ALL)
    said = "499 captured rows are fewer than the 500 of minSamples"
    assert {(m.verdict.value, m.message) for m in found.multivariate} == {("InsufficientData", said)}
    assert [(s.verdict.value, s.message) for s in found.segments] == [("InsufficientData", said)]
    assert found.notes == [said]


def test_without_rows_of_the_reference_what_needs_them_is_withheld() -> None:
    found = judged(ROWS, sample=None, **ALL)
    assert [m.verdict.value for m in found.multivariate] == ["InsufficientData", "Passed"]
    assert [s.message for s in found.segments] == ["no rows of the reference are kept to compare with"]


def test_an_ignored_column_is_left_out_of_what_looks_at_all_columns() -> None:
    features = {"multivariate": {}, "columns": [{"name": "distance", "ignore": True}]}
    found = judged(ROWS.with_columns(pl.col("distance") + 1_500), features=features)
    assert found.multivariate[0].verdict == "Passed"


def test_no_rows_at_all() -> None:
    found = judged(ROWS.head(0), **ALL)
    assert {m.verdict.value for m in found.multivariate} == {"InsufficientData"}
    assert found.violations == []


def test_rows_of_constant_or_missing_columns_are_judged() -> None:
    empty = ROWS.with_columns(temp=pl.lit(None, dtype=pl.Float64), carrier=pl.lit(None, dtype=pl.String))
    found = judged(empty, **ALL)
    assert found.multivariate[0].verdict == "Breached"
    assert [s.value for s in found.segments] == ["(missing)"]


def test_infinities_in_rows_are_judged() -> None:
    data = helpers.columns(2_000, 3)
    data["temp"][:300] = np.inf
    found = judged(helpers.frame(data), **ALL)
    assert [(v.type, v.column, v.observed) for v in found.violations] == [
        ("data_type", "temp", "infinite in 300 of 2000 rows"),
        ("out_of_range", "temp", "outside the range in 15.0% of rows"),
    ]
    assert [v.type for v in judged(helpers.frame(data), schema={}).violations] == ["data_type"], (
        "whatever the policy says of ranges"
    )
