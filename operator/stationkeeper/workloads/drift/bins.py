"""The reference of one column: its bins, and how often the rows that a revision learned from met each.

Numeric columns are counted in about 64 bins of equal mass, categorical ones by their most frequent values. Values in fewer
than `RARE` rows are not named.
"""

from collections import Counter
from collections.abc import Mapping
from copy import copy
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stationkeeper.api.base import Tolerant
from stationkeeper.api.manifest import ColumnKind
from stationkeeper.workloads.drift import grid
from stationkeeper.workloads.drift.grid import Floats, Ints

BINS: Final = 64
MAX_BINS: Final = 3 * BINS + 2 * grid.TAIL
MAX_CATEGORIES: Final = 254
MAX_CATEGORY_LENGTH: Final = 128
RARE: Final = 20  # rows; a rarer value could name a person, and the profile is never deleted
GRID_ROWS: Final = 20_000  # that centre and scale of a grid are chosen by
_SEED: Final = 2013

Array = NDArray[Any]
Count = Annotated[int, Field(ge=0, le=2**53)]


class NumericReference(Tolerant):
    """A numeric column or output. Bins in the order of `vector`: below, the bins, above, missing."""

    kind: Literal["numeric"] = "numeric"
    name: str
    center: float
    scale: Annotated[float, Field(gt=0)]
    edges: Annotated[list[Annotated[int, Field(ge=0, lt=grid.CELLS + 1)]], Field(max_length=MAX_BINS)]  # ranks, ascending
    top: int  # rank of the highest value
    counts: list[Count]
    missing: Count
    minimum: float | None = None
    maximum: float | None = None
    fractions: Annotated[float | None, Field(ge=0, le=1)] = (
        None  # share of its numbers that are not whole; None of earlier builds
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.counts) != len(self.edges):
            raise ValueError("as many counts as bins are needed")
        if any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)) or (self.edges and self.top < self.edges[-1]):
            raise ValueError("edges must ascend")
        return self

    @property
    def bins(self) -> int:
        """Length of `vector`."""
        return len(self.edges) + 3

    @property  # not kept: a copy with other counts would keep it too
    def vector(self) -> Ints:
        """The counts of the reference in the layout of a profile."""
        return np.array([0, *self.counts, 0, self.missing], dtype=np.int64)

    @cached_property
    def table(self) -> NDArray[np.uint8]:
        """Bin of each cell of the grid."""
        return grid.table(np.array(self.edges, dtype=np.int64), self.top)

    @cached_property
    def cuts(self) -> Floats:
        """The borders of the bins between below and above, one more than those; empty without a finite value."""
        if self.minimum is None or self.maximum is None:
            return np.empty(0)
        ranks = np.array([*self.edges, self.top + 1], dtype=np.int64)
        with np.errstate(over="ignore"):
            return np.clip(self.center + self.scale * grid.borders(ranks), self.minimum, self.maximum)

    @cached_property
    def points(self) -> Floats:
        """Where the values of each bin but the missing lie, in units of `scale` from the centre; out of range at the range's end.

        Cells grow with the distance from the centre, so a wide bin holds most of its values near its inner border: its point
        is the logarithmic mean of the borders.
        """
        if not self.cuts.size:
            return self.cuts
        z = self.cuts / self.scale - self.center / self.scale
        return np.concatenate((z[:1], grid.means(z[:-1], z[1:]), z[-1:]))

    def index(self, values: Array) -> Ints:
        """Bin of each value; numbers, NaN for missing."""
        return self.table.take(grid.codes(np.asarray(values, dtype=np.float64), self.center, 1 / self.scale)).astype(np.int64)

    def count(self, values: Array) -> Ints:
        """How often each bin is met; numbers, NaN for missing."""
        return grid.tally(values, self.center, 1 / self.scale, self.table, self.bins)


class CategoricalReference(Tolerant):
    """A categorical or boolean column or output. Bins in the order of `vector`: the categories, any other, missing."""

    kind: Literal["categorical"] = "categorical"
    name: str
    categories: Annotated[list[str], Field(max_length=4096)]
    counts: list[Count]
    other: Count = 0
    missing: Count = 0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.counts) != len(self.categories) or len(set(self.categories)) != len(self.categories):
            raise ValueError("each category needs one count")
        return self

    @property
    def bins(self) -> int:
        """Length of `vector`."""
        return len(self.categories) + 2

    @property  # not kept: a copy with other counts would keep it too
    def vector(self) -> Ints:
        """The counts of the reference in the layout of a profile."""
        return np.array([*self.counts, self.other, self.missing], dtype=np.int64)

    @property
    def points(self) -> Floats:
        """Categories lie nowhere."""
        return np.empty(0)

    @cached_property
    def lookup(self) -> dict[Any, int]:
        """Bin of each known value, None included."""
        return {**{name: i for i, name in enumerate(self.categories)}, None: len(self.categories) + 1}

    def index(self, values: Array) -> Ints:
        """Bin of each value; strings, None for missing."""
        lookup, other = self.lookup, len(self.categories)
        return np.fromiter((lookup.get(v, other) for v in values.tolist()), dtype=np.int64, count=len(values))

    def count(self, tally: Mapping[Any, int]) -> Ints:
        """How often each bin is met, from how often each distinct value is."""
        counts, lookup, other = [0] * self.bins, self.lookup, len(self.categories)
        for value, times in tally.items():
            counts[lookup.get(value, other)] += times
        return np.array(counts, dtype=np.int64)


AnyReference = NumericReference | CategoricalReference
Reference = Annotated[AnyReference, Field(discriminator="kind")]


