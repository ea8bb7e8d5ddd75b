"""References: bins of equal mass on the grid, whatever the column looks like; no rare value is named."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.signal import lfilter

from stationkeeper.api.base import canonical_json
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.columns import ColumnError
from stationkeeper.workloads.drift.bins import MAX_CATEGORIES, RARE
from stationkeeper.workloads.drift.calibration import calibrate, limit, ordinary
from stationkeeper.workloads.drift.reference import (
    CategoricalReference,
    NumericReference,
    ReferenceProfile,
    build_reference,
    newest,
)
from stationkeeper.workloads.drift.statistics import compare
from stationkeeper.workloads.drift.variation import observed
from tests.unit.workloads.drift import helpers

RNG = np.random.default_rng(5)


def numeric(values: Any) -> NumericReference:
    made = build_reference(pl.DataFrame({"x": np.asarray(values, dtype=float)}), [Column(name="x", kind=ColumnKind.NUMERIC)], {})
    column = made.features[0]
    assert isinstance(column, NumericReference)
    return column


def categorical(values: list[str | None]) -> CategoricalReference:
    made = build_reference(
        pl.DataFrame({"x": pl.Series(values, dtype=pl.String)}), [Column(name="x", kind=ColumnKind.CATEGORICAL)], {}
    )
    column = made.features[0]
    assert isinstance(column, CategoricalReference)
    return column


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=20_000),
        RNG.lognormal(0, 3, 20_000),
        1e9 + RNG.normal(size=20_000),
        RNG.random(20_000) * 1e-12,
        np.concatenate((RNG.normal(0, 1, 12_000), RNG.normal(1e6, 1, 8_000))),
        RNG.integers(0, 10**9, 20_000),
    ],
    ids=["normal", "heavy tail", "far from zero", "tiny", "two far clusters", "large integers"],
)
def test_bins_hold_about_equal_mass(values: Any) -> None:
    column = numeric(values)
    worst = max(column.counts) / 20_000
    # The second of two far clusters shares its bins' grid with the gap: it is known to be coarser.
    assert worst < (0.61 if values.max() - values.min() > 1e5 and values.std() > 1e5 and values.mean() < 5e5 else 3 / 64)
    assert sum(column.counts) == 20_000


def test_a_value_of_much_mass_has_a_bin_of_its_own() -> None:
    column = numeric(np.concatenate((np.zeros(9_400), RNG.random(600) + 0.1)))
    assert 9_400 in column.counts


@pytest.mark.parametrize(
    ("values", "missing", "counted"),
    [
        ([3.0] * 50, 0, 50),
        ([np.nan] * 50, 50, 0),
        ([1.0], 0, 1),
        ([np.inf, -np.inf, 1.0, np.nan], 1, 3),
        ([1e308, -1e308, 0.0, 5e-324], 0, 4),
    ],
    ids=["constant", "all missing", "single row", "infinities", "extremes"],
)
def test_odd_columns(values: list[float], missing: int, counted: int) -> None:
    column = numeric(values)
    assert (column.missing, sum(column.counts)) == (missing, counted)
    assert np.bincount(column.index(np.array(values)), minlength=column.bins).tolist() == column.vector.tolist()


def test_values_beyond_the_reference_fall_out_of_range_on_their_side() -> None:
    column = numeric(RNG.random(1_000))
    assert column.index(np.array([-5.0, 5.0, np.nan, -np.inf, np.inf])).tolist() == [
        0,
        column.bins - 2,
        column.bins - 1,
        0,
        column.bins - 2,
    ]


def test_the_dictionary_is_bounded_and_names_nothing_rare() -> None:
    many = [f"v{i}" for i in range(1_000) for _ in range(RARE + i)]
    column = categorical([*many, *["person"] * (RARE - 1), None, "x" * 1_000])
    assert len(column.categories) == MAX_CATEGORIES
    assert "v999" in column.categories
    assert "person" not in column.categories
    assert int(column.vector.sum()) == len(many) + RARE + 1
    assert column.missing == 1


def test_every_class_of_the_predictions_is_named_however_rare() -> None:
    labels = np.array(["fine"] * 99 + ["late"])
    made = build_reference(helpers.frame(helpers.columns(100)), helpers.FEATURES, {"label": labels, "prediction": np.arange(100)})
    by_name = {column.name: column for column in made.predictions}
    assert isinstance(by_name["label"], CategoricalReference)
    assert by_name["label"].categories == ["fine", "late"]
    assert by_name["prediction"].kind == "numeric"


def test_polars_booleans_become_words() -> None:
    made = build_reference(pl.DataFrame({"b": [True, False, None, True]}), [Column(name="b", kind=ColumnKind.BOOLEAN)], {})
    column = made.features[0]
    assert isinstance(column, CategoricalReference)
    assert dict(zip(column.categories, column.counts, strict=True)) == {"true": 2, "false": 1}
    assert column.missing == 1


def test_what_cannot_be_profiled_is_refused_by_name() -> None:
    good = helpers.frame(helpers.columns(50))
    with pytest.raises(ValueError, match="at least one row"):
        build_reference(good[:0], helpers.FEATURES, {})
    with pytest.raises(ColumnError, match="temp"):
        build_reference(good.drop("temp"), helpers.FEATURES, {})
    with pytest.raises(ValueError, match="timestamps"):
        build_reference(good, helpers.FEATURES, {}, timestamps=np.arange(3).astype("datetime64[s]"))


def test_variation_is_measured_in_blocks_of_time_whatever_the_order_of_rows() -> None:
    data = helpers.columns(20_000)
    data["temp"] = 10 * np.sin(np.arange(20_000) / 200) + RNG.normal(size=20_000)  # nights and days
    times = np.arange(20_000).astype("datetime64[m]")
    shuffled = RNG.permutation(20_000)
    made = build_reference(helpers.frame(data)[shuffled], helpers.FEATURES, {}, timestamps=times[shuffled])
    assert [v.size for v in made.variation] == [125, 250, 500, 1_000, 2_000, 4_000]
    assert made.variation == build_reference(helpers.frame(data), helpers.FEATURES, {}, timestamps=times).variation
    block = made.variation[2].features
    assert block["temp"].spreads["PSI"].scale > 0.5
    assert set(block["temp"].spreads) == {
        "PSI",
        "KolmogorovSmirnov",
        "Wasserstein",
        "JensenShannon",
        "Hellinger",
        "TotalVariation",
    }
    # What is drawn independently shows next to nothing beyond sampling noise.
    assert all(spread.bound(1e-3) < 0.05 for spread in block["distance"].spreads.values())
    assert not {"KolmogorovSmirnov", "Wasserstein"} & set(block["carrier"].spreads)


def weather(stay: int, rows: int = 16_000, seed: int = 6) -> Any:
    """Values around a level that stays for so many times 250 rows."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(size=-(-rows // (250 * stay))), 250 * stay)[:rows] + rng.normal(size=rows)


