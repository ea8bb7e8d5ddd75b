"""The grid that numeric bins lie on: the top 16 bits of a standardised float32.

A value is standardised, `z = (x - center) / scale`, rounded to float32 and cut to sign, exponent and seven bits of
mantissa: 65,536 cells, each a 128th of its distance from the centre wide. Bins are runs of cells, so a bin is one look-up in
a table of 65,536 bytes, and the profile of serving and the reference agree exactly on every value.
"""

import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CELLS: Final = 1 << 16
TAIL: Final = 6  # times that the outermost bins are halved
FEWEST: Final = 20  # rows in a bin that was halved
_RUN: Final = 32_768  # values that are standardised at once: the arrays between stay in the processor's cache
_MANY: Final = 262_144  # values whose bins are counted at once

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CODES = np.arange(CELLS, dtype=np.int64)
_MAGNITUDE = _CODES & 0x7FFF
# Rank of a cell's code in the order of the numbers; both zeros share one rank.
RANK: Final[Ints] = np.where(_CODES >= 0x8000, 0x8000 - _MAGNITUDE, 0x8000 + _MAGNITUDE)
NAN: Final[NDArray[np.bool_]] = _MAGNITUDE > 0x7F80

_HIGH_WORD = slice(1, None, 2) if np.little_endian else slice(0, None, 2)


def codes(values: NDArray[Any], center: NDArray[Any] | float, inverse: NDArray[Any] | float) -> NDArray[np.uint16]:
    """The cells of values of any shape; the last axis is kept, contiguous. NaN falls into a cell of `NAN`.

    Beyond float32 a value is infinite and falls into the outermost cell of its side.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        z = np.subtract(values, center, dtype=np.float64)
        z *= inverse
        cells: NDArray[np.uint16] = z.astype(np.float32).view(np.uint16)[..., _HIGH_WORD]
    return cells


class _Scratch(threading.local):
    """Arrays that are used again for every column: to make them anew costs as much as to count."""

    def __init__(self) -> None:
        self.wide = np.empty(_RUN)
        self.narrow = np.empty(_RUN, dtype=np.float32)
        self.cells = np.empty(_RUN, dtype=np.intp)
        self.bins = np.empty(_MANY, dtype=np.uint8)
        self.pairs = np.empty(_MANY // 2, dtype=np.intp)


_scratch = _Scratch()


def _cells(values: NDArray[Any], center: float, inverse: float, out: NDArray[np.intp]) -> NDArray[np.intp]:
    """The `codes` of at most `_RUN` values, in as much of an array as they need."""
    z, short, found = (array[: len(values)] for array in (_scratch.wide, _scratch.narrow, out))
    with np.errstate(over="ignore", invalid="ignore"):
        np.subtract(values, center, out=z, dtype=np.float64)
        z *= inverse
        short[:] = z
    return np.right_shift(short.view(np.uint32), np.uint32(16), out=found)


def masses(values: NDArray[Any], center: float, inverse: float) -> Ints:
    """How many of the values lie in each cell, by its code."""
    cells, found = np.zeros(CELLS, dtype=np.int64), _scratch.pairs
    for begin in range(0, len(values), len(found)):
        many = values[begin : begin + len(found)]
        for start in range(0, len(many), _RUN):
            _cells(many[start : start + _RUN], center, inverse, found[start:])
        cells += np.bincount(found[: len(many)], minlength=CELLS)
    return cells


def tally(values: NDArray[Any], center: float, inverse: float, table: NDArray[np.uint8], bins: int) -> Ints:
    """How many of the values lie in each bin of a table.

    Two bins are counted at once, as one number of sixteen bits: half as many steps, and a bin of much mass holds up none.
    """
    counts = np.zeros(bins, dtype=np.int64)
    for begin in range(0, len(values), _MANY):
        many = values[begin : begin + _MANY]
        for start in range(0, len(many), _RUN):
            run = many[start : start + _RUN]
            _scratch.bins[start : start + len(run)] = table.take(_cells(run, center, inverse, _scratch.cells), mode="wrap")
        half = len(many) // 2
        _scratch.pairs[:half] = _scratch.bins[: 2 * half].view(np.uint16)
        joint = np.bincount(_scratch.pairs[:half], minlength=256 * bins).reshape(bins, 256)
        counts += joint.sum(axis=1) + joint[:, :bins].sum(axis=0)
        if len(many) % 2:
            counts[_scratch.bins[len(many) - 1]] += 1
    return counts


def by_rank(cells: Ints) -> Ints:
    """The masses of cells in the order of the numbers, those of `NAN` left out."""
    met = np.flatnonzero(cells)
    met = met[~NAN[met]]
    mass = np.zeros(CELLS, dtype=np.int64)
    np.add.at(mass, RANK[met], cells[met])  # both zeros have one rank
    return mass


def table(edges: Ints, top: int) -> NDArray[np.uint8]:
    """Bin of each cell: 0 below the first edge, 1..k inside, k+1 above `top`, k+2 missing.

    `edges` holds the ranks at which the k bins begin, ascending; `top` is the last rank of the last bin.
    """
    begins = np.zeros(CELLS + 1, dtype=np.uint8)
    begins[edges] = 1
    in_order = np.cumsum(begins, dtype=np.uint8)
    in_order[top + 1 :] = len(edges) + 1
    bins = in_order[RANK]
    bins[NAN] = len(edges) + 2
    return bins


def borders(ranks: Ints) -> Floats:
    """The lower border of the cells of ranks, standardised; that of the rank above a cell is its upper border."""
    magnitude = np.where(ranks >= 0x8000, ranks - 0x8000, 0x8000 - ranks + 1)
    words = np.clip(magnitude, 0, 0x7F80).astype(np.uint32) << 16
    return np.where(ranks >= 0x8000, 1.0, -1.0) * words.view(np.float32).astype(np.float64)


def means(low: Floats, high: Floats) -> Floats:
    """Where the values between two borders lie: at the logarithmic mean, or half-way where zero is between them or near."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = high / low
        logarithmic = (high - low) / np.log(ratio)
    known = np.isfinite(logarithmic) & (ratio > 0) & (np.abs(ratio - 1) > 1e-3)
    return np.where(known, logarithmic, low / 2 + high / 2)