def column_reference(name: str, values: Array, kind: ColumnKind | None, support: Array | None = None) -> AnyReference:
    """Count the values of a column; without a kind numbers are numeric, all else categories that may be named.

    Args:
        name: of the column.
        values: that are counted.
        kind: how they are treated.
        support: these values and others, which give the range and the categories; without it, the values alone.
    """
    support = values if support is None else support
    if kind is ColumnKind.NUMERIC or (kind is None and np.asarray(values).dtype.kind in "fiu"):
        numbers, whole = np.asarray(values, dtype=np.float64), np.asarray(support, dtype=np.float64)
        chosen = numbers if np.isfinite(numbers).any() else whole
        counted = Numbers(name, chosen[positions(chosen.size)])
        counted.add(numbers)
        if support is values:
            return counted.reference()
        further = counted.alike()
        further.add(whole)
        return counted.reference(further)
    tally: Counter[Any] = Counter(np.asarray(values, dtype=object).tolist())
    known = tally if support is values else Counter(np.asarray(support, dtype=object).tolist())
    return words_reference(name, tally, len(values), least(kind), known)


def least(kind: ColumnKind | None) -> int:
    """Rows that a category needs to be named: booleans and class labels name no person, however rare."""
    return RARE if kind is ColumnKind.CATEGORICAL else 1


def positions(rows: int) -> Ints:
    """The rows whose values choose the grids of columns: all of a few, always the same of many."""
    if rows <= GRID_ROWS:
        return np.arange(rows)
    return np.random.default_rng(_SEED).integers(0, rows, GRID_ROWS)


class Numbers:
    """A numeric reference in the making. Its grid is chosen by some of the values; all are counted, in any number of parts."""

    def __init__(self, name: str, chosen: Floats) -> None:
        self._name = name
        finite = chosen[np.isfinite(chosen)]
        self._center, self._scale = _fitting_grid(finite)
        self._fractions = float((finite != np.floor(finite)).mean()) if finite.size else None
        self._cells = np.zeros(grid.CELLS, dtype=np.int64)
        self._low, self._high = np.inf, -np.inf

    def add(self, values: Floats) -> None:
        """Count more values; NaN for missing."""
        if not values.size:
            return
        self._cells += grid.masses(values, self._center, 1 / self._scale)
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = values[np.isfinite(values)]
            low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        self._low, self._high = min(self._low, float(low)), max(self._high, float(high))

    def alike(self) -> "Numbers":
        """Another one on the same grid, that has counted nothing."""
        made = copy(self)
        made._cells, made._low, made._high = np.zeros_like(self._cells), np.inf, -np.inf
        return made

    def reference(self, support: "Numbers | None" = None) -> NumericReference:
        """The bins of all values, and their counts; `support`, on the same grid, are these and others: they give the range."""
        mass, whole = grid.by_rank(self._cells), support or self
        edges, top = grid.edges(mass if self._low <= self._high else grid.by_rank(whole._cells), BINS)
        edges, top = _widened(edges, top, np.flatnonzero(grid.by_rank(whole._cells)))
        finite = whole._low <= whole._high
        return NumericReference(
            name=self._name,
            center=self._center + 0.0,  # of the two zeros always the same
            scale=self._scale,
            edges=edges.tolist(),
            top=top,
            counts=np.add.reduceat(mass, edges).tolist() if edges.size else [],
            missing=int(self._cells[grid.NAN].sum()),
            minimum=whole._low + 0.0 if finite else None,
            maximum=whole._high + 0.0 if finite else None,
            fractions=self._fractions,
        )


def _widened(edges: Ints, top: int, ranks: Ints) -> tuple[Ints, int]:
    """The bins with one more on each side on which further ranks lie: within the range, where these values have been."""
    low, high = (int(ranks.min()), int(ranks.max())) if ranks.size else (0, 0)
    if not edges.size:
        return edges, top
    if low < edges[0]:
        edges = np.append(low, edges)
    return (np.append(edges, top + 1), high) if high > top else (edges, top)


def _fitting_grid(finite: NDArray[np.float64]) -> tuple[float, float]:
    """Centre and scale for which the bins hold what they should; two far clusters need the grid centred on one of them."""
    best = grid.center_and_scale(finite)
    if not finite.size:
        return best
    share, crowded = grid.coarseness(finite, grid.RANK[grid.codes(finite, best[0], 1 / best[1])], BINS)
    if share:
        other = grid.center_and_scale(crowded)
        if grid.coarseness(finite, grid.RANK[grid.codes(finite, other[0], 1 / other[1])], BINS)[0] < share:
            return other
    return best


def words_reference(
    name: str, tally: Mapping[Any, int], rows: int, rare: int, support: Mapping[Any, int] | None = None
) -> CategoricalReference:
    """The reference of categories.

    Args:
        name: of the column.
        tally: rows of each value, None for missing; values that are left out are other ones.
        rows: all of them.
        rare: rows that a category needs to be named.
        support: the same of these values and others, which say what is named; without it, the tally itself.
    """
    known = tally if support is None else support
    missing = tally.get(None, 0)
    named = [(str(v), n) for v, n in known.items() if v is not None and n >= rare and len(str(v)) <= MAX_CATEGORY_LENGTH]
    kept = [name for name, _ in sorted(named, key=lambda item: (-item[1], item[0]))[:MAX_CATEGORIES]]
    met = {str(v): n for v, n in tally.items() if v is not None}
    counts = [met.get(name, 0) for name in kept]
    return CategoricalReference(name=name, categories=kept, counts=counts, other=rows - missing - sum(counts), missing=missing)
