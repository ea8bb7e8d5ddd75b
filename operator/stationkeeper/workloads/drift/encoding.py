"""Columns as one matrix of numbers, for what looks at all columns together.

numeric      normal scores: by the reference's own quantiles onto the normal distribution, so that no tail and no unit outweighs the
             rest; a missing value is 0, and one more dimension says that it was missing where that is neither rare nor the rule.
categorical  one dimension for each of the most frequent categories: 1 or 0.

Every dimension is then standardised. An encoding holds quantiles and common categories only: no row.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stationkeeper.api.base import Tolerant
from stationkeeper.workloads.drift.bins import RARE
from stationkeeper.workloads.drift.grid import Floats

MAX_COLUMNS: Final = 200  # what is computed grows with the square of the dimensions
MAX_CATEGORIES: Final = 8  # of one column
_LEVELS: Final = np.linspace(0.01, 0.99, 50)
_NORMAL: Final = np.array([NormalDist().inv_cdf(level) for level in _LEVELS])
_SHARE: Final = 0.01  # of rows: what is rarer, or as common as all others, gets no dimension
_TINY: Final = 1e-290
_FAR: Final = 6.0  # standard deviations, beyond which a value says no more
_DIGITS: Final = 6

Array = NDArray[Any]


class EncodedColumn(Tolerant):
    """How one column becomes dimensions."""

    name: str
    kind: Literal["numeric", "categorical"]
    values: Annotated[list[float], Field(max_length=64)] = []  # ascending: quantiles of a numeric column ...
    scores: Annotated[list[float], Field(max_length=64)] = []  # ... and their normal scores
    missing: bool = False  # one more dimension says whether the value is missing
    categories: Annotated[list[str], Field(max_length=MAX_CATEGORIES)] = []

    @property
    def dimensions(self) -> int:
        """How many."""
        return bool(self.values) + self.missing + len(self.categories)

    def encode(self, values: Array) -> Iterator[Floats]:
        """The dimensions, not standardised yet."""
        if self.kind == "categorical":
            yield from ((values == category).astype(np.float64) for category in self.categories)
            return
        if self.values:
            knots = np.array(self.values)
            if np.abs(knots).max() < _TINY:  # so near to zero that a slope between them would be infinite
                with np.errstate(over="ignore"):  # far from all of them is far enough
                    values, knots = values / _TINY, knots / _TINY
            yield np.nan_to_num(np.interp(values, knots, self.scores), nan=0.0)
        if self.missing:
            yield np.isnan(values).astype(np.float64)


class Encoding(Tolerant):
    """How all columns become a matrix."""

    columns: Annotated[list[EncodedColumn], Field(max_length=MAX_COLUMNS)]
    means: list[float]
    scales: list[Annotated[float, Field(gt=0)]]

    @classmethod
    def fit(cls, columns: Mapping[str, Array]) -> Self:
        """The encoding of columns as `artifacts.columns` has them; the first `MAX_COLUMNS`. Constants get no dimension."""
        found = [_fit(name, values) for name, values in list(columns.items())[:MAX_COLUMNS]]
        raw = _raw([column for column in found if column.dimensions], columns)
        scales = raw.std(axis=0)
        return cls(
            columns=[column for column in found if column.dimensions],
            means=np.round(raw.mean(axis=0), _DIGITS).tolist(),
            scales=np.round(np.where(scales > 1e-3, scales, 1.0), _DIGITS).tolist(),
        )

    @property
    def dimensions(self) -> int:
        """Width of the matrix."""
        return len(self.means)

    @property
    def spans(self) -> dict[str, slice]:
        """The dimensions of each column."""
        ends = np.cumsum([column.dimensions for column in self.columns]).tolist()
        return {c.name: slice(end - c.dimensions, end) for c, end in zip(self.columns, ends, strict=True)}

    def matrix(self, columns: Mapping[str, Array]) -> Floats:
        """Rows as points, shape (rows, dimensions): mean 0 and standard deviation 1 over the rows of the fit.

        Raises:
            KeyError: when a column is missing.
        """
        z = (_raw(self.columns, columns) - np.array(self.means)) / np.array(self.scales)
        points: Floats = np.clip(z, -_FAR, _FAR)
        return points


def _raw(encoded: list[EncodedColumn], columns: Mapping[str, Array]) -> Floats:
    dimensions = [dimension for column in encoded for dimension in column.encode(columns[column.name])]
    return np.stack(dimensions, axis=1) if dimensions else np.empty((height(columns), 0))


def _fit(name: str, values: Array) -> EncodedColumn:
    if values.dtype.kind == "f":
        return _numeric(name, values)
    tally = Counter(value for value in values.tolist() if value is not None)
    least = max(RARE, _SHARE * len(values))
    common = sorted((-count, category) for category, count in tally.items() if least <= count <= len(values) - least)
    return EncodedColumn(name=name, kind="categorical", categories=[category for _, category in common[:MAX_CATEGORIES]])


def _numeric(name: str, values: Floats) -> EncodedColumn:
    finite = values[np.isfinite(values)]
    missing = bool(_SHARE <= np.isnan(values).mean() <= 1 - _SHARE) if values.size else False
    knots = np.quantile(finite, _LEVELS) if finite.size >= RARE else np.empty(0)
    # A value of much mass is met at several levels: it gets the mean of their scores.
    known, which = np.unique(knots, return_inverse=True)
    if known.size < 2:
        return EncodedColumn(name=name, kind="numeric", missing=missing)
    scores = np.bincount(which, _NORMAL) / np.bincount(which)
    return EncodedColumn(
        name=name, kind="numeric", values=known.tolist(), scores=np.round(scores, _DIGITS).tolist(), missing=missing
    )


def height(columns: Mapping[str, Array]) -> int:
    """The number of rows."""
    return len(next(iter(columns.values()), ()))


def at(columns: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    """The rows of these numbers, or where a mask says so."""
    return {name: values[rows] for name, values in columns.items()}


def sampled(columns: Mapping[str, Array], most: int, rng: np.random.Generator) -> dict[str, Array]:
    """At most so many rows, in their order, each as likely as any other."""
    rows = height(columns)
    return dict(columns) if rows <= most else at(columns, np.sort(rng.choice(rows, most, replace=False)))
