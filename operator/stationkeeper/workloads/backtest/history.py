"""The history that is replayed: rows with a time, kept as Parquet beside the replay and read one window at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

import polars as pl

from stationkeeper.workloads.artifacts.captured import INPUT, OUTPUT, event_at
from stationkeeper.workloads.checks.sources import Server, load_reference
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.reading import utc

ARRIVED: Final = "arrived_at"  # the time of captured rows
INSTANT: Final = timedelta(microseconds=1)  # times are whole microseconds
_ENDINGS: Final = (".parquet", ".pq", ".csv", ".csv.gz", ".ndjson", ".jsonl")  # of rows, in a folder
_LISTED: Final = 20  # columns in a message


class HistoryError(Exception):
    """The history cannot be replayed; the message names the file or column and says what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """A Parquet file of rows, and the times of its first and last."""

    file: Path
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class History:
    """Rows in Parquet files, their time in UTC. Nothing is held in memory."""

    address: str  # what it is called in messages
    parts: Sequence[Part]
    timestamp: str
    columns: Sequence[str]
    answers: Sequence[str] = ()  # columns that a model answered, where the rows were captured

    @property
    def start(self) -> datetime:
        """The time of the first row."""
        return min(part.first for part in self.parts)

    @property
    def end(self) -> datetime:
        """The moment after the last row."""
        return max(part.last for part in self.parts) + INSTANT

    def between(self, start: datetime, end: datetime) -> pl.DataFrame:
        """The rows of `[start, end)`, oldest first."""
        return self._scan(start, end).collect(engine="streaming").sort(self.timestamp, maintain_order=True)

    def write(self, path: Path, before: datetime) -> None:
        """Write the rows before a moment to a Parquet file: what could be known then."""
        self._scan(self.start, before).sink_parquet(path)

    def require(self, name: str, why: str) -> None:
        """Make sure of a column.

        Raises:
            HistoryError: when it is not there; `why` says who wants it.
        """
        _require(self.columns, name, self.address, why)

    def _scan(self, start: datetime, end: datetime) -> pl.LazyFrame:
        """Only files with such rows are looked at: a column that changes its type later has not changed it yet."""
        files = [part.file for part in self.parts if part.first < end and part.last >= start] or [self.parts[0].file]
        rows = pl.concat([pl.scan_parquet(file, glob=False) for file in files], how="diagonal_relaxed")
        return rows.filter((pl.col(self.timestamp) >= start) & (pl.col(self.timestamp) < end))


def open_history(address: str, timestamp: str | None, server: Server, folder: Path) -> History:
    """Bring rows into a folder, with their times read.

    Args:
        address: a file, or a folder or S3 prefix of files: Parquet, CSV or NDJSON. Captured rows are taken apart.
        timestamp: the column with the time of a row; None only for captured rows, which carry theirs.
        server: of `s3://` addresses.
        folder: an empty one, with room for all rows.

    Raises:
        HistoryError, sources.SourceError: when something cannot be read, or has no time.
    """
    name = timestamp or ARRIVED
    parts, columns, answers = list[Part](), list[str](), list[str]()
    for number, source in enumerate(_sources(address)):
        captured = _Captured.of(_rows(source, server))
        rows = _timed(captured.rows, name, source)
        if not rows.height:
            continue
        parts.append(Part(folder / f"{number:06}.parquet", rows[name][0], rows[name][-1]))
        rows.write_parquet(parts[-1].file)
        columns += rows.columns
        answers += captured.answers
    if not parts:
        raise HistoryError(f"{address} holds no row with a time in {name!r}: there is nothing to replay")
    known, said = (list(dict.fromkeys(names)) for names in (columns, answers))
    return History(address, parts, name, known, said)


def _sources(address: str) -> list[str]:
    """The files of a folder and of those below it, as a prefix in S3 is read; else the address itself."""
    if address.startswith("s3://"):
        return [address if address.endswith(_ENDINGS) else f"{address.rstrip('/')}/"]  # as spec.training.data.uri is read
    if not Path(address).is_dir():
        return [address]
    files = sorted(str(file) for file in Path(address).rglob("*") if file.is_file() and file.name.endswith(_ENDINGS))
    if not files:
        raise HistoryError(f"the folder {address} holds no rows: no file that ends in {', '.join(_ENDINGS)}")
    return files


def _rows(source: str, server: Server) -> pl.DataFrame:
    rows = load_reference(source, server)
    if not isinstance(rows, pl.DataFrame):
        raise HistoryError(f"{source} holds counts only: give the rows themselves")
    return rows


@dataclass(frozen=True, slots=True)
class _Captured:
    """Rows, by the names that features and answers have for people, and which columns are answers."""

    rows: pl.DataFrame
    answers: Sequence[str] = ()

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Self:
        """Take captured rows apart; leave other rows as they are."""
        inputs = {name: name.removeprefix(INPUT) for name in rows.columns if name.startswith(INPUT)}
        if not inputs:
            return cls(rows)
        outputs = {name: name.removeprefix(OUTPUT) for name in rows.columns if name.startswith(OUTPUT)}
        outputs = {name: name if plain in inputs.values() else plain for name, plain in outputs.items()}
        time = [event_at(rows).alias(ARRIVED)] if ARRIVED in rows.columns else []
        return cls(rows.select(*time, *(pl.col(n).alias(p) for n, p in (inputs | outputs).items())), list(outputs.values()))


def _timed(rows: pl.DataFrame, timestamp: str, source: str) -> pl.DataFrame:
    """The rows that have a time, oldest first."""
    field = "the time of its rows: name it with --timestamp (in a Model: spec.training.data.timestamp)"
    _require(rows.columns, timestamp, source, field)
    try:
        timed = rows.with_columns(utc(rows[timestamp]))
    except AttemptEnded as error:
        raise HistoryError(f"{source}: {error.message}; name a column of times with --timestamp") from error
    return timed.filter(pl.col(timestamp).is_not_null()).sort(timestamp, maintain_order=True)


def _require(columns: Sequence[str], name: str, where: str, why: str) -> None:
    if name not in columns:
        more = f" and {len(columns) - _LISTED} more" if len(columns) > _LISTED else ""
        raise HistoryError(f"{where} has no column {name!r}, {why}; it has {', '.join(columns[:_LISTED])}{more}")
