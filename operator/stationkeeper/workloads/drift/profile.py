"""The profile of traffic: how often each bin of the reference was met.

All counts are one vector of integers, so merging is addition: associative, commutative, and equal to the profile of all rows
together. `codec` gives it bytes.

    rows | refused rows | extra rows of unnamed columns | bins of each feature | bins of each output |
    rows refused because a feature was missing, per feature | ... because it had another type, per feature
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.drift import codec, grid
from stationkeeper.workloads.drift.grid import Ints
from stationkeeper.workloads.drift.reference import AnyReference, CategoricalReference, NumericReference, ReferenceProfile

MAX_EXTRA: Final = 32  # names of unknown columns that are kept: callers choose them
_SMALL_BATCH: Final = 2048  # rows; below, the cost is that of calling numpy, above that of memory
_BATCH: Final = 64  # profiles that are added up at once: their counts stay in the processor's cache
_ROWS, _REFUSED, _UNNAMED, _HEAD = 0, 1, 2, 3

Array = NDArray[Any]


class _Numeric:
    """The numeric columns of one group. Small batches are counted as one matrix, large ones column by column."""

    def __init__(self, columns: Sequence[NumericReference], offsets: Sequence[int], total: int) -> None:
        self._columns = list(zip(columns, offsets, strict=True))
        self._names = [column.name for column in columns]
        self._total = total
        self._center = np.array([[c.center] for c in columns])
        self._inverse = np.array([[1 / c.scale] for c in columns])
        self._tables = np.concatenate([c.table for c in columns]) if columns else np.empty(0, np.uint8)
        self._base = (np.arange(len(columns), dtype=np.int64) * grid.CELLS)[:, None]
        self._offset = np.array(offsets, dtype=np.int64)[:, None]

    def count(self, values: Mapping[str, Array], rows: int) -> Ints:
        """Counts of these columns in a vector of the whole profile's length."""
        if not self._names:
            return np.zeros(self._total, dtype=np.int64)
        return self._by_column(values) if rows > _SMALL_BATCH else self._together(values)

    def _together(self, values: Mapping[str, Array]) -> Ints:
        matrix = np.stack([np.asarray(values[name], dtype=np.float64) for name in self._names])
        cells = grid.codes(matrix, self._center, self._inverse) + self._base
        bins = self._tables.take(cells) + self._offset
        return np.bincount(bins.ravel(), minlength=self._total)

    def _by_column(self, values: Mapping[str, Array]) -> Ints:
        counts = np.zeros(self._total, dtype=np.int64)
        for column, offset in self._columns:
            counts[offset : offset + column.bins] += column.count(values[column.name])
        return counts


@dataclass(frozen=True)
class Layout:
    """Where each count of a reference's profiles is."""

    reference: ReferenceProfile

    @cached_property
    def spans(self) -> dict[tuple[str, str], slice]:
        """Bins of each column, by group (`features`, `predictions`) and name."""
        spans, at = {}, _HEAD
        for group, column in self.columns:
            spans[group, column.name] = slice(at, at + column.bins)
            at += column.bins
        return spans

    @cached_property
    def columns(self) -> list[tuple[str, AnyReference]]:
        """Features, then predictions, with the name of their group."""
        return [("features", c) for c in self.reference.features] + [("predictions", c) for c in self.reference.predictions]

    @cached_property
    def starts(self) -> Ints:
        """Where the bins of each column begin, in the order of `columns`."""
        return np.array([span.start for span in self.spans.values()], dtype=np.int64)

    @cached_property
    def bins_end(self) -> int:
        """End of the bins, where the refused rows of each feature begin."""
        return max((span.stop for span in self.spans.values()), default=_HEAD)

    @cached_property
    def size(self) -> int:
        """Length of the vector."""
        return self.bins_end + 2 * len(self.reference.features)

    @cached_property
    def reader(self) -> codec.Reader:
        """Reads profiles of the reference."""
        return codec.Reader(self.reference.digest, self.size, MAX_EXTRA)

    @cached_property
    def position(self) -> dict[str, int]:
        """Number of each feature."""
        return {column.name: i for i, column in enumerate(self.reference.features)}

    @cached_property
    def numeric(self) -> dict[str, _Numeric]:
        """Counters of the numeric columns by group."""
        return {group: self._counter(group) for group in ("features", "predictions")}

    def _counter(self, group: str) -> _Numeric:
        mine = [c for g, c in self.columns if g == group and isinstance(c, NumericReference)]
        return _Numeric(mine, [self.spans[group, c.name].start for c in mine], self.size)

    @cached_property
    def categorical(self) -> dict[str, list[CategoricalReference]]:
        """Categorical columns by group."""
        return {
            group: [c for g, c in self.columns if g == group and isinstance(c, CategoricalReference)]
            for group in ("features", "predictions")
        }


