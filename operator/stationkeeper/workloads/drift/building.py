"""The reference of rows that are read as they are counted: what `build_reference` gives for rows in memory.

The grid of a column is chosen by some of its values, its bins by all of them.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.drift.bins import (
    MAX_CATEGORIES,
    MAX_CATEGORY_LENGTH,
    AnyReference,
    CategoricalReference,
    Numbers,
    least,
    positions,
    words_reference,
)
from stationkeeper.workloads.drift.counting import Each, distinct_values, each_column, numbers_of
from stationkeeper.workloads.drift.grid import Floats
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.stability import unstable
from stationkeeper.workloads.drift.table import Table
from stationkeeper.workloads.drift.variation import Variation, variations

_DISTINCT: Final = 2_000_000  # values of a column that are tallied; beyond, the rarer half is forgotten: none of it is named
_INDEX_BYTES: Final = 64 * 2**20  # bins of rows that are held at once

Array = NDArray[Any]


def build_from(
    table: Table, features: Sequence[Column], predictions: Sequence[str] = (), *, timestamps: Array | None = None
) -> ReferenceProfile:
    """Profile the rows of a table.

    Args:
        table: at least one row.
        features: which columns, and how they are treated.
        predictions: the columns that a model answered: numbers, or anything else by what it looks like as text.
        timestamps: datetime64 of the rows. With them the ordinary variation between contiguous blocks of rows is measured.

    Raises:
        ColumnError: when a column cannot be read as its kind.
        ValueError: when there is no row.
    """
    if not table.rows:
        raise ValueError("a reference profile needs at least one row")
    kinds: dict[str, ColumnKind | None] = {column.name: column.kind for column in features}
    made = _made(table, kinds | dict.fromkeys(predictions))
    outputs = sorted(predictions)
    variation, moved = ([], list[str]()) if timestamps is None else _variation(table, made, outputs, timestamps)
    return ReferenceProfile(
        rows=table.rows,
        prediction_rows=table.rows if outputs else 0,
        features=[made[column.name] for column in features],
        predictions=[made[name] for name in outputs],
        variation=variation,
        unstable=moved,
    )


class _Words:
    """A categorical reference in the making."""

    def __init__(self, name: str, kind: ColumnKind | None) -> None:
        self._name = name
        self._kind = kind
        self._rows = 0
        self._tally: pl.DataFrame | None = None

    def add(self, values: pl.Series) -> None:
        """Count more values."""
        words = values.cast(pl.String) if self._kind is None else values
        found = distinct_values(words.alias(self._name))
        found = found.select(pl.Series("value", self._texts(found), dtype=pl.String), "rows")
        self._rows += len(values)
        if self._tally is None:
            self._tally = found.cast({"rows": pl.Int64})
            return
        self._tally = pl.concat((self._tally, found.cast(self._tally.schema))).group_by("value").agg(pl.col("rows").sum())
        if self._tally.height > _DISTINCT:
            self._tally = self._tally.top_k(_DISTINCT // 2, by="rows")

    def _texts(self, distinct: pl.DataFrame) -> pl.Series | list[str | None]:
        """Distinct values as they are named."""
        if self._kind is ColumnKind.BOOLEAN:
            texts: list[str | None] = from_frame(distinct, [Column(name=self._name, kind=self._kind)])[self._name].tolist()
            return texts
        if self._kind is not None:  # refuses what is no text
            from_frame(distinct.head(0), [Column(name=self._name, kind=self._kind)])
        return distinct[self._name].cast(pl.String)

    def reference(self) -> CategoricalReference:
        """The categories of all values, and their counts."""
        assert self._tally is not None
        tally = self._tally.group_by("value").agg(pl.col("rows").sum())  # a boolean's words are fewer than its values
        fitting = (pl.col("value").str.len_chars() <= MAX_CATEGORY_LENGTH) & (pl.col("rows") >= least(self._kind))
        top = tally.filter(fitting).sort("rows", "value", descending=[True, False]).head(MAX_CATEGORIES)
        named = dict(zip(top["value"].to_list(), top["rows"].to_list(), strict=True))
        missing = int(tally.filter(pl.col("value").is_null())["rows"].sum())
        return words_reference(self._name, {**named, None: missing}, self._rows, 1)


def _made(table: Table, kinds: Mapping[str, ColumnKind | None]) -> dict[str, AnyReference]:
    names = list(kinds)
    numeric = [name for name in names if _is_numeric(table.schema[name], kinds[name])]
    words = {name: _Words(name, kinds[name]) for name in names if name not in numeric}
    numbers: dict[str, Numbers] = {}
    with each_column() as each:
        if not _at_once(table, names):  # else a column need not be read twice
            numbers = {name: Numbers(name, values) for name, values in _samples(table, numeric, each).items()}

        def add(values: pl.Series) -> None:
            name = values.name
            if name in words:
                return words[name].add(values)
            if name not in numbers:
                numbers[name] = Numbers(name, _numbers(values.gather(positions(len(values)))))
            for part in numbers_of(values):
                numbers[name].add(part)
            return None

        for part in table.parts(names):
            for _ in each(part, names, add):
                pass
    makers: dict[str, Numbers | _Words] = {**numbers, **words}
    return {name: makers[name].reference() for name in names}


def _at_once(table: Table, names: Sequence[str]) -> bool:
    return len(list(islice(table.parts(names), 2))) < 2


def _is_numeric(dtype: pl.DataType, kind: ColumnKind | None) -> bool:
    return kind is ColumnKind.NUMERIC or (kind is None and dtype.is_numeric())


def _numbers(values: pl.Series) -> Floats:
    return np.concatenate([np.empty(0), *numbers_of(values)])


def _samples(table: Table, names: Sequence[str], each: Each) -> dict[str, Floats]:
    """The values by which grids are chosen, as `bins.some` chooses them of a column in memory."""
    found: dict[str, list[Floats]] = {name: [] for name in names}
    wanted, start = positions(table.rows), 0
    for part in table.parts(names):
        here = np.sort(wanted[(wanted >= start) & (wanted < start + part.rows)]) - start
        start += part.rows
        if here.size:
            for name, values in each(part, names, lambda values, here=here: _numbers(values.gather(here))):  # type: ignore[misc]
                found[name].append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def _variation(
    table: Table, made: Mapping[str, AnyReference], outputs: Sequence[str], timestamps: Array
) -> tuple[list[Variation], list[str]]:
    """What windows of the rows differ by, and which features moved; so many columns at once that memory stays small."""
    times = np.asarray(timestamps).astype("datetime64[us]")
    order = np.argsort(times, kind="stable")
    order = order[~np.isnat(times[order])]
    size, found = max(_INDEX_BYTES // max(len(times), 1), 1), dict[int, Variation]()
    names, moved = list(made), list[str]()
    for start in range(0, len(names), size):
        index = _indexed(table, {name: made[name] for name in names[start : start + size]})
        group = [(name, made[name], bins[order]) for name, bins in index.items()]
        groups = {
            "features": ([column for column in group if column[0] not in outputs], times[order]),
            "predictions": ([column for column in group if column[0] in outputs], times[order]),
        }
        measured = variations({name: columns for name, columns in groups.items() if columns[0]})
        if groups["features"][0]:
            moved += unstable(*groups["features"], measured, among=len(made) - len(outputs))
        for one in measured:
            whole = found.setdefault(one.size, Variation(size=one.size))
            found[one.size] = whole.model_copy(
                update={"features": whole.features | one.features, "predictions": whole.predictions | one.predictions}
            )
    return [found[size] for size in sorted(found)], moved


def _indexed(table: Table, columns: Mapping[str, AnyReference]) -> dict[str, Array]:
    """The bin of each row, in as few bytes as it needs."""
    found: dict[str, list[Array]] = {name: [] for name in columns}

    def index(values: pl.Series) -> Array:
        column = columns[values.name]
        if isinstance(column, CategoricalReference):
            return _places(column, values)
        return column.index(_numbers(values)).astype(np.min_scalar_type(column.bins))

    with each_column() as each:
        for part in table.parts(list(columns)):
            for name, bins in each(part, list(columns), index):
                found[name].append(bins)
    return {name: np.concatenate(bins) for name, bins in found.items()}


def _places(column: CategoricalReference, values: pl.Series) -> Array:
    other, missing = len(column.categories), len(column.categories) + 1
    words = values.cast(pl.String)
    known = words.replace_strict(column.categories, list(range(other)), default=other, return_dtype=pl.UInt16)
    bins: Array = pl.select(pl.when(words.is_null()).then(missing).otherwise(known)).to_series().cast(pl.UInt16).to_numpy()
    return bins
