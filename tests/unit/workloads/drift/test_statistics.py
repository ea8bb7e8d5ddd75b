"""The statistics against scipy; what chance and a small effect give; thresholds, and how a window shares its false alarms."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from stationkeeper.api.driftpolicy import Test
from stationkeeper.api.manifest import ColumnKind
from stationkeeper.workloads.drift.bins import NumericReference, column_reference
from stationkeeper.workloads.drift.calibration import calibrate, level, limit, ordinary
from stationkeeper.workloads.drift.chance import chi_square_quantile, chi_square_tail, f_quantile, noise, normal_quantile, p_value
from stationkeeper.workloads.drift.statistics import MEASURES, Statistic, compare, compare_blocks
from stationkeeper.workloads.drift.statistics.binning import merging
from stationkeeper.workloads.drift.statistics.distances import LEAST, SMOOTHING
from stationkeeper.workloads.drift.variation import ColumnVariation, Spread, Variation

RNG = np.random.default_rng(11)
A, B = RNG.normal(0, 1, 8_000), RNG.normal(0.3, 1.2, 6_000)


def numeric(values: Any) -> NumericReference:
    column = column_reference("x", np.asarray(values, dtype=float), ColumnKind.NUMERIC)
    assert isinstance(column, NumericReference)
    return column


REFERENCE = numeric(A)
WORDS = column_reference("x", np.repeat(np.array(["a", "b", "c"], dtype=object), (500, 300, 200)), None)
OTHER_WORDS = np.array([360, 340, 280, 12, 8])  # of a, b, c, any other, missing


def counts(values: Any, column: NumericReference = REFERENCE) -> Any:
    return np.bincount(column.index(np.asarray(values, dtype=float)), minlength=column.bins)


def shares(column: Any, current: Any) -> tuple[Any, Any]:
    merged = merging(column.vector, min(int(column.vector.sum()), int(current.sum())), column.kind)
    return column.vector @ merged / column.vector.sum(), current @ merged / current.sum()


# ---- exactness ----


def raised(x: Any) -> Any:
    x = np.maximum(x, LEAST / 1_000) + SMOOTHING / 1_000
    return x / x.sum()


FORMULAE: dict[Test, Any] = {
    "PSI": lambda p, q: stats.entropy(raised(p), raised(q)) + stats.entropy(raised(q), raised(p)),
    "JensenShannon": lambda p, q: jensenshannon(raised(p), raised(q), base=2),
    "Hellinger": lambda p, q: np.linalg.norm(np.sqrt(raised(p)) - np.sqrt(raised(q))) / np.sqrt(2),
    "TotalVariation": lambda p, q: np.linalg.norm(p - q, 1) / 2,
    "LInfinity": lambda p, q: np.linalg.norm(p - q, np.inf),
}


@pytest.mark.parametrize("test", FORMULAE)
def test_it_is_scipys_on_the_compared_shares(test: Test) -> None:
    expected = FORMULAE[test](*shares(WORDS, OTHER_WORDS))
    assert compare(test, WORDS, OTHER_WORDS).value == pytest.approx(expected, rel=1e-9)


def test_chi_square_is_pearsons_where_every_bin_is_full() -> None:
    column = column_reference("x", np.repeat(np.array(["a", "b", "c", None], dtype=object), (2_000, 1_200, 600, 200)), None)
    current = np.array([900, 700, 290, 0, 110])
    found = compare("ChiSquare", column, current)
    pearson = stats.chi2_contingency(np.stack((column.vector, current))[:, [0, 1, 2, 4]])
    assert found.value / (1 / 4_000 + 1 / 2_000) == pytest.approx(pearson.statistic)
    assert p_value(found) == pytest.approx(pearson.pvalue)


def test_an_empty_bin_weighs_in_chi_square_as_one_of_five_rows() -> None:
    column = column_reference("x", np.repeat(np.array(["a", "b"], dtype=object), (15_000, 5_000)), None)
    one_unseen, none = (compare("ChiSquare", column, np.array([375, 125 - n, n, 0])) for n in (1, 0))
    assert none.value == pytest.approx(0, abs=1e-12)
    assert one_unseen.value == pytest.approx(0.2 / 500, rel=0.1)


def test_kolmogorov_smirnov_is_scipys_within_a_bin_and_never_above() -> None:
    exact = stats.ks_2samp(A, B).statistic
    binned = compare("KolmogorovSmirnov", REFERENCE, counts(B)).value
    assert exact - 1 / 64 <= binned <= exact + 1e-12
    # On the bins themselves it is exact.
    expected = stats.ks_2samp(REFERENCE.index(A), REFERENCE.index(B)).statistic
    assert binned == pytest.approx(expected, abs=1e-12)


SHAPES: dict[str, tuple[Any, Any]] = {
    "normal": (A, B),
    "wider": (A, 1.3 * A),
    "gamma": (RNG.gamma(2, 400, 20_000), RNG.gamma(2, 440, 20_000)),
    "uniform": (RNG.random(20_000), RNG.random(20_000) ** 1.2),
    "whole numbers": (RNG.integers(0, 6, 20_000), RNG.binomial(5, 0.6, 20_000)),
    "lognormal": (RNG.lognormal(size=20_000), RNG.lognormal(0.3, size=20_000)),
}


# The values of a heavy tail lie far apart in its last bin.
@pytest.mark.parametrize(("shape", "within"), [(shape, 0.08 if shape == "lognormal" else 0.03) for shape in SHAPES])
def test_wasserstein_is_scipys_in_robust_standard_deviations(shape: str, within: float) -> None:
    reference, current = SHAPES[shape]
    low, high = np.percentile(reference, (25, 75))
    expected = stats.wasserstein_distance(reference, current) / ((high - low) / (2 * stats.norm.ppf(0.75)))
    column = numeric(reference)
    assert compare("Wasserstein", column, counts(current, column)).value == pytest.approx(expected, rel=within)


@pytest.mark.parametrize("test", MEASURES)
def test_the_default_effect_is_that_of_a_shift_by_a_seventh_of_a_standard_deviation(test: Test) -> None:
    measure = MEASURES[test]
    if "numeric" in measure.kinds:
        normal = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
        column = numeric(normal)
        found = compare(test, column, counts(normal + 1 / 7, column))
        assert found.value == pytest.approx(measure.effect, rel=0.06)
    else:  # half the rows are one of two words; a threshold in the middle of a normal column makes such
        above = round(200_000 * stats.norm.cdf(1 / 7))
        words = column_reference("x", np.repeat(np.array(["a", "b"], dtype=object), 100_000), None)
        found = compare(test, words, np.array([200_000 - above, above, 0, 0]))
        assert found.value == pytest.approx(measure.effect, rel=0.4)


def test_psi_sees_missing_values_which_distribution_functions_leave_out() -> None:
    flood = counts(np.where(RNG.random(8_000) < 0.5, np.nan, A))
    assert compare("PSI", REFERENCE, flood).value > 1
    assert compare("KolmogorovSmirnov", REFERENCE, flood).value < 0.03
    assert compare("Wasserstein", REFERENCE, flood).value < 0.03


def test_out_of_range_is_told_from_the_last_bin() -> None:
    edge, beyond = (counts(np.full(1_000, A.max() + more)) for more in (0, 10))
    assert compare("PSI", REFERENCE, beyond).value > compare("PSI", REFERENCE, edge).value + 1


# ---- chance ----


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 12, 66, 255])
@pytest.mark.parametrize("alpha", [0.1, 1e-3, 1e-6])
def test_chi_square_quantiles_are_scipys(freedom: int, alpha: float) -> None:
    assert chi_square_quantile(alpha, freedom) == pytest.approx(stats.chi2.isf(alpha, freedom), rel=1e-9)
    assert chi_square_tail(10.0, freedom) == pytest.approx(stats.chi2.sf(10.0, freedom), rel=1e-9)


def test_other_bounds_are_scipys() -> None:
    assert normal_quantile(1e-3) == pytest.approx(stats.norm.isf(1e-3), rel=1e-9)
    size = compare("KolmogorovSmirnov", REFERENCE, counts(B))
    expected = stats.kstwobign.isf(0.01) * math.sqrt(1 / 8_000 + 1 / 6_000)
    assert noise(size, 0.01) == pytest.approx(expected, rel=1e-6)


SIZES = [(500, 500), (500, 20_000), (5_000, 20_000), (100_000, 20_000)]


@pytest.mark.parametrize(("rows", "reference_rows"), SIZES)
@pytest.mark.parametrize("alpha", [0.05, 0.005])
@pytest.mark.parametrize("test", MEASURES)
def test_chance_exceeds_the_noise_no_more_often_than_promised(test: Test, rows: int, reference_rows: int, alpha: float) -> None:
    rng, trials = np.random.default_rng(3), 800
    kind = ColumnKind.NUMERIC if "numeric" in MEASURES[test].kinds else ColumnKind.BOOLEAN
    values = rng.random(reference_rows) if kind is ColumnKind.NUMERIC else rng.choice(list("abcdefgh"), reference_rows)
    column = column_reference("x", values if kind is ColumnKind.NUMERIC else values.astype(object), kind)
    references = rng.multinomial(reference_rows, column.vector / column.vector.sum(), trials)
    currents = rng.multinomial(rows, column.vector / column.vector.sum(), trials)
    bound = noise(compare(test, column, currents[0]), alpha)
    pairs = zip(references, currents, strict=True)
    alarms = sum(compare(test, _with(column, reference), current).value > bound for reference, current in pairs)
    assert alarms <= stats.binom.isf(1e-4, trials, alpha)  # a seeded run is far from unlucky
    # Not silent either, where chance is known and not bounded.
    assert alarms > 0.2 * alpha * trials or test == "KolmogorovSmirnov" or reference_rows < 2 * rows


def _with(column: Any, vector: Any) -> Any:
    inside = {"counts": vector[1:-2] if column.kind == "numeric" else vector[:-2]}
    return column.model_copy(update={**inside, "missing": int(vector[-1])})


@pytest.mark.parametrize("test", MEASURES)
def test_a_drift_of_half_a_standard_deviation_is_found_in_500_rows_nearly_always(test: Test) -> None:
    rng = np.random.default_rng(6)
    column = numeric(rng.normal(size=20_000))
    draw = [rng.normal(0.5, 1, 500) for _ in range(100)]
    found = [compare(test, column, counts(values, column)) for values in draw] if "numeric" in MEASURES[test].kinds else []
    if not found:
        words = column_reference("x", rng.choice(["a", "b"], 20_000).astype(object), None)
        found = [compare(test, words, np.array([*np.bincount(values > 0, minlength=2), 0, 0])) for values in draw]
    assert np.mean([f.value > limit(calibrate(f, 0.01 / 14)) for f in found]) > 0.95


# ---- thresholds ----


def test_a_threshold_is_the_largest_of_noise_variation_and_effect() -> None:
    found = compare("PSI", REFERENCE, counts(B))
    alone = calibrate(found, 0.001)
    assert (alone.variation, limit(alone)) == (0.0, max(alone.noise, 0.02))
    days = calibrate(found, 0.001, ColumnVariation(spreads={"PSI": Spread(level=1.0, scale=0.1, blocks=64)}))
    assert 1.5 < limit(days) == days.variation < 2.0
    assert limit(calibrate(found, 0.001, effect=5.0)) == 5.0
    assert calibrate(found, 0.001, ColumnVariation(spreads={"Hellinger": Spread(level=1.0)})) == alone


def test_the_largest_size_counts_that_is_not_larger_than_the_window() -> None:
    def size(rows: int, scale: float) -> Variation:
        spreads = {"PSI": Spread(scale=scale)} if scale else {}
        return Variation(size=rows, features={"x": ColumnVariation(spreads=spreads, missing_rise=scale)})

    known = [size(500, 0.4), size(1_000, 0.2), size(2_000, 0.1)]
    chosen = {rows: ordinary(known, "features", "x", rows) for rows in (100, 600, 1_500, 2_000, 9_000)}
    scales = {rows: found and found.spreads["PSI"].scale for rows, found in chosen.items()}
    assert scales == {100: 0.4, 600: 0.4, 1_500: 0.2, 2_000: 0.1, 9_000: 0.1}
    calm = ordinary([*known, size(5_000, 0.0)], "features", "x", 9_000)
    assert calm is not None
    assert calm.spreads == {}
    assert ordinary(known, "predictions", "x", 500) is None


def test_few_blocks_tell_little_about_a_rare_window() -> None:
    bounds = [Spread(scale=0.1, shape=1, blocks=n).bound(1e-4) for n in (6, 20, 40, 128)]
    assert bounds == sorted(bounds, reverse=True)
    # Were the scale known, the bound would be that of chi-square.
    assert Spread(scale=0.1, shape=3, blocks=1e6).bound(1e-4) == pytest.approx(0.1 * stats.chi2.isf(1e-4, 3) / 3, rel=1e-3)


def test_one_steady_direction_has_a_wider_tail_than_many() -> None:
    bounds = [Spread(scale=0.1, shape=shape, blocks=30).bound(1e-4) for shape in (1, 2, 5, 50)]
    assert bounds == sorted(bounds, reverse=True)


@pytest.mark.parametrize("alpha", [0.2, 0.01, 5e-4, 1e-6])
@pytest.mark.parametrize(("freedom", "under"), [(1, 2), (1, 19.5), (2.4, 7), (10, 300), (100, 12_700)])
def test_the_quantiles_of_f_are_scipys(alpha: float, freedom: float, under: float) -> None:
    assert f_quantile(alpha, freedom, under) == pytest.approx(float(stats.f.isf(alpha, freedom, under)), rel=1e-6)


def test_a_window_mostly_outside_of_the_range_is_never_ordinary() -> None:
    """However widely the reference varies, as long as none of its own windows went so far."""
    wild = Spread(scale=50.0, shape=1, blocks=4, most=0.5)
    half = np.concatenate((A[:3_000], np.full(3_001, 1e6)))
    for test, outside in (("PSI", half[1_500:]), ("KolmogorovSmirnov", half[2_000:]), ("Wasserstein", half[2_000:])):
        found = compare(test, REFERENCE, counts(outside))
        assert found.value > limit(calibrate(found, 1e-4, ColumnVariation(spreads={test: wild})))
    known = ColumnVariation(spreads={"PSI": wild.model_copy(update={"most": 15.0})})
    found = compare("PSI", REFERENCE, counts(half[1_500:]))
    assert limit(calibrate(found, 1e-4, known)) == 15.0, "what the reference itself has shown is ordinary"


def test_a_spread_of_an_earlier_build_has_no_end() -> None:
    old = Spread.model_validate({"level": 2.0, "scale": 0.5, "blocks": 12.0})
    found = compare("PSI", REFERENCE, counts(B))
    threshold = calibrate(found, 1e-4, ColumnVariation(spreads={"PSI": old}))
    assert threshold.variation == pytest.approx(threshold.noise + 2.0 + 0.5 * f_quantile(1e-4, 2.0, 22.0))


@pytest.mark.parametrize(
    ("p_values", "breaching"),
    [([0.5] * 10, 0), ([1e-4, *[0.5] * 9], 1), ([0.004] * 5 + [0.5] * 5, 5), ([0.004] * 4 + [0.5] * 6, 4), ([0.008, *[0.5] * 9], 0), ([0.009] * 10, 10)],
)  # fmt: skip
def test_a_window_shares_its_false_alarms_by_benjamini_and_hochberg(p_values: list[float], breaching: int) -> None:
    rate = level(0.01, 10, lambda alpha: sum(p <= alpha for p in p_values), 10)
    assert sum(p <= rate for p in p_values) == breaching == int(stats.false_discovery_control(p_values).__le__(0.01).sum())
    assert rate >= 0.001


def test_blocks_without_a_value_are_no_evidence() -> None:
    blocks = np.stack((counts(A[:100]), counts([np.nan] * 100)))
    rest = REFERENCE.vector - blocks
    assert np.isnan(compare_blocks(REFERENCE, blocks, rest)["KolmogorovSmirnov"]).tolist() == [False, True]
    assert all(np.isnan(values).all() for values in compare_blocks(REFERENCE, blocks * 0, rest).values())


def test_a_statistic_names_its_test() -> None:
    assert Statistic("Hellinger", 0.1, 10, 10).measure.short == "Hellinger"