@dataclass
class Profile:
    """Counts of traffic against one reference. Not safe for threads: one writer at a time."""

    layout: Layout
    vector: Ints
    extra_rows: dict[str, int] = field(default_factory=dict)  # of unknown columns, at most `MAX_EXTRA` names

    @classmethod
    def empty(cls, reference: ReferenceProfile) -> Self:
        """The profile of no rows. To make many for one reference, use `fresh` of one: the tables are shared."""
        layout = Layout(reference)
        return cls(layout, np.zeros(layout.size, dtype=np.int64))

    def fresh(self) -> "Profile":
        """An empty profile against the same reference, made in microseconds."""
        return Profile(self.layout, np.zeros(self.layout.size, dtype=np.int64))

    def of(self, counts: Sequence[Ints], rows: int) -> "Profile":
        """The profile of rows of which the bins of each column, in the order of `layout.columns`, were counted already."""
        found = self.fresh()
        found.vector[_ROWS] = rows
        found.vector[_HEAD : self.layout.bins_end] = np.concatenate(counts)
        return found

    @property
    def rows(self) -> int:
        """Rows that were counted."""
        return int(self.vector[_ROWS])

    @property
    def refused_rows(self) -> int:
        """Rows of requests that serving refused because a column was missing or of another type."""
        return int(self.vector[_REFUSED])

    @property
    def unnamed_extra_rows(self) -> int:
        """Rows with unknown columns beyond those named in `extra_rows`."""
        return int(self.vector[_UNNAMED])

    def counts(self, group: str, name: str) -> Ints:
        """Counts of a column in the layout of `reference.vector`; `group` is `features` or `predictions`."""
        return self.vector[self.layout.spans[group, name]]

    def refused_of(self, name: str) -> tuple[int, int]:
        """Rows refused because this feature was missing, and because it had another type."""
        at, features = self.layout.bins_end + self.layout.position[name], len(self.layout.position)
        return int(self.vector[at]), int(self.vector[at + features])

    def update(self, columns: Mapping[str, Array], predictions: Mapping[str, Array]) -> None:
        """Count rows that were answered. Names that the reference does not know are ignored.

        Args:
            columns: every feature. Numeric: floats, NaN for missing. Categorical and boolean: objects, str or None.
            predictions: every output of the reference, of the same length.

        Raises:
            ValueError: when a column or output is missing, or lengths differ; nothing is counted then.
        """
        rows = self._length({"features": columns, "predictions": predictions})
        counts = np.zeros(self.layout.size, dtype=np.int64)
        for group, values in (("features", columns), ("predictions", predictions)):
            counts += self.layout.numeric[group].count(values, rows)
            for column in self.layout.categorical[group]:
                span = self.layout.spans[group, column.name]
                counts[span] += column.count(Counter(values[column.name].tolist()))
        counts[_ROWS] += rows
        self.vector += counts

    def _length(self, groups: Mapping[str, Mapping[str, Array]]) -> int:
        lengths = set()
        for group, column in self.layout.columns:
            if column.name not in groups[group]:
                raise ValueError(f"{group}: {column.name!r} is missing")
            lengths.add(len(groups[group][column.name]))
        if len(lengths) > 1:
            raise ValueError(f"columns have different lengths: {sorted(lengths)}")
        return lengths.pop() if lengths else 0

    def refused(self, missing_columns: Sequence[str] = (), mismatched_columns: Sequence[str] = (), *, rows: int) -> None:
        """Count rows of a request that was refused, and the columns at fault; unknown names count as rows only."""
        at, features = self.layout.bins_end, len(self.layout.position)
        self.vector[_REFUSED] += rows
        for base, names in ((at, missing_columns), (at + features, mismatched_columns)):
            for name in set(names) & self.layout.position.keys():
                self.vector[base + self.layout.position[name]] += rows

    def extra(self, columns: Iterable[str], rows: int) -> None:
        """Count rows with columns that the model does not know. The alphabetically first names are kept."""
        for name in {name[:128] for name in columns}:
            self.extra_rows[name] = self.extra_rows.get(name, 0) + rows
        self._bound()

    def _bound(self) -> None:
        # Keeping the smallest names is what makes merging associative: a name that stays was never dropped before.
        for name in sorted(self.extra_rows)[MAX_EXTRA:]:
            self.vector[_UNNAMED] += self.extra_rows.pop(name)

    def merge(self, other: "Profile") -> "Profile":
        """The profile of both profiles' rows.

        Raises:
            ValueError: when they belong to different references.
        """
        if self.layout is not other.layout and self.layout.reference.digest != other.layout.reference.digest:
            raise ValueError("profiles of different references cannot be merged")
        merged = Profile(self.layout, self.vector.copy(), {**self.extra_rows})
        merged._add(other.vector, other.extra_rows)
        return merged

    def _add(self, vector: Ints, extra: Mapping[str, int]) -> None:
        self.vector += vector
        if extra:
            for name, rows in extra.items():
                self.extra_rows[name] = self.extra_rows.get(name, 0) + rows
            self._bound()

    def encode(self) -> bytes:
        """The bytes of a `.profile` object; see `codec`."""
        return codec.encode(self.layout.reference.digest, self.vector, self.extra_rows)

    @classmethod
    def decode(cls, data: bytes, reference: ReferenceProfile) -> Self:
        """Read what `encode` wrote. To read many, use `read` of one profile: the tables are shared.

        Raises:
            MalformedArtifact: when a bit is wrong, bytes lack, the reference is another or counts do not add up.
        """
        return cls._decode(data, Layout(reference))

    def read(self, data: bytes) -> "Profile":
        """`decode` against the same reference."""
        return Profile._decode(data, self.layout)

    def total(self, encoded: Iterable[bytes]) -> tuple["Profile", dict[int, MalformedArtifact]]:
        """`read` and `merge` of many, at a hundredth of a millisecond each.

        Returns:
            The profile of all that can be read, and what is wrong with the others by their place.
        """
        found, damaged = self.fresh(), dict[int, MalformedArtifact]()
        for many in _batched(enumerate(encoded)):
            alike: dict[int, dict[int, codec.Packed]] = {}  # by width and place
            for place, data in many:
                try:
                    packed = self.layout.reader.read(data)
                except MalformedArtifact as error:
                    damaged[place] = error
                else:
                    alike.setdefault(packed.width, {})[place] = packed
            for ones in alike.values():
                damaged |= found._add_packed(ones)
        return found, damaged

    def _add_packed(self, packed: Mapping[int, codec.Packed]) -> dict[int, MalformedArtifact]:
        """Add profiles of one width, but for those whose counts are wrong."""
        try:
            counts = codec.unpack(list(packed.values()))
        except MalformedArtifact as error:
            if len(packed) == 1:
                return dict.fromkeys(packed, error)
            return {k: v for place, one in packed.items() for k, v in self._add_packed({place: one}).items()}
        whole = _whole(counts, self.layout)
        self.vector += (counts if whole.all() else counts[whole]).sum(axis=0)
        for one in (one for one, fine in zip(packed.values(), whole, strict=True) if fine and one.names):
            self._add(np.zeros_like(self.vector), one.names)
        return {place: _LYING for place, fine in zip(packed, whole, strict=True) if not fine}

    @classmethod
    def _decode(cls, data: bytes, layout: Layout) -> Self:
        packed = layout.reader.read(data)
        counts = codec.unpack([packed])
        if not _whole(counts, layout).all():
            raise _LYING
        return cls(layout, counts[0], packed.names)


_LYING: Final = codec.malformed("the counts of a column do not add up to the rows")


def _batched(encoded: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    items = iter(encoded)
    while many := list(islice(items, _BATCH)):
        yield many


def _whole(counts: Ints, layout: Layout) -> NDArray[np.bool_]:
    """Whether the bins of each column add up to the rows, for each of some profiles; shape (profiles, counts)."""
    if not layout.starts.size:
        return np.ones(len(counts), dtype=np.bool_)
    sums = np.add.reduceat(counts[:, : layout.bins_end], layout.starts, axis=1)
    fine: NDArray[np.bool_] = (sums == counts[:, [_ROWS]]).all(axis=1)
    return fine
