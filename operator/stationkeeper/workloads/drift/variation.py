"""How much contiguous stretches of the reference differ from the whole of it: day and night, weekdays, weather.

Real traffic is not drawn independently: windows of a healthy month differ by more than sampling noise. Where the reference
has timestamps it is cut into contiguous blocks of equal row counts, for several sizes, and each block is compared with the
whole by the very statistics and bins of the check. A breach must exceed what these blocks showed.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.api.base import Tolerant
from stationkeeper.workloads.drift.statistics import Kind, kolmogorov_smirnov, psi

SIZES: Final = (125, 500, 2_000, 8_000, 32_000, 128_000)  # rows
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


class Variation(Tolerant):
    """Blocks of one size."""

    size: int  # rows of a block
    blocks: int
    columns: dict[str, ColumnVariation]


def variations(groups: Sequence[Group]) -> list[Variation]:
    """The variation at every size of which there are at least `MIN_BLOCKS` blocks; names are unique over the groups.

    Raises:
        ValueError: when there are not as many timestamps as rows.
    """
    found: dict[int, Variation] = {}
    for columns, timestamps in groups:
        if any(len(index) != len(timestamps) for *_, index in columns):
            raise ValueError("there must be as many timestamps as rows")
        order = _in_time(timestamps)
        for size in SIZES:
            count = order.size // size
            if count >= MIN_BLOCKS and columns:
                blocks = np.unique(np.linspace(0, count - 1, min(count, MAX_BLOCKS)).astype(np.int64))
                rows = [order[b * size : (b + 1) * size] for b in blocks]
                measured = {name: _column(kind, whole, index, rows) for name, kind, whole, index in columns}
                before = found[size].columns if size in found else {}
                found[size] = Variation(size=size, blocks=len(rows), columns={**before, **measured})
    return [found[size] for size in sorted(found)]


def _in_time(timestamps: Array) -> Array:
    times = np.asarray(timestamps).astype("datetime64[us]")
    order = np.argsort(times, kind="stable")
    return order[~np.isnat(times[order])]


def _column(kind: Kind, whole: Array, index: Array, blocks: Sequence[Array]) -> ColumnVariation:
    counts = [np.bincount(index[rows], minlength=whole.size) for rows in blocks]
    return ColumnVariation(
        psi=_spread([psi(whole, c, kind).value for c in counts]),
        ks=_spread([kolmogorov_smirnov(whole, c).value for c in counts]) if kind == "numeric" else None,
    )


def _spread(values: Sequence[float]) -> Spread:
    known = np.array([v for v in values if v == v] or [0.0])
    return Spread(median=float(np.median(known)), maximum=float(known.max()))
