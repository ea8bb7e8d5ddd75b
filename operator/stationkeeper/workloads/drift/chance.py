"""What chance gives: how large a statistic of two samples of one distribution is, for their sizes and bins.

chi-square   PSI, the chi-square distance, 8 ln 2 times the square of Jensen-Shannon's and 8 times that of Hellinger's, all times
             `nm / (n + m)`, follow chi-square with one degree of freedom less than compared bins.
Kolmogorov   the tail of the Kolmogorov-Smirnov distance is at most `2 exp(-2 d² nm / (n + m))`; ties only make it smaller.
simulated    pairs of samples are drawn from the reference's shares, with a fixed seed. Beyond what so few draws show the tail is
             that of a normal variable, on which `sqrt(-ln alpha)` against the statistic is a straight line.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from stationkeeper.api.driftpolicy import Test
from stationkeeper.workloads.drift.statistics import MEASURES, Floats, Statistic
from stationkeeper.workloads.drift.statistics.distances import Shares

DRAWS: Final = 4_000  # pairs of samples of a simulation
_SEED: Final = 1917
_FITTED: Final = (0.1, 0.005)  # share of draws above, between which the tail is fitted
_SURE: Final = 0.02  # share of draws above, up to which they are believed as they are


def noise(statistic: Statistic, alpha: float) -> float:
    """What the statistic exceeds by chance with probability `alpha`; its own value is not looked at."""
    match statistic.measure.chance:
        case "chi-square":
            freedom = _freedom(statistic)
            found = chi_square_quantile(alpha, freedom) * _unit(statistic) if freedom > 0 else 0.0
            return found if statistic.measure.square else math.sqrt(found)
        case "Kolmogorov":
            return math.sqrt(-math.log(alpha / 2) / 2 * inverse_size(statistic))
        case "simulated":
            tail, scale = _simulated(statistic)
            return tail.quantile(alpha) * scale


def p_value(statistic: Statistic) -> float:
    """How often chance alone gives as much."""
    match statistic.measure.chance:
        case "chi-square":
            freedom = _freedom(statistic)
            value = statistic.value if statistic.measure.square else statistic.value**2
            return chi_square_tail(value / _unit(statistic), freedom) if freedom > 0 else 1.0
        case "Kolmogorov":
            return min(1.0, 2 * math.exp(-2 * statistic.value**2 / inverse_size(statistic)))
        case "simulated":
            tail, scale = _simulated(statistic)
            return tail.share_above(statistic.value / scale)


def inverse_size(statistic: Statistic) -> float:
    """`1 / n + 1 / m`: what the variance of every difference of shares is proportional to."""
    n, m = statistic.reference_size, statistic.current_size
    return 1 / n + 1 / m if n and m else math.inf


def _unit(statistic: Statistic) -> float:
    return statistic.measure.unit * inverse_size(statistic)


def _freedom(statistic: Statistic) -> int:
    if statistic.reference_size < 2 * statistic.current_size:
        # A small reference has not seen the whole range: chance alone puts rows into its empty bins.
        return len(statistic.shares) - 1
    return sum(share > 0 for share in statistic.shares) - 1


# ---- chi-square ----


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
    total = math.erfc(math.sqrt(half)) if freedom % 2 else 0.0
    powers, ln_factorials = _powers(freedom)
    return total + float(np.exp(powers * math.log(half) - half - ln_factorials).sum())


@lru_cache(maxsize=1024)
def _powers(freedom: int) -> tuple[Floats, Floats]:
    """The powers of the Poisson sum, and the logarithms of their factorials."""
    powers = np.arange(freedom // 2, dtype=np.float64) + freedom % 2 / 2
    return powers, np.array([math.lgamma(k + 1) for k in powers.tolist()])


def normal_quantile(alpha: float) -> float:
    """The value that a standard normal variable exceeds with probability `alpha`, below one half."""
    return math.sqrt(chi_square_quantile(2 * alpha, 1))


# ---- Fisher's F ----


@lru_cache(maxsize=65536)
def f_quantile(alpha: float, freedom: float, under: float) -> float:
    """The value that Fisher's F, of real degrees of freedom above and under the line, exceeds with probability `alpha`."""
    low, high = 0.0, 1.0  # of the share x / (1 + x) with x = F times freedom / under, which follows a beta distribution
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - _beta(middle, freedom / 2, under / 2) > alpha else (low, middle)
    return high / (1 - high) * under / freedom if high < 1 else math.inf


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    if x <= 0:
        return 0.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    total = d
    for i in range(1, 200):
        for term in (i * (b - i) / ((a + 2 * i - 1) * (a + 2 * i)), -(a + i) * (a + b + i) / ((a + 2 * i) * (a + 2 * i + 1))):
            d, c = 1 / (1 + term * x * d), 1 + term * x / c
            total *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return front * total


# ---- simulation ----


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """The distribution of simulated statistics: `draws` ascending, and the line `at + slope sqrt(-ln alpha)` beyond them."""

    draws: Floats
    at: float
    slope: float

    def quantile(self, alpha: float) -> float:
        """The value that is exceeded with probability `alpha`."""
        if alpha >= _SURE:
            return float(np.quantile(self.draws, 1 - alpha, method="higher"))
        return max(self.at + self.slope * math.sqrt(-math.log(alpha)), self.quantile(_SURE))

    def share_above(self, value: float) -> float:
        """The probability of at least `value`."""
        above = (len(self.draws) - int(np.searchsorted(self.draws, value))) / len(self.draws)
        if above >= _SURE or self.slope <= 0:
            return above
        return min(math.exp(-(max((value - self.at) / self.slope, 0.0) ** 2)), _SURE)


def _simulated(statistic: Statistic) -> tuple[Tail, float]:
    # Windows differ in size by a few rows each: one simulation, of the power of two below, serves many.
    n, m = (1 << size.bit_length() - 1 for size in (statistic.reference_size, statistic.current_size))
    tail = _simulate(statistic.name, n, m, statistic.shares, statistic.points)
    return tail, math.sqrt(inverse_size(statistic) / (1 / n + 1 / m))


@lru_cache(maxsize=1024)
def _simulate(test: Test, n: int, m: int, shares: tuple[float, ...], points: tuple[float, ...]) -> Tail:
    p = np.array(shares)
    p[p == 0] = 1 / (n + 1)  # a bin that no row of the reference fell into is not impossible: the rule of succession
    p /= p.sum()
    rng = np.random.default_rng(_SEED)
    pairs = Shares(rng.multinomial(n, p, DRAWS) / n, rng.multinomial(m, p, DRAWS) / m, n, m, np.array(points))
    return _fit(np.sort(MEASURES[test].distance(pairs)))


def _fit(draws: Floats) -> Tail:
    above = 1 - (np.arange(draws.size) + 0.5) / draws.size
    fitted = (above <= _FITTED[0]) & (above >= _FITTED[1])
    slope, at = np.polyfit(np.sqrt(-np.log(above[fitted])), draws[fitted], 1)
    return Tail(draws, float(at), float(slope))