def test_weather_that_stays_makes_the_blocks_of_the_reference_tell_less() -> None:
    def blocks(stay: int) -> float:
        return next(v for v in of_temp(weather(stay)).variation if v.size == 250).features["temp"].spreads["PSI"].blocks

    assert blocks(8) < 30 < 40 < blocks(1) <= 64


def test_how_windows_follow_each_other_is_known_from_every_fourth_too() -> None:
    drawn = lfilter([0.6], [1, -0.8], np.random.default_rng(7).normal(size=600))
    values = np.repeat(drawn, 250) + np.random.default_rng(8).normal(size=150_000)
    column = of_temp(values).features[0]
    counts = np.stack([np.bincount(window, minlength=column.vector.size) for window in column.index(values).reshape(-1, 250)])

    def stays(apart: int) -> float:
        (known,) = (v for v in observed({"features": [("temp", column, counts[::apart])]}, apart) if v.size == 250)
        return known.features["temp"].spreads["PSI"].stays

    assert stays(1) == pytest.approx(0.8, abs=0.1)
    assert stays(4) == pytest.approx(0.8, abs=0.1), (
        "not what neighbours among the chosen have in common, which is .8 to the fourth"
    )


def of_temp(values: Any, **more: Any) -> ReferenceProfile:
    """The reference of rows a minute apart, with these values of `temp`."""
    data = {**helpers.columns(len(values)), "temp": values}
    times = np.arange(len(values)).astype("datetime64[m]")
    return build_reference(helpers.frame(data), helpers.FEATURES, {}, timestamps=times, **more)


def test_a_season_in_the_reference_is_not_ordinary_in_the_window_that_follows() -> None:
    """What goes on is drift; what comes and goes is not."""
    days = weather(1, 18_000)
    for season, drifted in ((np.zeros(18_000), False), (np.append(np.linspace(-2, 2, 16_000), np.full(2_000, 4.0)), True)):
        values = days + season
        column, variation = of_temp(values[:16_000]).features[0], of_temp(values[:16_000]).variation
        window = np.bincount(column.index(values[16_000:]), minlength=column.bins)
        found = compare("PSI", column, window)
        assert (found.value > limit(calibrate(found, 1e-3, ordinary(variation, "features", "temp", 2_000)))) is drifted


