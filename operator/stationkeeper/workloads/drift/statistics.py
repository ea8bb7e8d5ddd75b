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
SMOOTHING: Final = 0.5  # rows of the smaller sample, as a share added to every bin of both: an empty bin needs a logarithm

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
    """Population stability index, `sum (p - q) ln(p / q)` over merged bins; missing is a bin of its own, as is each side
    out of the reference's range.

    Every share is raised by that of `SMOOTHING` rows of the smaller sample, the same in both: adding rows instead would make
    two empty bins differ. 0 for equal shares, symmetric; for a normal column whose mean moves by d standard deviations it
    is about d². Reference: Siddiqi, Credit Risk Scorecards (2006).
    """
    n, m = int(reference.sum()), int(current.sum())
    if not (n and m):
        return Statistic("PSI", float("nan"), n, m)
    values, shares = _psi(reference, current[None, :], kind)
    return Statistic("PSI", float(values[0]), n, m, tuple(shares.tolist()))


def psi_of_blocks(reference: Counts, blocks: Counts, kind: Kind) -> NDArray[np.float64]:
    """`psi` of each row of counts, all of one total."""
    return _psi(reference, blocks, kind)[0]


def _psi(reference: Counts, blocks: Counts, kind: Kind) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sizes = int(reference.sum()), int(blocks[0].sum())
    merged = merging(reference, min(sizes), kind)
    shares = reference @ merged / sizes[0]
    p, q = (_smoothed(x, SMOOTHING / min(sizes)) for x in (shares, blocks @ merged / sizes[1]))
    return np.maximum(np.sum((p - q) * np.log(p / q), axis=-1), 0.0), shares


def _smoothed(shares: NDArray[np.float64], more: float) -> NDArray[np.float64]:
    smoothed: NDArray[np.float64] = (shares + more) / (1 + more * shares.shape[-1])
    return smoothed


def kolmogorov_smirnov(reference: Counts, current: Counts) -> Statistic:
    """Largest distance of the distribution functions of a numeric column at the edges of its bins; missing left out.

    At most the exact statistic, and within one bin's mass of it. Reference: Massey, JASA 46 (1951).
    """
    n, m = int(reference[:-1].sum()), int(current[:-1].sum())
    value = float(ks_of_blocks(reference, current[None, :])[0])
    return Statistic("KolmogorovSmirnov", value, n, m)


def ks_of_blocks(reference: Counts, blocks: Counts) -> NDArray[np.float64]:
    """`kolmogorov_smirnov` of each row of counts; NaN where there is nothing to compare."""
    p, q = reference[:-1], blocks[:, :-1]
    with np.errstate(invalid="ignore"):
        gaps = np.cumsum(p) / p.sum() - np.cumsum(q, axis=1) / q.sum(axis=1, keepdims=True)
    distances: NDArray[np.float64] = np.abs(gaps).max(axis=1)
    return distances


def ks_exact(reference: NDArray[Any], current: NDArray[Any]) -> Statistic:
    """The same over raw values (NaN left out): the yardstick of the binned form."""
    a, b = (np.sort(x[~np.isnan(x)]) for x in (np.asarray(reference, float), np.asarray(current, float)))
    if not (a.size and b.size):
        return Statistic("KolmogorovSmirnov", float("nan"), a.size, b.size)
    points = np.concatenate((a, b))
    distance = np.abs(np.searchsorted(a, points, "right") / a.size - np.searchsorted(b, points, "right") / b.size).max()
    return Statistic("KolmogorovSmirnov", float(distance), a.size, b.size)


def merging(reference: Counts, smaller: int, kind: Kind) -> NDArray[np.float64]:
    """The matrix (bins, compared bins) of 0 and 1 that merges counts when the smaller sample has so many rows.

    About ten bins below `SMALL` rows; the first and last bin of a numeric column, out of range, and that of missing
    values stay apart.
    """
    inner = (reference[1:-2] if kind == "numeric" else reference[:-1]).astype(np.float64)
    limit = FEW_BINS if smaller < SMALL else MANY_BINS
    least = MIN_EXPECTED * reference.sum() / max(smaller, 1)  # rows of the reference
    group = _by_order(inner, limit, least) if kind == "numeric" else _by_size(inner, limit, least)
    last = int(group.max(initial=-1))
    if kind == "numeric":
        group, last = np.concatenate(([last + 1], group, [last + 2])), last + 2
    groups = np.append(group, last + 1)
    matrix: NDArray[np.float64] = np.eye(last + 2)[groups]
    return matrix


def _by_order(present: NDArray[np.float64], limit: int, least: float) -> NDArray[np.int64]:
    """Neighbouring bins together, by the middle of each on the reference's distribution function."""
    if not present.size:
        return np.empty(0, dtype=np.int64)
    middle = (np.cumsum(present) - present / 2) / present.sum()
    group = np.unique(np.minimum((middle * limit).astype(np.int64), limit - 1), return_inverse=True)[1].astype(np.int64)
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
