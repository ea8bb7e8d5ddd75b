"""Paired bootstrap by blocks of time: rows of one day stand or fall together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.int64]

REPLICATES: Final = 300
MIN_BLOCKS: Final = 20
TAIL: Final = 0.025  # of chance beyond either end of an interval
_MOST_LOOKS: Final = 5  # from there on no surer: 4,800 resamples
_LENGTHS: Final = (86_400_000_000, 3_600_000_000)  # a day, an hour, in microseconds


def time_blocks(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The block of each row, numbered from 0.

    Days; hours where there are fewer than 20 days; else 20 stretches of equally many rows in order of time.

    Parameters:
        times: microseconds since the epoch, shape (rows,).
    """
    for length in _LENGTHS:
        found, blocks = np.unique(times // length, return_inverse=True)
        if len(found) >= MIN_BLOCKS:
            return np.asarray(blocks, dtype=np.int64)
    rank = np.argsort(np.argsort(times, kind="stable"), kind="stable")
    return np.asarray(rank * MIN_BLOCKS // max(len(times), 1), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """How often each row occurs in each resample: by blocks, or without time by rows within each stratum.

    Drawn anew whenever it is gone through, always the same: kept, they would be hundreds of numbers for every row.

    Parameters:
        rows: number of rows.
        blocks: block of each row, or None.
        strata: class of each row; only used without blocks.
        seed: the same seed gives the same resamples, so both models of a pair see the same.
        replicates: how many.
    """

    rows: int
    blocks: NDArray[np.int64] | None
    strata: NDArray[np.int64]
    seed: int
    replicates: int = REPLICATES

    def __iter__(self) -> Iterator[Weights]:
        rng = np.random.default_rng(self.seed)
        if self.blocks is None:
            members = [np.flatnonzero(self.strata == stratum) for stratum in np.unique(self.strata)]
            for _ in range(self.replicates):
                yield _within(members, self.rows, rng)
            return
        count = int(self.blocks.max()) + 1 if self.rows else 0
        for _ in range(self.replicates):
            yield np.bincount(rng.integers(0, count, count), minlength=count)[self.blocks]


def _within(strata: Sequence[NDArray[np.intp]], rows: int, rng: np.random.Generator) -> Weights:
    weights = np.zeros(rows, dtype=np.int64)
    for members in strata:
        weights[members] = np.bincount(rng.integers(0, len(members), len(members)), minlength=len(members))
    return weights


def surer(look: int) -> int:
    """How many times as sure an episode's k-th look at the gates must be as its first: 1, 2, 4 ... up to 16."""
    return int(2 ** (min(look, _MOST_LOOKS) - 1))


def interval(values: Sequence[float] | NDArray[np.float64], tail: float = TAIL) -> tuple[float, float] | None:
    """The percentile interval, by default of 95 %; None when more than one resample in twenty has no value."""
    ends = quantiles(values, (tail, 1 - tail))
    return (ends[0], ends[1]) if ends else None


def quantiles(values: Sequence[float] | NDArray[np.float64], shares: Sequence[float]) -> list[float] | None:
    """Quantiles of the resamples; None when more than one in twenty has no value."""
    array = np.asarray(values, dtype=np.float64)
    known = array[np.isfinite(array)]
    if len(known) < 0.95 * len(array) or not len(known):
        return None
    return [float(value) for value in np.quantile(known, shares)]


def microseconds(times: Sequence[datetime]) -> NDArray[np.int64]:
    """Times as microseconds since the epoch."""
    return np.array([int(time.timestamp() * 1e6) for time in times], dtype=np.int64)
