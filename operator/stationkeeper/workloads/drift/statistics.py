"""Statistics of two samples that were counted in the same bins: counts in, a frozen result out.

Counts are one-dimensional integer arrays. A numeric column counts below, its bins, above, missing; a categorical one its
categories, any other, missing (`reference`). Which bins are compared follows from the reference and the sizes alone, never from
where the current sample fell, so that chance has the distribution that `calibration` reckons with.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

SMALL: Final = 5_000  # rows; below, about ten bins find more than many do
FEW_BINS: Final = 10
MANY_BINS: Final = 64
MIN_EXPECTED: Final = 10  # rows expected in a compared bin: below that a bin is more noise than signal
SMOOTHING: Final = 0.5  # rows added to every bin of both samples, so that an empty bin has a logarithm

Kind = Literal["numeric", "categorical"]
Counts = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic and what its distribution under chance depends on. NaN when a sample holds nothing to compare."""

    name: Literal["PSI", "KolmogorovSmirnov"]
    value: float
    reference_size: int  # rows that were compared
    current_size: int
    shares: tuple[float, ...] = ()  # of the reference in the compared bins, for PSI


def psi(reference: Counts, current: Counts, kind: Kind) -> Statistic:
    """Population stability index, `sum (p - q) ln(p / q)` over merged bins; missing is a bin of its own.

    Both samples get `SMOOTHING` rows in every bin. 0 for equal shares, symmetric in the shares; for a normal column whose
    mean moves by d standard deviations it is about d². Reference: Siddiqi, Credit Risk Scorecards (2006).
    """
    merged_reference, merged_current = merge(reference, current, kind)
    n, m = int(merged_reference.sum()), int(merged_current.sum())
    if not (n and m):
        return Statistic("PSI", float("nan"), n, m)
    p, q = _smoothed(merged_reference), _smoothed(merged_current)
    value = float(np.sum((p - q) * np.log(p / q)))
    return Statistic("PSI", max(value, 0.0), n, m, tuple(p.tolist()))


def _smoothed(counts: Counts) -> NDArray[np.float64]:
    smoothed: NDArray[np.float64] = (counts + SMOOTHING) / (counts.sum() + SMOOTHING * counts.size)
    return smoothed


def kolmogorov_smirnov(reference: Counts, current: Counts) -> Statistic:
    """Largest distance of the distribution functions of a numeric column at the edges of its bins; missing left out.

    At most the exact statistic, and within one bin's mass of it. Reference: Massey, JASA 46 (1951).
    """
    p, q = reference[:-1], current[:-1]
    n, m = int(p.sum()), int(q.sum())
    if not (n and m):
        return Statistic("KolmogorovSmirnov", float("nan"), n, m)
    distance = float(np.abs(np.cumsum(p) / n - np.cumsum(q) / m).max())
    return Statistic("KolmogorovSmirnov", distance, n, m)


def ks_exact(reference: NDArray[Any], current: NDArray[Any]) -> Statistic:
    """The same over raw values (NaN left out): the yardstick of the binned form."""
    a, b = (np.sort(x[~np.isnan(x)]) for x in (np.asarray(reference, float), np.asarray(current, float)))
    if not (a.size and b.size):
        return Statistic("KolmogorovSmirnov", float("nan"), a.size, b.size)
    points = np.concatenate((a, b))
    distance = np.abs(np.searchsorted(a, points, "right") / a.size - np.searchsorted(b, points, "right") / b.size).max()
    return Statistic("KolmogorovSmirnov", float(distance), a.size, b.size)


def merge(reference: Counts, current: Counts, kind: Kind) -> tuple[Counts, Counts]:
    """Both samples in the bins that are compared: about ten below `SMALL` rows, missing last."""
    smaller = min(int(reference.sum()), int(current.sum()))
    groups = _groups(reference, smaller, kind)
    size = int(groups.max()) + 1
    return np.bincount(groups, reference, size), np.bincount(groups, current, size)


def _groups(reference: Counts, smaller: int, kind: Kind) -> NDArray[np.int64]:
    """The compared bin of each bin; the last one is that of missing values."""
    present = reference[:-1].astype(np.float64)
    limit = FEW_BINS if smaller < SMALL else MANY_BINS
    least = MIN_EXPECTED * reference.sum() / max(smaller, 1)  # rows of the reference
    group = _by_size(present, limit, least) if kind == "categorical" else _by_order(present, limit, least)
    return np.append(group, group.max() + 1)


def _by_order(present: NDArray[np.float64], limit: int, least: float) -> NDArray[np.int64]:
    """Neighbouring bins together, by the middle of each on the reference's distribution function."""
    total = present.sum()
    if not total:
        return np.zeros(present.size, dtype=np.int64)
    middle = (np.cumsum(present) - present / 2) / total
    group = np.minimum((middle * limit).astype(np.int64), limit - 1)
    group = np.unique(group, return_inverse=True)[1].astype(np.int64)
    while group.max() > 0:
        mass = np.bincount(group, present)
        lightest = int(mass.argmin())
        if mass[lightest] >= least:
            break
        group[group >= max(lightest, 1)] -= 1  # into the bin on its left; the first one takes its neighbour
    return group


def _by_size(present: NDArray[np.float64], limit: int, least: float) -> NDArray[np.int64]:
    """The most frequent categories one by one, all others together: what was never seen before is among them."""
    order = np.argsort(-present[:-1], kind="stable")
    named = order[present[order] >= least][: limit - 1]
    group = np.full(present.size, named.size, dtype=np.int64)
    group[named] = np.arange(named.size)
    return group
