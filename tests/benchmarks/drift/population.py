"""Columns whose true distribution is known: rows of them, and the counts of windows without their rows.

Windows are drawn as counts from the true shares of the reference's bins: that is the very distribution of what the engine sees of rows,
and a window of a million costs no more than one of 200. `rowwise` draws the rows themselves and has the engine count them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from scipy import stats

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.drift import grid
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import NumericReference, ReferenceProfile, build_reference
from tests.benchmarks.drift.alarms import Array, Generator
from tests.benchmarks.drift.batch import Batch

REFERENCE_ROWS: Final = 20_000


@dataclass(frozen=True)
class Numbers:
    """A numeric column, by its inverse distribution function and `below`: the share of values less than x."""

    inverse: Callable[[Array], Array]
    below: Callable[[Array], Array]
    missing: float = 0.0

    def draw(self, rng: Generator, rows: int) -> Array:
        """Values, NaN for missing."""
        return np.where(rng.random(rows) < self.missing, np.nan, self.inverse(rng.random(rows)))

    def shares(self, column: Any) -> Array:
        """The true share of each bin of a reference."""
        assert isinstance(column, NumericReference)
        z = grid.borders(np.array([*column.edges, column.top + 1]))
        z = z * np.where(z < 0, 1 - 1e-9, 1.0)  # on the left a cell ends with its upper border, on the right before it
        x = column.center + column.scale * z
        x = np.where((z > 0) & (x <= column.center), np.nextafter(column.center, np.inf), x)  # so near that adding rounds it away
        below = self.below(x)
        return np.append(np.diff(below, prepend=0.0, append=1.0) * (1 - self.missing), self.missing)


@dataclass(frozen=True)
class Words:
    """A categorical column, by the share of each word."""

    of: tuple[float, ...]

    def draw(self, rng: Generator, rows: int) -> Array:
        """Words."""
        return rng.choice([f"w{i}" for i in range(len(self.of))], rows, p=self.of).astype(object)

    def shares(self, column: Any) -> Array:
        """The true share of each bin of a reference."""
        p = np.array(self.of)
        named = [float(p[int(name[1:])]) for name in column.categories]
        return np.array([*named, max(1.0 - sum(named), 0.0), 0.0])


_FOURS: Final = stats.poisson(4).cdf(np.arange(60))

Population = dict[str, Numbers | Words]


def _zipf(words: int) -> tuple[float, ...]:
    weights = 1 / np.arange(1, words + 1)
    return tuple((weights / weights.sum()).tolist())


COLUMNS: Final[Population] = {
    "normal": Numbers(stats.norm.ppf, stats.norm.cdf),
    "lognormal": Numbers(stats.lognorm(1.5).ppf, stats.lognorm(1.5).cdf),
    "Cauchy": Numbers(stats.cauchy.ppf, stats.cauchy.cdf),
    "whole numbers": Numbers(lambda u: np.searchsorted(_FOURS, u).astype(float), lambda x: stats.poisson(4).cdf(np.ceil(x) - 1)),
    "minutes": Numbers(lambda u: np.floor(u * 1_440), lambda x: np.clip(np.ceil(x) / 1_440, 0, 1)),
    "often zero": Numbers(lambda u: np.maximum(u - 0.7, 0.0), lambda x: np.where(x > 0, np.clip(x + 0.7, 0, 1), 0.0), 0.05),
    "rarely missing": Numbers(stats.norm.ppf, stats.norm.cdf, 0.001),
    "four words": Words((0.4, 0.3, 0.2, 0.1)),
    "a thousand words": Words(_zipf(1_000)),
    "rarely true": Words((0.99, 0.01)),
}
ANSWERS: Final[Population] = {
    "probability": Numbers(stats.beta(2, 5).ppf, stats.beta(2, 5).cdf),
    "label": Words((0.8, 0.2)),
}


def reference(
    rng: Generator, columns: Population = COLUMNS, rows: int = REFERENCE_ROWS, answers: Population | None = None
) -> ReferenceProfile:
    """A reference of these columns, and of what a model answered, drawn."""
    kinds = {name: ColumnKind.NUMERIC if isinstance(c, Numbers) else ColumnKind.CATEGORICAL for name, c in columns.items()}
    frame = pl.DataFrame({name: pl.Series(column.draw(rng, rows).tolist()) for name, column in columns.items()})
    answered = {name: column.draw(rng, rows) for name, column in (answers or {}).items()}
    return build_reference(frame, [Column(name=name, kind=kind) for name, kind in kinds.items()], answered)


def drawn(rng: Generator, of: ReferenceProfile, rows: int, count: int, columns: Population = COLUMNS) -> Batch:
    """So many windows of so many rows of these columns, as counts."""
    true = columns | ANSWERS
    groups = [("features", c) for c in of.features] + [("predictions", c) for c in of.predictions]
    counts = {(group, c.name): rng.multinomial(rows, _whole(true[c.name].shares(c)), count) for group, c in groups}
    return Batch(of, rows, counts)


def rowwise(rng: Generator, of: ReferenceProfile, rows: int, count: int, columns: Population = COLUMNS) -> Batch:
    """The same from rows, counted as serving counts them."""
    true, empty, windows = columns | ANSWERS, Profile.empty(of), list[Profile]()
    for _ in range(count):
        inputs, outputs = ({c.name: true[c.name].draw(rng, rows) for c in group} for group in (of.features, of.predictions))
        windows.append(empty.fresh())
        windows[-1].update(inputs, outputs)
    keys = [("features", c.name) for c in of.features] + [("predictions", c.name) for c in of.predictions]
    return Batch(of, rows, {key: np.stack([window.counts(*key) for window in windows]) for key in keys})


def _whole(shares: Array) -> Array:
    clipped: Array = np.clip(shares, 0.0, 1.0)
    found: Array = clipped / clipped.sum()
    return found
