"""Which bins are compared: those of the reference, merged until each is more signal than noise."""

from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

SMALL: Final = 5_000  # rows; below, about ten bins find more than many do
FEW_BINS: Final = 10
MANY_BINS: Final = 64
MIN_EXPECTED: Final = 10  # rows expected in a compared bin: below that a bin is more noise than signal

Kind = Literal["numeric", "categorical"]
Counts = NDArray[Any]
Floats = NDArray[np.float64]


class Binned(Protocol):
    """What a statistic must know of a column of the reference."""

    @property
    def kind(self) -> Kind:
        """Whether the bins have an order."""
        ...

    @property
    def vector(self) -> Counts:
        """Counts of the reference; the last bin holds the missing values."""
        ...

    @property
    def points(self) -> Floats:
        """Where the values of each bin but the last lie, ascending, in any unit; empty where nobody knows."""
        ...


def merging(reference: Counts, smaller: int, kind: Kind) -> Floats:
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
    matrix: Floats = np.eye(last + 2)[groups]
    return matrix


def _by_order(present: Floats, limit: int, least: float) -> NDArray[np.int64]:
    """Neighbouring bins together, by the middle of each on the reference's distribution function."""
    if not present.any():  # the reference lies outside of its bins, or has none: there is nothing to keep apart
        return np.zeros(present.size, dtype=np.int64)
    middle = (np.cumsum(present) - present / 2) / present.sum()
    stretch = np.minimum((middle * limit).astype(np.int64), limit - 1)
    group = np.cumsum(np.diff(stretch, prepend=stretch[0]) > 0)  # without gaps: middles ascend
    while group.max() > 0:
        mass = np.bincount(group, present)
        lightest = int(mass.argmin())
        if mass[lightest] >= least:
            break
        group[group >= max(lightest, 1)] -= 1  # into the bin on its left; the first one takes its neighbour
    return group


def _by_size(present: Floats, limit: int, least: float) -> NDArray[np.int64]:
    """The most frequent categories one by one, all others together: what was never seen before is among them."""
    order = np.argsort(-present[:-1], kind="stable")
    named = order[present[order] >= least][: limit - 1]
    group = np.full(present.size, named.size, dtype=np.int64)
    group[named] = np.arange(named.size)
    return group