@pytest.mark.parametrize(
    ("moved", "named"),
    [(np.zeros(16_000), []), (np.linspace(0, 5, 16_000), ["temp"]), (np.sin(np.arange(16_000) / 200), [])],
    ids=["steady", "moves on", "comes and goes"],
)
def test_a_reference_that_drifts_within_itself_is_unstable(moved: Any, named: list[str]) -> None:
    assert of_temp(weather(1) + moved).unstable == named


def test_without_timestamps_nobody_knows_whether_it_is_stable() -> None:
    assert helpers.reference(2_000).unstable == []


# ---- the newest stretch ----


def test_counts_are_those_of_the_newest_quarter_and_ranges_those_of_all_rows() -> None:
    rows, year = 100_000, np.arange(100_000) * (365 / 100_000)
    data = helpers.columns(rows)
    data["temp"] = 10 - 20 * np.cos(2 * np.pi * year / 365) + RNG.normal(size=rows)
    data["carrier"][:100] = "ZZ"
    times = np.datetime64("2013-01-01", "s") + (year * 86_400).astype("timedelta64[s]")
    made = build_reference(helpers.frame(data), helpers.FEATURES, {}, timestamps=times, recent=True)
    quarter = data["temp"][times >= times[-1] - np.timedelta64(91, "D")]
    assert (made.rows, made.support_rows) == (quarter.size, rows)
    temp, carrier = made.features[0], made.features[2]
    assert isinstance(temp, NumericReference)
    assert isinstance(carrier, CategoricalReference)
    assert (temp.minimum, temp.maximum) == (data["temp"].min(), data["temp"].max())
    assert np.array_equal(np.bincount(temp.index(quarter), minlength=temp.bins), temp.vector)
    assert max(temp.counts) < 3 * made.rows / 64, "the bins are even over what is counted"
    summer = np.bincount(temp.index(data["temp"][rows // 2 : rows // 2 + 100]), minlength=temp.bins)
    assert summer[[0, -2]].sum() == 0, "July is no longer ordinary, but in range"
    assert carrier.counts[carrier.categories.index("ZZ")] == 0
    assert ReferenceProfile.decode(made.encode()) == made


@pytest.mark.parametrize(
    ("rows", "days", "counted"),
    [(30_000, 60, None), (15_000, 700, None), (30_000, 300, 20_000), (300_000, 182, 150_000)],
    ids=["short enough", "too few rows", "few rows a day", "half a year"],
)
def test_the_newest_stretch_is_a_quarter_or_enough_rows(rows: int, days: int, counted: int | None) -> None:
    times = np.datetime64("2013-01-01", "s") + (np.arange(rows) * (days * 86_400 / rows)).astype("timedelta64[s]")
    chosen = newest(times)
    assert (chosen if chosen is None else int(chosen.sum())) == (
        counted if counted is None else pytest.approx(counted, rel=0.001)
    )


def test_predictions_without_rows_have_no_newest_ones() -> None:
    data = helpers.columns(30_000)
    times = np.datetime64("2013-01-01", "s") + (np.arange(30_000) * 1_000).astype("timedelta64[s]")
    made = build_reference(
        helpers.frame(data), helpers.FEATURES, {}, timestamps=times, prediction_timestamps=times[:100], recent=True
    )
    assert (made.rows, made.prediction_rows) == (20_000, 0)


def test_a_profile_of_an_earlier_build_is_read_without_its_variation() -> None:
    made = helpers.reference(2_000)
    old = {"size": 125, "features": {"temp": {"psi": {"median": 0.1, "maximum": 0.2}, "ks": None, "missing_rise": 0.3}}}
    data = canonical_json({**made.wire(), "variation": [old]})
    (variation,) = ReferenceProfile.decode(data).variation
    assert variation.features["temp"].spreads == {}


def test_the_tails_have_bins_of_their_own_as_far_as_rows_are_enough() -> None:
    counts = np.array(numeric(RNG.normal(size=20_000)).counts)
    assert len(counts) == 64 + 2 * 3
    assert counts[:4].tolist() == pytest.approx([39, 39, 78, 156], abs=12)
    assert counts.min() >= 20
    assert len(numeric(RNG.normal(size=500)).counts) == pytest.approx(64, abs=2)


def test_between_whole_numbers_are_bins_that_hold_nothing() -> None:
    column = numeric(np.repeat(np.arange(5.0), 100))
    assert column.counts == [100, 0] * 4 + [100]
    assert column.index(np.array([0.0, 0.5, 4.0])).tolist() == [1, 2, 9]
    assert np.diff(column.points[1:-1:2]).tolist() == pytest.approx([0.5] * 4, rel=0.02)  # in quartile distances
