"""Thresholds from what chance gives, for these sizes and bins, instead of folklore.

A calibrated threshold is the largest of three figures, and a breach exceeds it:

noise      What two samples of one distribution differ by in all but a share `alpha` of windows. `alpha` is the policy's
           `falseAlarmRate` divided by the number of checks of the window (Bonferroni), so that the rate holds over all
           columns. PSI times `nm / (n + m)` follows chi-square with one degree of freedom less than compared bins; for
           Kolmogorov-Smirnov the tail is `2 exp(-2 d² nm / (n + m))`.
variation  What contiguous blocks of the reference differed by from the whole, at the nearest size that is not larger than the window:
           real traffic has days and weather, and windows are not independent draws.
effect     A difference worth a retraining: a million rows make the smallest shift significant. PSI .02 and
           Kolmogorov-Smirnov .05 both are what a normal column shows when its mean moves by a seventh of a standard deviation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from stationkeeper.workloads.drift.statistics import Statistic
from stationkeeper.workloads.drift.variation import ColumnVariation, Variation

MIN_EFFECT: Final = {"PSI": 0.02, "KolmogorovSmirnov": 0.05}

Group = Literal["features", "predictions"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The three figures; the threshold is the largest."""

    noise: float
    variation: float
    effect: float

    @property
    def value(self) -> float:
        """Breach above this."""
        return max(self.noise, self.variation, self.effect)


def calibrate(statistic: Statistic, alpha: float, variation: ColumnVariation | None = None) -> Threshold:
    """The threshold of a statistic.

    Args:
        statistic: what was measured; only its sizes and the reference's shares are looked at, never its value.
        alpha: how often chance alone may exceed the noise part, for this one check.
        variation: that of the column, from `ordinary`; None where it is not known.
    """
    noise = psi_noise(statistic, alpha) if statistic.name == "PSI" else ks_noise(statistic, alpha)
    spread = variation and (variation.psi if statistic.name == "PSI" else variation.ks)
    return Threshold(noise, spread.maximum if spread else 0.0, MIN_EFFECT[statistic.name])


def psi_noise(statistic: Statistic, alpha: float) -> float:
    """The PSI that two samples of one distribution exceed with probability `alpha`."""
    freedom = sum(share > 0 for share in statistic.shares) - 1
    if statistic.reference_size < 2 * statistic.current_size:
        # A small reference has not seen the whole range: chance alone puts rows into its empty bins.
        freedom = len(statistic.shares) - 1
    return chi_square_quantile(alpha, freedom) * _inverse_size(statistic) if freedom > 0 else 0.0


def ks_noise(statistic: Statistic, alpha: float) -> float:
    """The Kolmogorov-Smirnov distance that two samples of one distribution exceed with probability at most `alpha`."""
    return math.sqrt(-math.log(alpha / 2) / 2 * _inverse_size(statistic))


def _inverse_size(statistic: Statistic) -> float:
    n, m = statistic.reference_size, statistic.current_size
    return 1 / n + 1 / m if n and m else math.inf


def ordinary(variation: Sequence[Variation], group: Group, name: str, rows: int) -> ColumnVariation | None:
    """What blocks of the reference differed by from the whole; None when that was not measured.

    Of the block sizes not larger than the window the largest counts, and the smallest when the window is smaller than all.
    """
    known = [v for v in variation if name in getattr(v, group)]
    if not known:
        return None
    fitting = [v for v in known if v.size <= rows]
    chosen = max(fitting, key=lambda v: v.size) if fitting else min(known, key=lambda v: v.size)
    column: ColumnVariation = getattr(chosen, group)[name]
    return column


@lru_cache(maxsize=4096)
def chi_square_quantile(alpha: float, freedom: int) -> float:
    """The value that a chi-square variable of integer degrees of freedom exceeds with probability `alpha`."""
    low, high = 0.0, 2.0 * freedom + 20.0
    while chi_square_tail(high, freedom) > alpha:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_square_tail(middle, freedom) > alpha else (low, middle)
    return high


def chi_square_tail(x: float, freedom: int) -> float:
    """P(chi-square > x) in closed form: a Poisson sum, and the normal tail when the degrees of freedom are odd."""
    half = x / 2
    if half <= 0:
        return 1.0
    odd = freedom % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    powers = [i + odd / 2 for i in range(freedom // 2)]
    return total + sum(math.exp(k * math.log(half) - half - math.lgamma(k + 1)) for k in powers)


def share_increase_noise(reference: tuple[int, int], current: tuple[int, int], alpha: float) -> float:
    """By how much a share may rise by chance, from (count, rows) of two samples: a one-sided score bound, pooled."""
    (a, n), (b, m) = reference, current
    pooled = (a + b + 1) / (n + m + 2)  # never 0 or 1
    return normal_quantile(alpha) * math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))


def normal_quantile(alpha: float) -> float:
    """The value that a standard normal variable exceeds with probability `alpha`, below one half."""
    return math.sqrt(chi_square_quantile(2 * alpha, 1))
