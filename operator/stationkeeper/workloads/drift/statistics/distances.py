"""The formulae. Each takes two samples as shares of the same bins and gives 0 where they are equal.

Wherever a formula is said to be about some figure for a shift by d, a standard normal column is meant whose mean moves by d
standard deviations, d small; the default effects of `registry` come from there.

Formulae with logarithms and roots take a share for at least one row of the smaller sample, and raise it by that of half a row, the
same in both samples: that a rare value did not come once proves little, and adding rows instead would make two empty bins differ.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from stationkeeper.workloads.drift.statistics.binning import Floats

LEAST: Final = 1.0  # rows of the smaller sample that a bin counts for at least, before a logarithm or root
SMOOTHING: Final = 0.5  # rows of the smaller sample that every bin is raised by then
FEWEST: Final = 5.0  # rows that chi-square reckons with in a bin at least (Cochran, Biometrics 10, 1954)
_NORMAL_QUARTILES: Final = 1.3489795  # how far the quartiles of a normal column are apart, in standard deviations


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of bins: `p` of the reference, shape (bins,) or (blocks, bins); `q` of blocks of current rows, shape (blocks, bins)."""

    p: Floats
    q: Floats
    reference_size: int
    current_size: int  # of a block
    points: Floats  # where each bin lies, in standard deviations of the reference, shape (bins,); empty where nobody knows


def population_stability_index(s: Shares) -> Floats:
    """Population stability index, `sum (p - q) ln(p / q)`; symmetric, unbounded, about d² for a shift by d.

    Reference: Siddiqi, Credit Risk Scorecards (2006).
    """
    p, q = _raised(s)
    return np.maximum(_summed((p - q) * np.log(p / q)), 0.0)


def chi_square(s: Shares) -> Floats:
    """Chi-square distance, `sum (p - q)² / pooled share`; symmetric in samples of one size, about d² for a shift by d.

    Pearson's statistic of homogeneity is this times nm / (n + m): as a distance it means the same for every size of window.
    A bin counts as one of at least `FEWEST` rows of the smaller sample. Reference: Pearson, Philosophical Magazine 50 (1900).
    """
    n, m = s.reference_size, s.current_size
    pooled = np.maximum((n * s.p + m * s.q) / (n + m), FEWEST / min(n, m))
    return _summed((s.p - s.q) ** 2 / pooled)


def jensen_shannon(s: Shares) -> Floats:
    """Jensen-Shannon distance, the root of the divergence to base 2; a metric, at most 1, about .42 d for a shift by d.

    Reference: Endres and Schindelin, IEEE Transactions on Information Theory 49 (2003).
    """
    p, q = _raised(s)
    middle = (p + q) / 2
    divergence = _summed(p * np.log2(p / middle) + q * np.log2(q / middle)) / 2
    distance: Floats = np.sqrt(np.clip(divergence, 0.0, 1.0))
    return distance


def hellinger(s: Shares) -> Floats:
    """Hellinger distance, `sqrt(sum (sqrt p - sqrt q)² / 2)`; a metric, at most 1, about .35 d for a shift by d.

    Reference: Hellinger, Journal für die reine und angewandte Mathematik 136 (1909).
    """
    p, q = _raised(s)
    return np.minimum(np.sqrt(_summed((np.sqrt(p) - np.sqrt(q)) ** 2) / 2), 1.0)


def total_variation(s: Shares) -> Floats:
    """Total variation, `sum |p - q| / 2`: the share of rows that would have to change bins; a metric, at most 1, about .4 d.

    Reference: Levin, Peres and Wilmer, Markov Chains and Mixing Times (2009), chapter 4.
    """
    return np.minimum(_summed(np.abs(s.p - s.q)) / 2, 1.0)


def l_infinity(s: Shares) -> Floats:
    """L-infinity distance, `max |p - q|`: the largest change of any category's share; a metric, at most 1.

    Reference: Breck et al., Data Validation for Machine Learning, MLSys (2019).
    """
    largest: Floats = np.abs(s.p - s.q).max(axis=-1)
    return largest


def kolmogorov_smirnov(s: Shares) -> Floats:
    """Largest distance of the distribution functions at the edges of the bins; a metric, at most 1, about .4 d.

    At most the exact statistic, and within one bin's mass of it. Reference: Massey, JASA 46 (1951).
    """
    largest: Floats = np.abs(_gaps(s)).max(axis=-1)
    return np.minimum(largest, 1.0)


def wasserstein(s: Shares) -> Floats:
    """First Wasserstein distance, the area between the distribution functions, in standard deviations of the reference.

    The values of a bin count as lying at one point, values out of range at the range's end: far beyond it the distance is a
    lower bound. d for a shift by d, whatever the shape. Reference: Ramdas, García Trillos and Cuturi, Entropy 19 (2017).
    """
    gaps = np.abs(_gaps(s))[..., :-1]
    return _summed(gaps * np.diff(s.points))


def deviation(p: Floats, points: Floats) -> float:
    """The standard deviation of a normal column with the quartiles of the shares `p`, which no outlier moves; 1 for a constant."""
    low, high = np.interp((0.25, 0.75), np.cumsum(p) - p / 2, points)
    return float(high - low) / _NORMAL_QUARTILES or 1.0


def _raised(s: Shares) -> tuple[Floats, Floats]:
    row = 1 / min(s.reference_size, s.current_size)
    p, q = (np.maximum(x, LEAST * row) + SMOOTHING * row for x in (s.p, s.q))
    return p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)


def _gaps(s: Shares) -> Floats:
    gaps: Floats = np.cumsum(s.p, axis=-1) - np.cumsum(s.q, axis=-1)
    return gaps


def _summed(terms: Floats) -> Floats:
    total: Floats = terms.sum(axis=-1)
    return total
