"""Reading Parquet and CSV into frames, one object at a time, and making sense of time."""

import csv
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from stationkeeper.api.training import Data
from stationkeeper.workloads.training.ending import invalid

log = logging.getLogger(__name__)

_TOLD: Final = 10  # lines about how far reading is

Select = Callable[[Sequence[str]], Collection[str]]
NULLS = ["", "NA", "NaN", "nan", "null", "NULL"]


def columns_of(path: Path, data: Data) -> list[str]:
    """The column names of a file.

    Raises:
        AttemptEnded: InvalidData when it cannot be read, or names one column twice.
    """
    try:
        if data.format == "parquet":
            names = list(pl.read_parquet_schema(path))
        else:
            with path.open(newline="", encoding="utf-8-sig") as file:
                names = next(csv.reader(file), [])
    except (PolarsError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise malformed(path, data, error) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid("DuplicateColumn", f"{path.name} under {data.uri} has the column {twice[0]!r} twice; name each column once")
    pattern = next((name for name in names if name == "*" or (name.startswith("^") and name.endswith("$"))), None)
    if pattern is not None:  # Polars would take it for a pattern and select other columns
        raise invalid("MalformedData", f"{path.name} under {data.uri} has a column named {pattern[:100]!r}; rename it")
    return names


def malformed(path: Path, data: Data, error: Exception) -> Exception:
    """The ending for a file that cannot be read."""
    line = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return invalid("MalformedData", f"{path.name} under {data.uri} cannot be read: {line}; replace or remove it")


def read_file(path: Path, data: Data, wanted: Collection[str]) -> pl.DataFrame:
    """Those of the wanted columns that a file has; its time column as UTC datetimes.

    Raises:
        AttemptEnded: InvalidData when the file or its time column cannot be read.
    """
    columns = [name for name in columns_of(path, data) if name in wanted]
    try:
        if data.format == "parquet":
            frame = pl.read_parquet(path, columns=columns, glob=False)
        else:
            frame = pl.read_csv(
                path, columns=columns, glob=False, null_values=NULLS, infer_schema_length=10_000, try_parse_dates=True
            )
    except (PolarsError, OSError) as error:
        raise malformed(path, data, error) from error
    if data.timestamp in frame.columns:
        frame = frame.with_columns(utc(frame[data.timestamp]))
    return frame


def utc(series: pl.Series) -> pl.Series:
    """A column of times as UTC datetimes of microseconds; what cannot be read becomes null.

    Raises:
        AttemptEnded: InvalidData when the column holds no times at all.
    """
    target = pl.Datetime("us", "UTC")
    if series.dtype == pl.String:
        times = _parse(series)
    elif series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        times = series
    else:
        raise invalid(
            "MalformedTimestamp", f"the timestamp column {series.name!r} holds {series.dtype}; write times or RFC 3339 text"
        )
    times = times.cast(pl.Datetime("us", getattr(times.dtype, "time_zone", None)))
    times = times.dt.convert_time_zone("UTC") if times.dtype.time_zone else times.dt.replace_time_zone("UTC")  # type: ignore[attr-defined]
    if len(series) and times.null_count() > len(times) / 2:
        example = series.filter(times.is_null()).drop_nulls()
        shown = f"; {str(example[0])[:40]!r} is none" if len(example) else "; it is mostly empty"
        raise invalid("MalformedTimestamp", f"the timestamp column {series.name!r} must hold times{shown}")
    return times.cast(target)


def _parse(series: pl.Series) -> pl.Series:
    """RFC 3339, with `T` or a space, with or without an offset (then UTC), or a date alone."""
    text = pl.col("text").str.strip_chars().str.replace(" ", "T")
    dated = pl.when(text.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")).then(text + "T00:00:00").otherwise(text)
    zoned = pl.when(dated.str.contains(r"(Z|[+-][0-9]{2}:?[0-9]{2})$")).then(dated.str.replace("Z$", "+00:00"))
    whole = zoned.otherwise(dated + "+00:00").str.replace(r"T([0-9]{2}:[0-9]{2})([Z+-])", "T${1}:00${2}")
    parsed = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
    return pl.DataFrame({"text": series}).select(parsed.alias(series.name)).to_series()


def newest(paths: Sequence[Path], data: Data) -> datetime | None:
    """The newest time in any of the files."""
    assert data.timestamp
    times = [read_file(path, data, {data.timestamp}) for path in paths]
    values = [frame[data.timestamp].max() for frame in times if data.timestamp in frame.columns]
    found = [value for value in values if isinstance(value, datetime)]
    return max(found, default=None)


def read_window(paths: Sequence[Path], data: Data, wanted: Collection[str], end: datetime | None) -> pl.DataFrame:
    """All rows of the window that ends at `end`, oldest first; rows without a time or target are still in.

    Raises:
        AttemptEnded: InvalidData when a file cannot be read, or two files contradict each other.
    """
    start = end - data.reach if end and data.reach else None
    frames, rows = [], 0
    for number, path in enumerate(paths, 1):
        frame = _within(read_file(path, data, wanted), data.timestamp, start, end)
        frames.append(frame)
        rows += frame.height
        if number == len(paths) or number % max(1, len(paths) // _TOLD) == 0:  # progress, however many there are
            log.info("read %d of %d objects: %d rows in the window", number, len(paths), rows)
    try:
        whole = pl.concat(frames, how="diagonal_relaxed", rechunk=True)
    except PolarsError as error:
        raise invalid(
            "MalformedData", f"the objects have columns of different types: {str(error).splitlines()[0][:300]}"
        ) from error
    return whole.sort(data.timestamp, maintain_order=True) if data.timestamp in whole.columns else whole


def _within(frame: pl.DataFrame, timestamp: str | None, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    if timestamp is None or timestamp not in frame.columns:
        return frame
    frame = frame.filter(pl.col(timestamp).is_not_null())
    if end is not None:
        frame = frame.filter(pl.col(timestamp) <= end)
    return frame.filter(pl.col(timestamp) > start) if start is not None else frame


def span(frame: pl.DataFrame, timestamp: str | None) -> tuple[datetime | None, datetime | None]:
    """Oldest and newest time of a frame."""
    if timestamp is None or frame.is_empty():
        return None, None
    first, last = frame[timestamp].min(), frame[timestamp].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return first, last
