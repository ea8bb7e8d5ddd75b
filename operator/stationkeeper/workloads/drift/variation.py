"""How much contiguous stretches of the reference differ from the whole of it: day and night, weekdays, weather.

Real traffic is not drawn independently: windows of a healthy month differ by more than sampling noise. Where the reference
has timestamps it is cut into contiguous blocks of equal row counts, for several sizes, and each block is compared with the
whole by the very statistics and bins of the check. A breach must exceed what these blocks showed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.api.base import Tolerant
from stationkeeper.workloads.drift.statistics import Kind, ks_of_blocks, psi_of_blocks

SIZES: Final = (125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)  # rows
MIN_BLOCKS: Final = 20  # fewer say nothing about a rare window
MAX_BLOCKS: Final = 64  # evenly spread: enough for the extremes, and the profile stays small

Array = NDArray[Any]
Indexed = tuple[str, Kind, Array, Array]  # name, kind, counts of the whole, bin of each row
Group = tuple[Sequence[Indexed], Array]  # columns and the datetime64 of their rows


class Spread(Tolerant):
    """A statistic over blocks."""

    median: float
    maximum: float


class ColumnVariation(Tolerant):
    """Of one column: by PSI, and by Kolmogorov-Smirnov where it is numeric."""

    psi: Spread
    ks: Spread | None = None
    missing_rise: float = 0.0  # the most that the missing share of a block was above that of the whole


class Variation(Tolerant):
    """Blocks of one size."""

    size: int  # rows of a block
    features: dict[str, ColumnVariation] = {}
    predictions: dict[str, ColumnVariation] = {}


def variations(groups: Mapping[str, Group]) -> list[Variation]:
    """The variation of the groups `features` and `predictions`, at every size with at least `MIN_BLOCKS` blocks.

    Raises:
        ValueError: when there are not as many timestamps as rows.
    """
    found: dict[int, dict[str, dict[str, ColumnVariation]]] = {}
    for group, (columns, timestamps) in groups.items():
        if any(len(index) != len(timestamps) for *_, index in columns):
            raise ValueError("there must be as many timestamps as rows")
        order = _in_time(timestamps)
        for size in SIZES:
            count = order.size // size
            if count >= MIN_BLOCKS and columns:
                blocks = np.unique(np.linspace(0, count - 1, min(count, MAX_BLOCKS)).astype(np.int64))
                rows = [order[b * size : (b + 1) * size] for b in blocks]
                measured = {name: _column(kind, whole, index, rows) for name, kind, whole, index in columns}
                found.setdefault(size, {})[group] = measured
    return [Variation(size=size, **found[size]) for size in sorted(found)]


def _in_time(timestamps: Array) -> Array:
    times = np.asarray(timestamps).astype("datetime64[us]")
    order = np.argsort(times, kind="stable")
    known: Array = order[~np.isnat(times[order])]
    return known


def _column(kind: Kind, whole: Array, index: Array, blocks: Sequence[Array]) -> ColumnVariation:
    counts = np.stack([np.bincount(index[rows], minlength=whole.size) for rows in blocks])
    missing = counts[:, -1] / counts.sum(axis=1) - whole[-1] / whole.sum()
    return ColumnVariation(
        psi=_spread(psi_of_blocks(whole, counts, kind)),
        ks=_spread(ks_of_blocks(whole, counts)) if kind == "numeric" else None,
        missing_rise=max(float(missing.max()), 0.0),
    )


def _spread(values: Array) -> Spread:
    known = values[~np.isnan(values)] if not np.isnan(values).all() else np.zeros(1)
    return Spread(median=float(np.median(known)), maximum=float(known.max()))
