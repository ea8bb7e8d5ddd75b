"""Reading Parquet, CSV and NDJSON into frames, part by part, and making sense of time."""

import csv
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from stationkeeper.api.data import Data, DataFormat
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.sample import Limit

log = logging.getLogger(__name__)

_TOLD: Final = 10  # lines about how far reading is
_PART: Final = 200_000  # rows that are read at once

Select = Callable[[Sequence[str]], Collection[str]]
NULLS = ["", "NA", "NaN", "nan", "null", "NULL"]
OBJECT: Final = "__object__"  # column with the place of a row's object among the inputs


@dataclass(frozen=True, slots=True)
class InputFile:
    """One object of the data, downloaded."""

    path: Path
    format: DataFormat
    uri: str  # the prefix that it lay under
    key: str = ""  # its address below that

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path.name} under {self.uri}"


def columns_of(file: InputFile) -> list[str]:
    """The column names of a file.

    Raises:
        AttemptEnded: InvalidData when it cannot be read, or names one column twice.
    """
    try:
        if file.format == "csv":
            with file.path.open(newline="", encoding="utf-8-sig") as opened:
                names = next(csv.reader(opened), [])
        else:
            names = list(_scan(file, {}).collect_schema())
    except (PolarsError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise malformed(file, error) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid("DuplicateColumn", f"{file.name} has the column {twice[0]!r} twice; name each column once")
    pattern = next((name for name in names if name == "*" or (name.startswith("^") and name.endswith("$"))), None)
    if pattern is not None:  # Polars would take it for a pattern and select other columns
        raise invalid("MalformedData", f"{file.name} has a column named {pattern[:100]!r}; rename it")
    return names


def malformed(file: InputFile, error: Exception) -> Exception:
    """The ending for a file that cannot be read."""
    line = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return invalid("MalformedData", f"{file.name} cannot be read: {line}; replace or remove it")


def _scan(file: InputFile, types: Mapping[str, type[pl.String]]) -> pl.LazyFrame:
    if file.format == "parquet":
        return pl.scan_parquet(file.path, glob=False)
    if file.format == "ndjson":  # a field may be missing from any line: nothing tells the columns but all of them
        return pl.scan_ndjson(file.path, infer_schema_length=None, schema_overrides=types or None)
    return pl.scan_csv(
        file.path, glob=False, null_values=NULLS, infer_schema_length=10_000, try_parse_dates=True, schema_overrides=types or None
    )


def read_parts(
    file: InputFile, wanted: Collection[str], timestamp: str | None, texts: Collection[str] = ()
) -> Iterator[pl.DataFrame]:
    """Those of the wanted columns that a file has, some rows at a time; its time column as UTC datetimes.

    Args:
        file: what is read.
        wanted: names of columns.
        timestamp: the column of time.
        texts: columns that are read as text where the format does not say what they are: `007` is a code, no number.

    Raises:
        AttemptEnded: InvalidData when the file or its time column cannot be read.
    """
    columns = [name for name in columns_of(file) if name in wanted]
    types = {} if file.format == "parquet" else {name: pl.String for name in columns if name in texts}
    empty = True
    try:
        rows = _scan(file, types).select(columns)
        for part in rows.collect_batches(chunk_size=_PART, maintain_order=True):
            empty = False
            yield _timed(part, timestamp)
        if empty:
            yield _timed(pl.DataFrame(schema=rows.collect_schema()), timestamp)
    except (PolarsError, OSError) as error:
        raise malformed(file, error) from error


def _timed(part: pl.DataFrame, timestamp: str | None) -> pl.DataFrame:
    return part.with_columns(utc(part[timestamp])) if timestamp in part.columns else part


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


def newest(files: Sequence[InputFile], timestamp: str) -> datetime | None:
    """The newest time in any of the files."""
    times = (part[timestamp].max() for file in files for part in read_parts(file, {timestamp}, timestamp) if part.columns)
    return max((time for time in times if isinstance(time, datetime)), default=None)


def start_of(data: Data, end: datetime | None) -> datetime | None:
    """Where the window begins that ends at `end`; None where it has no beginning."""
    return end - data.reach if end and data.reach else None


@dataclass
class Whole:
    """The rows of all files under one schema."""

    limit: Limit
    frames: list[pl.DataFrame] = field(default_factory=list)
    _rows: int = 0
    _kinds: dict[str, tuple[str, pl.DataType, str]] = field(default_factory=dict)  # kind, type, and where it was met first

    def add(self, part: pl.DataFrame, name: str) -> None:
        """Take some rows of a file.

        Raises:
            AttemptEnded: InvalidData when a column is of another kind than in a file before.
        """
        for series in part:
            kind = _kind(series.dtype)
            if kind is None or series.null_count() == len(series):
                continue  # nothing is known of it here
            known, dtype, where = self._kinds.setdefault(series.name, (kind, series.dtype, name))
            if known != kind:
                raise invalid(
                    "MalformedData",
                    f"the column {series.name!r} holds {dtype} in {where} and {series.dtype} in {name}; write it as one type everywhere",
                )
        self.frames.append(part)
        self._rows += part.height
        if self.limit.exceeded(self._rows):
            self.frames = [self.limit.apply(self._together())]
            self._rows = self.frames[0].height

    def frame(self) -> pl.DataFrame:
        """All rows that stay."""
        return self.limit.apply(self._together())

    def _together(self) -> pl.DataFrame:
        try:
            return pl.concat([self._fitted(frame) for frame in self.frames], how="diagonal_relaxed", rechunk=True)
        except PolarsError as error:
            raise invalid(
                "MalformedData", f"the objects have columns of different types: {str(error).splitlines()[0][:300]}"
            ) from error

    def _fitted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A column without values fits any type, whatever its file says."""
        odd = [s.name for s in frame if s.name in self._kinds and _kind(s.dtype) not in (None, self._kinds[s.name][0])]
        return frame.with_columns(pl.lit(None, pl.Null).alias(name) for name in odd)


def _kind(dtype: pl.DataType) -> str | None:
    if dtype == pl.Null:
        return None
    if dtype.is_numeric() or dtype == pl.Boolean:
        return "numbers"
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return "text"
    return "times" if dtype.is_temporal() else "other"


def read_window(
    files: Sequence[InputFile],
    data: Data,
    wanted: Collection[str],
    end: datetime | None,
    limit: Limit,
    *,
    texts: Collection[str] = (),
    more: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The rows of the window that ends at `end`, oldest first; with the column `OBJECT`. Rows without a target are still in.

    Args:
        files: all inputs.
        data: what columns are for.
        wanted: names of columns that are read.
        end: of the window.
        limit: how many rows at the most.
        texts: see `read_parts`.
        more: rows from elsewhere, with an `OBJECT` of their own.

    Raises:
        AttemptEnded: InvalidData when a file cannot be read, or two files contradict each other.
    """
    start, whole, rows = start_of(data, end), Whole(limit), 0
    for number, file in enumerate(files):
        for part in read_parts(file, wanted, data.timestamp, texts):
            inside = _within(part, data.timestamp, start, end)
            whole.add(inside.with_columns(pl.lit(number, pl.Int32).alias(OBJECT)), file.name)
            rows += inside.height
        if number + 1 == len(files) or (number + 1) % max(1, len(files) // _TOLD) == 0:  # progress, however many there are
            log.info("read %d of %d objects: %d rows in the window", number + 1, len(files), rows)
    if more is not None:
        whole.add(_within(more, data.timestamp, start, end), "captured rows")
    found = whole.frame()
    if data.timestamp not in found.columns:
        return found
    return limit.ordered(found) if limit.most else found.sort(data.timestamp, maintain_order=True)


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
