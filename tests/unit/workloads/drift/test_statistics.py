"""The statistics against scipy and raw values; one conformance table over both; chance as calibrated; power."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stationkeeper.workloads.drift.calibration import (
    calibrate,
    chi_square_quantile,
    chi_square_tail,
    ks_noise,
    normal_quantile,
    psi_noise,
    share_increase_noise,
)
from stationkeeper.workloads.drift.reference import NumericReference, _numeric
from stationkeeper.workloads.drift.statistics import SMOOTHING, kolmogorov_smirnov, ks_exact, psi
from stationkeeper.workloads.drift.variation import ColumnVariation, Spread

RNG = np.random.default_rng(11)
A, B = RNG.normal(0, 1, 8_000), RNG.normal(0.3, 1.2, 6_000)
REFERENCE = _numeric("x", A)


def counts(values: Any, column: NumericReference = REFERENCE) -> Any:
    return np.bincount(column.index(np.asarray(values, dtype=float)), minlength=column.bins)


def test_exact_ks_is_scipys() -> None:
    assert ks_exact(A, np.append(B, np.nan)).value == pytest.approx(stats.ks_2samp(A, B).statistic, abs=1e-12)


def test_binned_ks_is_scipys_within_a_bin_and_never_above() -> None:
    exact = stats.ks_2samp(A, B).statistic
    binned = kolmogorov_smirnov(REFERENCE.vector, counts(B)).value
    assert exact - 1 / 64 <= binned <= exact + 1e-12
    # On the bins themselves it is exact.
    expected = stats.ks_2samp(REFERENCE.index(A), REFERENCE.index(B)).statistic
    assert binned == pytest.approx(expected, abs=1e-12)


def test_psi_is_the_symmetrised_relative_entropy_of_the_merged_shares() -> None:
    reference, current = np.array([500, 300, 200, 0, 0]), np.array([300, 300, 380, 10, 10])  # three categories, other, missing
    share = SMOOTHING / 1_000
    p, q = (c / 1_000 + share for c in (reference, current))
    expected = stats.entropy(p, q) + stats.entropy(q, p)
    assert psi(reference, current, "categorical").value == pytest.approx(expected, rel=1e-3)


def test_psi_of_a_shifted_normal_is_the_square_of_the_shift() -> None:
    reference = _numeric("x", RNG.normal(size=400_000))
    shifted = psi(reference.vector, counts(RNG.normal(0.3, 1, 400_000), reference), "numeric").value
    assert shifted == pytest.approx(0.09, rel=0.08)


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 12, 66, 255])
@pytest.mark.parametrize("alpha", [0.1, 1e-3, 1e-6])
def test_chi_square_is_scipys(freedom: int, alpha: float) -> None:
    assert chi_square_quantile(alpha, freedom) == pytest.approx(stats.chi2.isf(alpha, freedom), rel=1e-9)
    assert chi_square_tail(10.0, freedom) == pytest.approx(stats.chi2.sf(10.0, freedom), rel=1e-9)


def test_other_bounds_are_scipys() -> None:
    assert normal_quantile(1e-3) == pytest.approx(stats.norm.isf(1e-3), rel=1e-9)
    size = psi(REFERENCE.vector, counts(B), "numeric")
    assert ks_noise(size, 0.01) == pytest.approx(stats.kstwobign.isf(0.01) * math.sqrt(1 / 8_000 + 1 / 6_000), rel=1e-6)


# ---- conformance: every statistic over every odd column ----

STATISTICS = {
    "PSI": lambda column, current: psi(column.vector, current, "numeric"),
    "KolmogorovSmirnov": lambda column, current: kolmogorov_smirnov(column.vector, current),
}
ODD: dict[str, Any] = {
    "normal": RNG.normal(size=500),
    "constant": np.full(500, 3.0),
    "single row": np.array([1.0]),
    "infinities": np.array([np.inf, -np.inf] * 50),
    "with missing": np.where(RNG.random(500) < 0.3, np.nan, RNG.normal(size=500)),
    "huge cardinality": np.arange(200_000, dtype=float),
    "ties": RNG.integers(0, 3, 500).astype(float),
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("case", ODD)
def test_zero_on_equal_samples_whatever_the_order(name: str, case: str) -> None:
    column = _numeric("x", ODD[case])
    assert STATISTICS[name](column, counts(ODD[case][::-1], column)).value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("case", ODD)
def test_finite_and_positive_on_other_data(name: str, case: str) -> None:
    value = STATISTICS[name](_numeric("x", ODD[case]), counts(RNG.normal(50, 1, 300), _numeric("x", ODD[case]))).value
    assert 0 < value < 100


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize(("reference", "current"), [(A, []), ([np.nan] * 9, [np.nan] * 9)], ids=["empty", "all missing"])
def test_nothing_to_compare_is_nan_never_zero_for_lack_of_data(name: str, reference: Any, current: Any) -> None:
    column = _numeric("x", np.asarray(reference))
    value = STATISTICS[name](column, counts(current, column)).value
    # That nothing but missing came is a finding for PSI: missing is a bin of its own.
    assert value == 0 if name == "PSI" and len(current) else math.isnan(value)


@pytest.mark.parametrize("name", STATISTICS)
def test_rises_with_the_shift(name: str) -> None:
    values = [STATISTICS[name](REFERENCE, counts(RNG.normal(d, 1, 4_000))).value for d in (0, 0.2, 0.5, 1, 2, 5)]
    assert values == sorted(values)


def test_psi_is_symmetric_in_equal_bins_and_sees_missing_values_which_ks_leaves_out() -> None:
    a, b = np.array([10, 20, 30, 0, 0]) * 20, np.array([30, 20, 10, 0, 0]) * 20
    assert psi(a, b, "categorical").value == pytest.approx(psi(b, a, "categorical").value)
    flood = counts(np.where(RNG.random(8_000) < 0.5, np.nan, A))
    assert psi(REFERENCE.vector, flood, "numeric").value > 1
    assert kolmogorov_smirnov(REFERENCE.vector, flood).value < 0.03


def test_out_of_range_is_told_from_the_last_bin() -> None:
    edge, beyond = np.full(1_000, A.max()), np.full(1_000, A.max() + 10)
    assert psi(REFERENCE.vector, counts(beyond), "numeric").value > psi(REFERENCE.vector, counts(edge), "numeric").value + 1


# ---- calibration ----


@pytest.mark.parametrize(("rows", "reference_rows"), [(500, 500), (500, 20_000), (5_000, 20_000), (100_000, 20_000)])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_chance_exceeds_the_noise_no_more_often_than_promised(rows: int, reference_rows: int, alpha: float) -> None:
    rng, trials = np.random.default_rng(3), 800
    shares = np.full(60, 1 / 60)
    references = rng.multinomial(reference_rows, shares, trials)
    currents = rng.multinomial(rows, shares, trials)
    alarms = {"PSI": 0, "KolmogorovSmirnov": 0}
    for r, c in zip(np.pad(references, ((0, 0), (1, 2))), np.pad(currents, ((0, 0), (1, 2))), strict=True):
        for found, noise in ((psi(r, c, "numeric"), psi_noise), (kolmogorov_smirnov(r, c), ks_noise)):
            alarms[found.name] += found.value > noise(found, alpha)
    bound = stats.binom.isf(1e-4, trials, alpha)  # a seeded run is far from unlucky
    assert max(alarms.values()) <= bound
    # Not silent either: the promise is used for PSI, which is the default.
    assert alarms["PSI"] > 0.2 * alpha * trials or reference_rows < 2 * rows


def test_half_a_standard_deviation_is_found_in_500_rows_nearly_always() -> None:
    reference = _numeric("x", RNG.normal(size=20_000))
    found = [psi(reference.vector, counts(RNG.normal(0.5, 1, 500), reference), "numeric") for _ in range(200)]
    assert np.mean([f.value > calibrate(f, 0.01 / 14).value for f in found]) > 0.95


def test_a_threshold_is_the_largest_of_noise_variation_and_effect() -> None:
    found = psi(REFERENCE.vector, counts(B), "numeric")
    ordinary = ColumnVariation(psi=Spread(median=0.1, maximum=3.0))
    assert calibrate(found, 0.001, ordinary).value == 3.0
    assert calibrate(found, 0.001).value == max(psi_noise(found, 0.001), 0.02)
    huge = psi(REFERENCE.vector * 10_000, counts(A) * 10_000, "numeric")
    assert calibrate(huge, 0.001).value == 0.02


def test_the_rise_of_a_share_has_a_binomial_bound() -> None:
    rng = np.random.default_rng(4)
    before, now = rng.binomial(20_000, 0.1, 4_000), rng.binomial(500, 0.1, 4_000)
    alarms = sum(
        n / 500 - b / 20_000 > share_increase_noise((b, 20_000), (n, 500), 0.01) for b, n in zip(before, now, strict=True)
    )
    assert 10 < alarms < 70
