"""How much contiguous stretches of the reference differ from the rest of it: day and night, weekdays, weather.

Real traffic is not drawn independently: windows of a healthy month differ by more than sampling noise. Where the reference
has timestamps it is cut into contiguous blocks of equal row counts, for several sizes, and each block is compared with that half
of the reference which it is not part of, by the very statistics and bins of the checks: a half stands to its blocks as the whole
does to the windows that follow. The same with blocks and halves drawn at random shows what sampling gives; what the real blocks
showed beyond that is kept, and a breach must exceed it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.api.base import Tolerant
from stationkeeper.api.driftpolicy import Test
from stationkeeper.workloads.drift.statistics import MEASURES, Binned, Counts, Floats, Kind, compare_blocks

SIZES: Final = (125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)  # rows
MIN_BLOCKS: Final = 20  # of each of these sizes
FEW_BLOCKS: Final = (16, 12, 8, 6)  # larger blocks, so many of them: they tell little of a rare window, but of a long one
MAX_BLOCKS: Final = 64  # evenly spread: enough for the tail, and the profile stays small
_FEWEST: Final = 3.0  # independent blocks are reckoned with, at least
_HALVES: Final = 8  # random ones
_DRAWS: Final = 25  # random blocks against each
_SEED: Final = 2013
_DIGITS: Final = 4  # significant ones that are kept

Array = NDArray[Any]
Indexed = tuple[str, Binned, Array]  # name, reference, bin of each row
Group = tuple[Sequence[Indexed], Array]  # columns and the datetime64 of their rows


class Spread(Tolerant):
    """By how much blocks differ beyond sampling noise, in squares of a statistic that grows with a shift, else in the statistic.

    `level` is where their median lies above that of random blocks, `scale` by how much more the upper half of them lies
    above its median, on average.
    """

    level: float = 0.0
    scale: float = 0.0
    blocks: float = MIN_BLOCKS  # independent ones, of those that were looked at

    def bound(self, alpha: float) -> float:
        """What the next block exceeds with probability `alpha`, beyond sampling noise.

        The upper half of the blocks is a sample of an exponential tail; what one more exceeds is then Pareto's.
        """
        half = self.blocks / 2
        further: float = half * ((2 * alpha) ** (-1 / half) - 1)
        return self.level + self.scale * further


class ColumnVariation(Tolerant):
    """Of one column: by each test that blocks exceed sampling noise in, and the rise of missing values."""

    spreads: dict[str, Spread] = {}
    missing_rise: float = 0.0  # the most that the missing share of a block was above that of the whole


class Variation(Tolerant):
    """Blocks of one size."""

    size: int  # rows of a block
    features: dict[str, ColumnVariation] = {}
    predictions: dict[str, ColumnVariation] = {}


def variations(groups: Mapping[str, Group]) -> list[Variation]:
    """The variation of the groups `features` and `predictions`, at every size that there are blocks enough of.

    Raises:
        ValueError: when there are not as many timestamps as rows.
    """
    found: dict[int, dict[str, dict[str, ColumnVariation]]] = {}
    for group, (columns, timestamps) in groups.items():
        if any(len(index) != len(timestamps) for *_, index in columns):
            raise ValueError("there must be as many timestamps as rows")
        order = _in_time(timestamps)
        for size in _sizes(order.size) if columns else ():
            measured = {name: _column(column, index[order], size) for name, column, index in columns}
            found.setdefault(size, {})[group] = measured
    return [Variation(size=size, **found[size]) for size in sorted(found)]


def _sizes(rows: int) -> list[int]:
    many = [size for size in SIZES if rows // size >= MIN_BLOCKS]
    return many + [rows // blocks for blocks in FEW_BLOCKS if many and rows // blocks > many[-1]]


def _in_time(timestamps: Array) -> Array:
    times = np.asarray(timestamps).astype("datetime64[us]")
    order = np.argsort(times, kind="stable")
    known: Array = order[~np.isnat(times[order])]
    return known


@dataclass(frozen=True, slots=True)
class _Part:
    """A column with the counts of a part of the reference."""

    column: Binned
    vector: Counts

    @property
    def kind(self) -> Kind:
        return self.column.kind

    @property
    def points(self) -> Floats:
        return self.column.points


def _column(column: Binned, index: Array, size: int) -> ColumnVariation:
    blocks = _blocks(index, size, column.vector.size)
    middle = index.size // 2
    first, second = (np.bincount(part, minlength=column.vector.size) for part in (index[:middle], index[middle:]))
    early, late = np.array_split(blocks, 2)
    seen = [compare_blocks(_Part(column, half), part) for part, half in ((early, second), (late, first))]
    whole = first + second
    random = _random(column, whole, size)
    spreads = {test: _spread(_joined(test, seen), _joined(test, random)) for test in seen[0]}
    missing = blocks[:, -1] / size - whole[-1] / whole.sum()
    return ColumnVariation(
        spreads={test: spread for test, spread in spreads.items() if spread.level or spread.scale},
        missing_rise=max(float(missing.max()), 0.0),
    )


def _blocks(index: Array, size: int, bins: int) -> Counts:
    """Counts of blocks that are evenly spread over time, shape (blocks, bins)."""
    count = index.size // size
    chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_BLOCKS)).astype(np.int64))
    return np.stack([np.bincount(index[b * size : (b + 1) * size], minlength=bins) for b in chosen])


def _random(column: Binned, whole: Counts, size: int) -> list[dict[Test, Floats]]:
    """What blocks of rows drawn at random differ by from the half that they are not part of."""
    rng = np.random.default_rng(_SEED)
    found = []
    for half in rng.multivariate_hypergeometric(whole, int(whole.sum()) // 2, _HALVES, method="marginals"):
        blocks = rng.multivariate_hypergeometric(whole - half, size, _DRAWS, method="marginals")
        found.append(compare_blocks(_Part(column, half), blocks))
    return found


def _joined(test: Test, parts: Sequence[Mapping[Test, Floats]]) -> Floats:
    values = np.concatenate([part[test] for part in parts])
    known: Floats = values[~np.isnan(values)]
    return known if MEASURES[test].square else known**2


def _spread(seen: Floats, random: Floats) -> Spread:
    if not (seen.size and random.size):
        return Spread()
    (level, scale), (usual, noise) = _centre_and_tail(seen), _centre_and_tail(random)
    # So few blocks show a wider tail by chance: one standard error more is still noise.
    sure = noise * (1 + (seen.size / 2) ** -0.5)
    return Spread(level=_rounded(max(level - usual, 0.0)), scale=_rounded(max(scale - sure, 0.0)), blocks=_independent(seen))


def _independent(values: Floats) -> float:
    """How many independent values tell as much as these, of which each resembles the one before (weather stays for days)."""
    before, after = values[:-1], values[1:]
    if values.size < 3 or not (before.std() and after.std()):  # one value alone may differ, at an end
        return float(max(values.size, _FEWEST))
    likeness = float(np.clip(np.corrcoef(before, after)[0, 1], 0.0, 0.9))
    return _rounded(max(values.size * (1 - likeness) / (1 + likeness), _FEWEST))


def _centre_and_tail(values: Floats) -> tuple[float, float]:
    """The median, and the mean distance from it of the half above."""
    ascending = np.sort(values)
    median = float(np.median(ascending))
    return median, float(ascending[ascending.size // 2 :].mean()) - median


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
