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
_INTERVAL = (2.5, 97.5)
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


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float] | None:
    """The 95 % percentile interval; None when more than one resample in twenty has no value."""
    array = np.asarray(values, dtype=np.float64)
    known = array[np.isfinite(array)]
    if len(known) < 0.95 * len(array) or not len(known):
        return None
    low, high = np.percentile(known, _INTERVAL)
    return float(low), float(high)


def microseconds(times: Sequence[datetime]) -> NDArray[np.int64]:
    """Times as microseconds since the epoch."""
    return np.array([int(time.timestamp() * 1e6) for time in times], dtype=np.int64)