def center_and_scale(finite: Floats) -> tuple[float, float]:
    """Median and interquartile range; where that is 0 the standard deviation, and 1 for a constant."""
    if not finite.size:
        return 0.0, 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        low, center, high = np.percentile(finite, (25, 50, 75), method="nearest")
        scale = next((s for s in (high - low, np.std(finite)) if np.isfinite(s) and s > 1e-300), 1.0)
    return float(center), float(scale)


def edges(mass: Ints, bins: int) -> tuple[Ints, int]:
    """Edges of about `bins` bins of equal mass, and the highest rank that is met; `mass` is how often each rank is.

    The outermost bins are halved outwards `TAIL` times, as far as `FEWEST` rows are in each: there the values lie far apart.
    A cell that alone holds a bin's mass (a zero, a default, a whole number) gets a bin of its own, and the empty cells above
    it another, so at most three times as many bins come out.
    """
    cells, total = np.flatnonzero(mass), int(mass.sum())
    if not total:
        return np.empty(0, dtype=np.int64), 0
    before = np.concatenate(([0], np.cumsum(mass[cells])[:-1]))
    share = total / bins
    heavy = mass[cells] >= share
    tail = share / 2.0 ** np.arange(1, TAIL + 1)
    tail = tail[tail >= FEWEST]
    due = np.sort(np.concatenate((np.arange(bins) * share, tail, total - tail)))
    starts = np.diff(np.searchsorted(due, before, side="right"), prepend=0) > 0
    starts |= heavy
    starts[1:] |= heavy[:-1]
    closing = np.setdiff1d(cells[:-1][heavy[:-1]] + 1, cells)
    return np.union1d(cells[starts], closing).astype(np.int64), int(cells[-1])


def coarseness(values: Floats, ranks: Ints, bins: int) -> tuple[float, Floats]:
    """Largest share of a sample in one cell that holds more than one value, if above two bins' worth, and those values.

    A high share means that the grid is too coarse there: the mass of the bins is not what it was meant to be.
    """
    mass = np.bincount(ranks, minlength=CELLS)
    worst, inside = 0.0, values[:0]
    for cell in np.flatnonzero(mass > 2 * max(ranks.size / bins, 1)):
        members = values[ranks == cell]
        share = members.size / ranks.size
        if share > worst and members.min() != members.max() and _most_common(members) < 0.5 * members.size:
            worst, inside = share, members
    return worst, inside


def _most_common(values: Floats) -> int:
    return int(np.unique(values, return_counts=True)[1].max())
