"""One suite over every test, from raw columns through reference and profile: what each owes whatever the data are."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.driftpolicy import Test
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.drift.chance import noise, p_value
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.drift.statistics import MEASURES, Counts, Floats, Kind, Statistic, compare, compare_blocks, fitting
from stationkeeper.workloads.drift.verdict import judge
from tests.unit.workloads.drift import helpers

ROWS = 3_000
RNG = np.random.default_rng(1)
CARRIERS = ["AA", "B6", "DL", "UA"]


def text(values: Any) -> pl.Series:
    return pl.Series([None if v is None else str(v) for v in values], dtype=pl.String)


def where(share: float, these: Any, those: Any) -> Any:
    return np.where(RNG.random(ROWS) < share, these, those)


# Whatever a column may be. A time comes to a model as a number: here, seconds since the epoch.
COLUMNS: dict[str, pl.Series] = {
    "float": pl.Series(RNG.normal(size=ROWS)),
    "float32": pl.Series(RNG.gamma(2, size=ROWS).astype(np.float32)),
    "integer": pl.Series(RNG.poisson(4, ROWS)),
    "small integer": pl.Series(RNG.integers(0, 255, ROWS).astype(np.uint8)),
    "datetime": pl.Series(
        RNG.integers(1_356_998_400, 1_388_534_400, ROWS).astype("datetime64[s]").astype("datetime64[ms]")
    ).dt.epoch("s"),
    "boolean": pl.Series(RNG.random(ROWS) < 0.2),
    "string": text(RNG.choice(CARRIERS, ROWS, p=(0.4, 0.3, 0.2, 0.1))),
    "category": text(RNG.choice(CARRIERS, ROWS)).cast(pl.Categorical),
    "numbers with NaN": pl.Series(where(0.3, np.nan, RNG.normal(size=ROWS))),
    "numbers with null": pl.Series([1.0, None, 2.0] * (ROWS // 3)),
    "text with null": text(["x", None, "y"] * (ROWS // 3)),
    "all null": pl.Series([None] * ROWS, dtype=pl.Null),
    "all null text": text([None] * ROWS),
    "constant": pl.Series([3.0] * ROWS),
    "constant text": text(["x"] * ROWS),
    "ties": pl.Series(RNG.integers(0, 3, ROWS).astype(float)),
    "mostly zero": pl.Series(where(0.9, 0.0, RNG.random(ROWS))),
    "all infinite": pl.Series(where(0.5, np.inf, -np.inf)),
    "some infinite": pl.Series(where(0.1, np.inf, RNG.normal(size=ROWS))),
    "extreme": pl.Series(RNG.normal(size=ROWS) * 1e307),
    "heavy tail": pl.Series(RNG.standard_cauchy(ROWS)),
    "a number for every row": pl.Series(np.arange(ROWS, dtype=float)),
    "a word for every row": text(range(ROWS)),
    "decimal": pl.Series(RNG.integers(0, 900, ROWS)).cast(pl.Decimal(12, 2)),
    "beyond float's whole numbers": pl.Series(RNG.integers(2**60, 2**62, ROWS)),
    "next to nothing": pl.Series(RNG.normal(size=ROWS) * 5e-320),
    "zeros of both signs": pl.Series(where(0.5, 0.0, -0.0)),
    "two far clusters": pl.Series(where(0.5, RNG.normal(size=ROWS), 1e12 + RNG.normal(size=ROWS))),
    "enum": text(RNG.choice(CARRIERS, ROWS)).cast(pl.Enum(CARRIERS)),
    "long words": text(["x" * 500 if i % 2 else "y" * 129 for i in range(ROWS)]),
    "empty words": text(["", " ", "\x00", "ä", "𝄞"] * (ROWS // 5)),
    "one row": pl.Series([1.5]),
    "one word": text(["x"]),
}


def feature(series: pl.Series) -> Column:
    if series.dtype.is_numeric() or series.dtype == pl.Null:
        return Column(name="x", kind=ColumnKind.NUMERIC)
    return Column(name="x", kind=ColumnKind.BOOLEAN if series.dtype == pl.Boolean else ColumnKind.CATEGORICAL)


def empty(series: pl.Series) -> Profile:
    """The profile of no rows against the reference that a column gives."""
    return Profile.empty(build_reference(series.alias("x").to_frame(), [feature(series)], {}))


@cache
def against(name: str) -> Profile:
    """`empty` of a column of the table."""
    return empty(COLUMNS[name])


def count(none: Profile, series: pl.Series, chunk: int = 10**9) -> Profile:
    """The profile of a column that came in chunks, merged."""
    (column,) = none.layout.reference.features
    kind = ColumnKind.NUMERIC if column.kind == "numeric" else ColumnKind.CATEGORICAL
    kind = ColumnKind.BOOLEAN if series.dtype == pl.Boolean else kind
    found = none.fresh()
    for start in range(0, len(series), chunk):
        part = none.fresh()
        part.update(from_frame(series[start : start + chunk].alias("x").to_frame(), [Column(name="x", kind=kind)]), {})
        found = found.merge(part)
    return found


def measured(test: Test, profile: Profile) -> Statistic:
    (column,) = profile.layout.reference.features
    return compare(fitting(test, column.kind), column, profile.counts("features", "x"))


TABLE = [(test, name) for test in MEASURES for name in COLUMNS]
over_all = pytest.mark.parametrize(("test", "name"), TABLE, ids=[f"{test}, {name}" for test, name in TABLE])


@over_all
def test_equal_samples_differ_by_nothing_in_whatever_order_and_chunks_they_come(test: Test, name: str) -> None:
    column, none = COLUMNS[name], against(name)
    for profile in (count(none, column), count(none, column.shuffle(seed=2)), count(none, column.reverse(), 701)):
        value = measured(test, profile).value
        # A distribution function of no value, and a distance to nowhere, are no evidence that nothing changed.
        silent = (name == "all null" and MEASURES[test].ordered) or (name == "all infinite" and test == "Wasserstein")
        assert math.isnan(value) if silent else value == pytest.approx(0.0, abs=1e-9)


@over_all
def test_other_data_gives_a_finite_distance_and_a_p_value(test: Test, name: str) -> None:
    column, none = COLUMNS[name], against(name)
    other = pl.Series([50.0 + i % 7 for i in range(300)]) if feature(column).kind is ColumnKind.NUMERIC else text(["other"] * 300)
    found = measured(test, count(none, other if column.dtype != pl.Boolean else pl.Series([True] * 300)))
    if math.isnan(found.value):
        assert name in ("all null", "all infinite")
        return
    assert 0 <= found.value < 1e6
    assert found.measure.short == "PSI" or found.name in ("Wasserstein", "ChiSquare") or found.value <= 1
    assert 0 <= p_value(found) <= 1


@over_all
def test_no_rows_are_no_evidence_and_one_row_does_no_harm(test: Test, name: str) -> None:
    column, none = COLUMNS[name], against(name)
    assert math.isnan(measured(test, count(none, column[:0])).value)
    one = measured(test, count(none, column[:1])).value
    assert math.isnan(one) or 0 <= one < 1e6


@pytest.mark.parametrize(("test", "name"), [(test, name) for test, name in TABLE if not name.startswith(("one ", "all "))])
def test_chance_is_a_falling_function_of_the_rate_and_the_p_value_its_inverse(test: Test, name: str) -> None:
    found = measured(test, count(against(name), COLUMNS[name]))
    levels = [noise(found, alpha) for alpha in (0.2, 0.05, 1e-2, 1e-4, 1e-8)]
    assert levels == sorted(levels)
    assert all(math.isfinite(level) and level >= 0 for level in levels)
    for alpha, level in zip((1e-2, 1e-4, 1e-8), levels[2:], strict=True):
        again = Statistic(found.name, level, found.reference_size, found.current_size, found.shares, found.points)
        assert level == 0 or p_value(again) == pytest.approx(alpha, rel=0.01)


def shifted(size: float) -> pl.Series:
    return pl.Series(np.random.default_rng(3).normal(size, 1, 4_000))


def spread(size: float) -> pl.Series:
    return pl.Series(np.random.default_rng(3).normal(0, 1, 4_000) * (1 + size))


def commoner(size: float) -> pl.Series:
    rng = np.random.default_rng(3)
    return text(np.where(rng.random(4_000) < size / 4, "AA", rng.choice(CARRIERS, 4_000)))


def unknown(size: float) -> pl.Series:
    rng = np.random.default_rng(3)
    return text(np.where(rng.random(4_000) < size / 5, "ZZ", rng.choice(CARRIERS, 4_000)))


def fewer(size: float) -> pl.Series:
    rng = np.random.default_rng(3)
    return pl.Series(np.where(rng.random(4_000) < size / 5, np.nan, rng.normal(0, 1, 4_000)))


# Distribution functions leave out what is missing: completeness is a test of its own.
EFFECTS = [(effect, test) for effect in (shifted, spread) for test in MEASURES if "numeric" in MEASURES[test].kinds]
EFFECTS += [(fewer, test) for test in MEASURES if "numeric" in MEASURES[test].kinds and not MEASURES[test].ordered]
EFFECTS += [(effect, test) for effect in (commoner, unknown) for test in MEASURES if "categorical" in MEASURES[test].kinds]


@pytest.mark.parametrize(("effect", "test"), EFFECTS, ids=[f"{effect.__name__}, {test}" for effect, test in EFFECTS])
def test_it_rises_with_a_planted_effect(effect: Callable[[float], pl.Series], test: Test) -> None:
    none = empty(effect(0.0))
    values = [measured(test, count(none, effect(size))).value for size in (0, 0.1, 0.25, 0.5, 1, 2, 4)]
    assert values == sorted(set(values))


@pytest.mark.parametrize("test", [test for test in MEASURES if "numeric" in MEASURES[test].kinds])
@pytest.mark.parametrize("scale", [2.0**-40, -1.0, 3.0, 2.0**40])
def test_the_unit_of_numbers_is_of_no_matter(test: Test, scale: float) -> None:
    before, now = shifted(0.0), shifted(0.4)
    plain, other = (measured(test, count(empty(before * by), now * by)).value for by in (1.0, scale))
    assert other == pytest.approx(plain, rel=1e-9 if scale > 0 and math.log2(scale).is_integer() else 0.05)


@pytest.mark.parametrize("test", [test for test in MEASURES if "categorical" in MEASURES[test].kinds])
def test_the_names_of_categories_are_of_no_matter(test: Test) -> None:
    names = dict(zip(CARRIERS, ["z", "y", "x", "w"], strict=True))
    before, now = commoner(0.0), commoner(1.0)
    plain = measured(test, count(empty(before), now)).value
    assert measured(test, count(empty(before.replace(names)), now.replace(names))).value == pytest.approx(plain)


@dataclass(frozen=True)
class Few:
    """A column of so few and full bins that all of them are compared."""

    kind: Kind
    vector: Counts
    points: Floats


@pytest.mark.parametrize("test", MEASURES)
@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_it_is_symmetric_in_samples_of_one_size(test: Test, kind: Kind) -> None:
    if kind not in MEASURES[test].kinds:
        assert fitting(test, kind) == "PSI"
        return
    a, b = (np.array([0, *inner, 0, 0]) * 50 for inner in ([10, 20, 40, 30], [20, 10, 30, 40]))  # the same quartiles
    where = np.arange(6.0) if kind == "numeric" else np.empty(0)
    there, back = compare(test, Few(kind, a, where), b), compare(test, Few(kind, b, where), a)
    unit = 1.0
    if test == "Wasserstein":  # counted in deviations of the one that is the reference
        unit = (there.points[1] - there.points[0]) / (back.points[1] - back.points[0])
    assert there.value == pytest.approx(back.value * unit)
    assert there.value > 0


@pytest.mark.parametrize("test", MEASURES)
def test_blocks_are_measured_as_one_by_one(test: Test) -> None:
    name = "float" if "numeric" in MEASURES[test].kinds else "string"
    parts = [count(against(name), COLUMNS[name][i : i + 300]) for i in range(0, ROWS, 300)]
    (column,) = against(name).layout.reference.features
    blocks = np.stack([part.counts("features", "x") for part in parts])
    together = compare_blocks(column, blocks, np.broadcast_to(column.vector, blocks.shape))[test]
    assert together.tolist() == pytest.approx([measured(test, part).value for part in parts])


@pytest.mark.parametrize("test", MEASURES)
def test_a_window_of_all_these_columns_is_judged_whole(test: Test) -> None:
    whole = {name: series for name, series in COLUMNS.items() if len(series) == ROWS}
    features = [Column(name=name, kind=feature(series).kind) for name, series in whole.items()]
    frame = pl.DataFrame([series.alias(name) for name, series in whole.items()])
    profile = Profile.empty(build_reference(frame, features, {}))
    profile.update(from_frame(frame.sample(2_000, seed=5), features), {})
    found = judge(profile, helpers.policy(features={"default": {"test": test}}))
    assert [result.name for result in found.columns] == list(whole)
    assert {r.name: r.verdict.value for r in found.columns if r.verdict != "Passed"} == {
        name: "InsufficientData"
        for name in ("all null", "all infinite")
        if (MEASURES[test].ordered and name == "all null") or (test == "Wasserstein" and name == "all infinite")
    }
    assert len(found.histograms) == len(whole)
