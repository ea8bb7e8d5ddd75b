"""Captured rows as Parquet, one schema for every file of a pod: `artifacts.captured` says which."""

import io
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Column, ColumnKind, Manifest
from stationkeeper.workloads.artifacts.captured import EVENT_AT, INPUT, OUTPUT, TIME_SOURCE, event_at
from stationkeeper.workloads.artifacts.columns import Array, Columns
from stationkeeper.workloads.serving.buffer import Answered
from stationkeeper.workloads.serving.moments import SOURCES, Moments, Source

_TYPES: Final[dict[ColumnKind, type[pl.DataType]]] = {
    ColumnKind.NUMERIC: pl.Float64,
    ColumnKind.CATEGORICAL: pl.String,
    ColumnKind.BOOLEAN: pl.Boolean,
}
_SOURCES: Final = pl.Series([source.value for source in SOURCES], dtype=pl.String)
_BOOLEANS: Final = {"true": True, "false": False, None: None}


def concatenated(parts: Sequence[Columns]) -> dict[str, Array]:
    """Columns of several requests under one another."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def frame(
    entries: Sequence[Answered],
    columns: Columns,
    outputs: Columns,
    kept: Sequence[int],
    manifest: Manifest,
    digest: str,
    rate: float,
    times: Moments | None = None,
) -> pl.DataFrame:
    """The first `kept[i]` rows of each entry; `columns`, `outputs` and `times` are those of all entries, concatenated."""
    counts = np.array([entry.rows for entry in entries], dtype=np.int64)
    firsts = np.cumsum(counts) - counts
    position: NDArray[np.int64] = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(firsts, counts)
    chosen = np.flatnonzero(position < np.repeat(np.array(kept, dtype=np.int64), counts))
    owner = np.repeat(np.arange(len(entries)), counts)[chosen]
    arrived = np.array([round(entry.arrived * 1e6) for entry in entries], dtype=np.int64)
    ids = [entries[i].request_id for i in owner.tolist()]
    series = [
        pl.Series("request_id", ids, dtype=pl.String),
        pl.Series("row", position[chosen].astype(np.uint32)),
        pl.Series("arrived_at", arrived[owner]).cast(pl.Datetime("us", "UTC")),
        pl.Series("revision", [digest], dtype=pl.String).new_from_index(0, len(ids)),
        pl.Series("sample_rate", [rate], dtype=pl.Float64).new_from_index(0, len(ids)),
    ]
    series += [] if times is None else _times(times, chosen)
    series += [_input(feature, columns[feature.name][chosen]) for feature in manifest.features]
    series += [_output(name, values[chosen]) for name, values in sorted(outputs.items())]
    return pl.DataFrame(series)


def _times(times: Moments, chosen: NDArray[np.int64]) -> list[pl.Series]:
    source = _SOURCES.gather(times.source[chosen]).alias(TIME_SOURCE)
    at = pl.Series(EVENT_AT, times.at[chosen]).cast(pl.Datetime("us", "UTC"))
    return [at.set(source != Source.EVENT.value, None), source]


def minutes(rows: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Rows by the minute that they happened in, and when it begins, in seconds since 1970."""
    parts = rows.with_columns(event_at(rows).dt.truncate("1m").dt.epoch("s").alias("")).partition_by(
        "", include_key=False, as_dict=True
    )
    yield from ((int(minute), part) for (minute,), part in sorted(parts.items()))


def _input(feature: Column, values: Array) -> pl.Series:
    name = INPUT + feature.name
    if feature.kind is ColumnKind.NUMERIC:
        return pl.Series(name, values, dtype=pl.Float64, nan_to_null=True)
    items = values.tolist()
    if feature.kind is ColumnKind.BOOLEAN:
        items = [_BOOLEANS.get(item) for item in items]
    return pl.Series(name, items, dtype=_TYPES[feature.kind])


def _output(name: str, values: Array) -> pl.Series:
    if values.dtype.kind == "O":
        return pl.Series(OUTPUT + name, values.tolist(), dtype=pl.String)
    return pl.Series(OUTPUT + name, values, dtype=pl.Float64)


def parquet(rows: pl.DataFrame) -> bytes:
    """Rows as a Parquet file."""
    target = io.BytesIO()
    rows.write_parquet(target, compression="zstd")
    return target.getvalue()
