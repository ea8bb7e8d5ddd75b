"""How much windows of the reference differ from the rest of it: day and night, weekdays, weather.

Real traffic is not drawn independently: windows of a healthy month differ by more than sampling noise. Where the reference
has timestamps, windows like those to come are taken from it, for several sizes, and each is compared with the rest of it by the
very statistics and bins of the checks. The same with rows drawn at random shows what sampling gives; what is beyond that is kept,
and a breach must exceed it.

contiguous  Blocks, one after the other.
composed    Where those are few: windows put together of short runs from all over the reference. What comes and goes (hours, weekdays,
            weather) is in the runs; what goes on (a season, growth) is not, for it is drift.

Blocks that resemble the ones before them tell less than as many independent ones, and runs that follow each other vary more than runs
from all over: both are reckoned with, by the correlation of one block's shares with the next one's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.api.base import Tolerant
from stationkeeper.api.driftpolicy import Test
from stationkeeper.workloads.drift.chance import f_quantile
from stationkeeper.workloads.drift.statistics import MEASURES, Binned, Counts, Floats, compare_blocks, merging

# Rows of a window. From 5,000 on more bins are compared: a size stands for windows up to the next.
SIZES: Final = (125, 250, 500, 1_000, 2_000, 4_000, *(5_000 * 2**i for i in range(12)))
MIN_BLOCKS: Final = 20  # of the smallest size
MAX_BLOCKS: Final = 512  # evenly spread: enough for the tail
RUNS: Final = 48  # that composed windows are drawn from
_LARGEST: Final = 5  # blocks of the largest size
_DRAWS: Final = 200  # composed windows, and windows of random rows
_FEW_BINS: Final = 2_000  # rows; with the bins of so small a window it is seen how blocks resemble each other
_FEWEST: Final = 3.0  # independent blocks are reckoned with, at least
_LASTING: Final = 0.9  # correlation of neighbours, at most: more is no weather
_FARTHER: Final = 1.25  # times the farthest window that was seen, up to where a bound may always go
_SURE: Final = 2.0  # standard errors
_RARE: Final = 1e-3  # at which bounds are compared
_SEED: Final = 2013
_MOST_ROWS: Final = 1_000_000  # of a window of traffic that are looked at
_DIGITS: Final = 4  # significant ones that are kept

Array = NDArray[Any]
Indexed = tuple[str, Binned, Array]  # name, reference, bin of each row
Group = tuple[Sequence[Indexed], Array]  # columns and the datetime64 of their rows
Counted = tuple[str, Binned, Counts]  # name, reference, counts of windows, shape (windows, bins)


class Spread(Tolerant):
    """By how much windows differ beyond sampling noise, in squares of a statistic that grows with a shift, else in the statistic."""

    level: float = 0.0  # of earlier builds: the median, which `scale` came on top of
    scale: float = 0.0  # the mean
    shape: float = 2.0  # in how many independent directions: the degrees of freedom of what windows differ by
    blocks: float = MIN_BLOCKS  # independent ones, of those that were looked at
    most: float | None = None  # of one window, sampling noise included; what is beyond may still be ordinary, but not everything
    stays: float = 0.0  # correlation of a window with the one before

    def bound(self, alpha: float) -> float:
        """What the next window exceeds with probability `alpha`, beyond sampling noise.

        A chi-square variable of unknown scale, that was seen in so many blocks: Fisher's F, as for surveys in
        clusters. Reference: Rao and Scott, Annals of Statistics 12 (1984); Thomas and Rao, JASA 82 (1987).
        """
        return self.level + self.scale * f_quantile(alpha, self.shape, self.shape * max(self.blocks - 1, 1.0))


class ColumnVariation(Tolerant):
    """Of one column: by each test that windows exceed sampling noise in, and the rise of missing values."""

    spreads: dict[str, Spread] = {}
    missing_rise: float = 0.0  # the most that the missing share of a block was above that of the whole


class Variation(Tolerant):
    """Windows of one size."""

    size: int  # rows
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
        order = in_time(timestamps)
        for size in _sizes(order.size) if columns else ():
            measured = {name: _column(column, index[order], size) for name, column, index in columns}
            found.setdefault(size, {})[group] = measured
    return [Variation(size=size, **found[size]) for size in sorted(found)]


def _sizes(rows: int) -> list[int]:
    return [size for size in SIZES if rows // size >= _LARGEST] if rows // SIZES[0] >= MIN_BLOCKS else []


def in_time(timestamps: Array) -> Array:
    """The rows in the order of their times; rows without one are left out."""
    times = np.asarray(timestamps).astype("datetime64[us]")
    order = np.argsort(times, kind="stable")
    known: Array = order[~np.isnat(times[order])]
    return known


@dataclass(frozen=True, slots=True)
class _Likeness:
    """How a block resembles the one before it."""

    stays: float  # correlation, in that direction in which blocks differ the most
    inflation: float = 1.0  # how much more runs that follow each other vary than runs from all over
    directions: float = np.inf  # that runs differ in independently, when they follow each other
    next: float = 0.0  # correlation of a window with the one before


@dataclass(frozen=True, slots=True)
class _Seen:
    """Windows of the reference, and of how many blocks they tell."""

    windows: Counts  # shape (windows, bins), all of one total
    blocks: int
    likeness: _Likeness


def observed(groups: Mapping[str, Sequence[Counted]], apart: float = 1.0) -> list[Variation]:
    """The same from whole windows of traffic, in the order of time, at every size that there are windows enough of.

    A window counts at each size that it has rows for, as that many of its rows, drawn with a fixed seed; all are compared with what all
    windows hold together, as a reference of that time would be. Of `apart` windows one is here.
    """
    found: dict[int, dict[str, dict[str, ColumnVariation]]] = {}
    for group, columns in groups.items():
        for name, column, counts in columns:
            few = np.where(counts.sum(axis=1, keepdims=True) > _MOST_ROWS, _scaled(counts), counts)
            for size in SIZES:
                windows = few[few.sum(axis=1) >= size]
                if len(windows) >= MIN_BLOCKS:
                    found.setdefault(size, {}).setdefault(group, {})[name] = _of_windows(
                        column, windows, few.sum(axis=0), size, apart
                    )
    return [Variation(size=size, **found[size]) for size in sorted(found)]


def _scaled(counts: Counts) -> Counts:
    scaled: Counts = counts * _MOST_ROWS // np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return scaled


def _of_windows(column: Binned, windows: Counts, whole: Counts, size: int, apart: float) -> ColumnVariation:
    rng = np.random.default_rng(_SEED)
    drawn = np.stack([rng.multivariate_hypergeometric(window, size, method="marginals") for window in windows])
    return _measured(column, whole, size, drawn, [_Seen(drawn, len(drawn), _likeness(column, drawn, apart=apart))])


def _column(column: Binned, index: Array, size: int) -> ColumnVariation:
    whole = np.bincount(index, minlength=column.vector.size)
    blocks = _blocks(index, size, whole.size)
    seen = [_Seen(blocks, len(blocks), _likeness(column, blocks, apart=index.size // size / len(blocks)))]
    if index.size // size < RUNS:
        seen.append(_composed(column, index, size))
    return _measured(column, whole, size, blocks, seen)


def _measured(column: Binned, whole: Counts, size: int, blocks: Counts, seen: Sequence[_Seen]) -> ColumnVariation:
    """What windows differ by from the whole, by the tightest bound of what was seen."""
    rng = np.random.default_rng(_SEED)
    random = _squares(column, whole, rng.multivariate_hypergeometric(whole, size, _DRAWS, method="marginals"))
    spreads = [_spreads(_squares(column, whole, one.windows), random, one) for one in seen]
    tightest = {test: min((s[test] for s in spreads), key=lambda s: s.bound(_RARE)) for test in random}
    missing = blocks[:, -1] / size - whole[-1] / whole.sum()
    return ColumnVariation(
        spreads={test: spread for test, spread in tightest.items() if spread.scale},
        missing_rise=max(float(missing.max()), 0.0),
    )


def evenly(count: int, most: int) -> list[int]:
    """So many of the numbers below `count` at most, evenly spread, the first and the last among them."""
    chosen: list[int] = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64)).tolist()
    return chosen


def _blocks(index: Array, size: int, bins: int) -> Counts:
    """Counts of blocks that are evenly spread over time, shape (blocks, bins)."""
    count = index.size // size
    return np.stack([np.bincount(index[b * size : (b + 1) * size], minlength=bins) for b in evenly(count, MAX_BLOCKS)])


def _composed(column: Binned, index: Array, size: int) -> _Seen:
    """Windows of runs that are drawn from all over the reference."""
    together = max(-(-size * RUNS // index.size), 2)
    runs = _blocks(index, size // together, column.vector.size)
    rng = np.random.default_rng(_SEED)
    windows = np.stack([runs[rng.permutation(len(runs))[:together]].sum(axis=0) for _ in range(_DRAWS)])
    return _Seen(windows, len(runs), _likeness(column, runs, together))


def _likeness(column: Binned, blocks: Counts, together: int = 1, apart: float = 1.0) -> _Likeness:
    """How blocks resemble the ones before them, apart from a steady change over the whole time.

    Each direction in which their shares differ has a persistence of its own: weather stays longer than gusts.

    Args:
        column: whose bins these are.
        blocks: shape (blocks, bins).
        together: so many of them make a window.
        apart: of so many blocks one was looked at.
    """
    merged = blocks @ merging(column.vector, _FEW_BINS, column.kind)
    mean = merged.sum(axis=0) / merged.sum()
    moved = (merged / merged.sum(axis=1, keepdims=True) - mean) / np.sqrt(np.where(mean > 0, mean, 1.0))
    count = len(moved)
    time = np.arange(count) - (count - 1) / 2
    moved -= np.outer(time, time @ moved) / (time @ time)
    variances, directions = np.linalg.eigh(moved.T @ moved)
    variances = np.maximum(variances, 0.0)
    if variances[-1] <= 1e-12:
        return _Likeness(0.0)
    along = moved @ directions
    stays = (along[:-1] * along[1:]).sum(axis=0) / np.maximum((along**2).sum(axis=0), 1e-12)
    # Of so few blocks the correlation comes out too small (Kendall, Biometrika 41, 1954).
    stays = np.clip(stays + (2 + 3 * np.maximum(stays, 0.0)) / count, 0.0, _LASTING)
    lag = np.arange(1, together)[:, None]
    parts = variances * (1 + 2 * ((1 - lag / together) * stays**lag).sum(axis=0))
    lasting = max(float(stays[-1]), _lasting(along[:, -1]))
    if together == 1:
        return _Likeness(lasting, next=lasting ** (1 / apart))
    inflation, independent = parts.sum() / variances.sum(), parts.sum() ** 2 / (parts**2).sum()
    return _Likeness(lasting, float(inflation), float(independent), _of_sums(lasting, together))


def _of_sums(stays: float, together: int) -> float:
    """The correlation of the sums of so many neighbours with the sums of the next ones, in a process of first order."""
    lags = np.arange(1, together)
    own = together + 2 * float((together - lags) @ stays**lags)
    return stays * ((1 - stays**together) / (1 - stays)) ** 2 / own


def _lasting(values: Floats) -> float:
    """The correlation with the one before of a first-order process that lasts as long as these values do, by their further lags."""
    count, total = values.size, float(values @ values)
    lags = range(1, math.isqrt(count) + 1)
    lasting = 1 + 2 * sum((1 - lag / len(lags)) * float(values[:-lag] @ values[lag:]) / total for lag in lags)
    return min(max((lasting - 1) / (lasting + 1), 0.0), _LASTING)


def _squares(column: Binned, whole: Counts, windows: Counts) -> dict[Test, Floats]:
    """What windows differ by from the rest of the reference, of each test that fits; values that could be compared only."""
    found = compare_blocks(column, windows, whole - windows)
    known = {test: values[~np.isnan(values)] for test, values in found.items()}
    return {test: values if MEASURES[test].square else values**2 for test, values in known.items()}


def _spreads(seen: Mapping[Test, Floats], random: Mapping[Test, Floats], of: _Seen) -> dict[Test, Spread]:
    return {test: _spread(seen[test], random[test], of) for test in seen}


def _spread(seen: Floats, random: Floats, of: _Seen) -> Spread:
    if not (seen.size and random.size):
        return Spread()
    excess, unsure = float(seen.mean() - random.mean()), float(random.std()) * of.blocks**-0.5
    if excess <= _SURE * unsure:  # so much is sampling noise yet
        return Spread()
    stays, inflation = of.likeness.stays, of.likeness.inflation
    told = max(of.blocks * (1 - stays) / (1 + stays), _FEWEST)  # independent blocks, of their mean
    spread = max(of.blocks * (1 - stays**2) / (1 + stays**2), _FEWEST)  # and of their variance
    variance = max(float(seen.var() - random.var()), 1e-9)
    # Few blocks that resemble each other seldom show a wide tail: it is taken for wider than it looks.
    shape = min(2 * excess**2 / variance * (1 - stays * (2 / spread) ** 0.5), of.likeness.directions)
    # A window is independent of the reference's mean; blocks and their like have drawn it to them.
    apart = (1 + 1 / told) / (1 - 1 / told) * (of.blocks - 1) / (of.blocks + 1)
    return Spread(
        scale=_rounded(excess * inflation * apart),
        shape=_rounded(min(max(shape, 1.0), 100.0)),
        blocks=_rounded(spread),
        most=_rounded(_FARTHER * inflation * float(seen.max())),
        stays=_rounded(of.likeness.next),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
