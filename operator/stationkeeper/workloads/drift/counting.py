"""Rows counted as fast as they are read: one column after the other, so that memory is that of a few columns, not of the rows."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import polars as pl

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.drift.bins import AnyReference, CategoricalReference
from stationkeeper.workloads.drift.grid import Ints
from stationkeeper.workloads.drift.profile import Profile

AT_ONCE: Final = 1_000_000  # rows of a column in memory
_THREADS: Final = 2  # one column is read while another is counted


def count_rows(rows: pl.LazyFrame, none: Profile, *, at_once: int = AT_ONCE) -> Profile:
    """The profile of rows that hold every feature and output of a reference by its name.

    Args:
        rows: for example `pl.scan_parquet(...)`, of which only the columns that are counted are read.
        none: the profile of no rows, against the reference.
        at_once: rows of a column that are read at once.

    Raises:
        ColumnError: when a column is missing, or cannot be read as its kind.
    """
    known, height = set(rows.collect_schema().names()), int(rows.select(pl.len()).collect().item())
    columns = [column for _, column in none.layout.columns]

    def count(column: AnyReference, start: int) -> Ints:
        read = rows.slice(start, at_once).select(pl.col(column.name) if column.name in known else ()).collect()
        return _counts(column, read)

    total = none.fresh()
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, height, at_once):
            counts: Sequence[Ints] = list(pool.map(count, columns, [start] * len(columns)))
            total = total.merge(none.of(counts, min(at_once, height - start)))
    return total


def _counts(column: AnyReference, read: pl.DataFrame) -> Ints:
    if not read.columns:
        raise ColumnError(column.name, "is missing")
    # Chunk by chunk, as the file holds them: their arrays are looked at where they are, and never copied into one.
    chunks = [chunk.alias(column.name).to_frame() for chunk in read.to_series().get_chunks()]
    if isinstance(column, CategoricalReference):
        return sum((column.count(_tally(column.name, chunk)) for chunk in chunks), np.zeros(column.bins, dtype=np.int64))
    wanted = [Column(name=column.name, kind=ColumnKind.NUMERIC)]
    arrays = (from_frame(chunk, wanted)[column.name] for chunk in chunks)
    return sum((column.count(array) for array in arrays), np.zeros(column.bins, dtype=np.int64))


def _tally(name: str, rows: pl.DataFrame) -> Counter[Any]:
    """How often each distinct value is met."""
    distinct = rows.group_by(name).len("rows")
    words = from_frame(distinct, [Column(name=name, kind=ColumnKind.CATEGORICAL)])[name]
    tally: Counter[Any] = Counter()
    for word, times in zip(words.tolist(), distinct["rows"].to_list(), strict=True):
        tally[word] += times  # a boolean's words are fewer than its values
    return tally
