"""Captured rows, read back: what serving asked and answered, as `serving.rows` wrote it.

request_id     string
row            position of the row in its request
arrived_at     time of arrival at the pod, UTC, microseconds
event_at       time of the event, likewise, where capture.eventTime names a column; null where that could not be used
time_source    "event", or why the arrival counts in its place (`serving.moments.Source`)
revision       digest of the serving revision
sample_rate    share of requests that were stored: 1/sample_rate is the row's weight
input.<name>   each feature: float, string or boolean; missing is null
output.<name>  `label` and `probability`, or `prediction`; of several classes `probability.<class>` (`artifacts.outputs`)
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

import polars as pl

from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.ahead import get_each
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.store import ObjectInfo, Store

log = logging.getLogger(__name__)

INPUT: Final = "input."
OUTPUT: Final = "output."
MAX_FILE_BYTES: Final = 256 * 2**20
LATE: Final = timedelta(days=3)  # a row that happened longer before its arrival counts by that
EARLY: Final = timedelta(minutes=5)  # so far may the clock of a client be ahead
EVENT_AT: Final = "event_at"
TIME_SOURCE: Final = "time_source"
KEYS: Final = ("request_id", "row", "arrived_at")  # without these a file is none of ours
_NAMED: Final = 3  # damaged files in a message
_SKEW: Final = timedelta(minutes=1)  # between the store's clock and ours


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether a request's rows are stored: a hash of its id, so that every part of the system chooses the same requests."""
    if rate >= 1:
        return True
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8]) < rate * 2**64


def event_at(rows: pl.DataFrame) -> pl.Expr:
    """When captured rows happened: the event, where it is known, else the arrival."""
    return pl.coalesce(EVENT_AT, "arrived_at") if EVENT_AT in rows.columns else pl.col("arrived_at")


def captured_revisions(store: Store) -> Iterator[str]:
    """Digests of all revisions that captured rows are kept of, with one listing for each."""
    after = ""
    while (first := next(store.list(keys.CAPTURED, start_after=after), None)) is not None:
        revision = first.key.removeprefix(keys.CAPTURED).partition("/")[0]
        yield f"sha256:{revision}"
        after = f"{keys.CAPTURED}{revision}/~"  # beyond every day of it


def list_captured(store: Store, digest: str, start: datetime | None, end: datetime) -> Iterator[tuple[datetime, ObjectInfo]]:
    """The objects of a revision whose slot begins in `[start, end)`, with its beginning; without `start` from the first."""
    after = keys.capture_day(digest, start).rstrip("/") if start else ""
    for info in store.list(keys.capture_of(digest), start_after=after):
        try:
            begins = keys.slot_start(info.key)
        except ValueError:
            log.warning("%s is not named like captured rows; it is ignored", store.uri(info.key))
            continue
        if begins >= end:
            continue
        if start is None or begins >= start:
            yield begins, info


def read_captured(store: Store, digest: str, start: datetime, end: datetime, *, max_rows: int) -> pl.DataFrame | None:
    """Rows that a revision answered in `[start, end)`, by the slot of their arrival or the minute of their event.

    Of more than `max_rows` the requests with the smallest hashes stay, so that the rows of one request stay together and
    every reader chooses the same; no more than two large files (`artifacts.ahead`) and `2 * max_rows` rows are in memory. A column
    that is of one type here and of another there comes as text. None when no file is there.

    Raises:
        MalformedArtifact: when files are no Parquet of captured rows; the message names them.
    """
    return _together(store, _slots(store, digest, start, end), max_rows)


def read_arrived(store: Store, digest: str, start: datetime, end: datetime, *, max_rows: int) -> pl.DataFrame | None:
    """Rows that arrived in `[start, end)`, whatever minutes they happened in; the rest as `read_captured`.

    Raises:
        MalformedArtifact: as `read_captured`.
    """
    found = _slots(store, digest, start - LATE, end + EARLY)
    written = (info for info in found if info.modified >= start - _SKEW)
    arrived = pl.col("arrived_at").is_between(start, end, closed="left")
    return _together(store, written, max_rows, arrived)


def _together(store: Store, found: Iterable[ObjectInfo], max_rows: int, wanted: pl.Expr | None = None) -> pl.DataFrame | None:
    kept = _Kept(max_rows)
    damaged: list[str] = []
    for info, got in get_each(store, found, max_bytes=MAX_FILE_BYTES):
        try:
            rows = _rows(got.result())
            kept.add(rows if wanted is None else rows.filter(wanted))
        except NotFound:  # swept by retention between the listing and the reading
            continue
        except (MalformedArtifact, pl.exceptions.PolarsError) as error:
            damaged.append(f"{store.uri(info.key)} ({error})")
    if damaged:
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        raise MalformedArtifact(f"no captured rows: {', '.join(damaged[:_NAMED])}{more}; restore or remove them")
    return kept.rows()


def read_first(
    store: Store, digest: str, start: datetime, end: datetime, wanted: int, *, max_rows: int
) -> tuple[pl.DataFrame | None, int, datetime]:
    """The first slots in `[start, end)` that hold so many rows together, how many they hold, and when the next slot begins.

    All of them when they hold fewer. Of more than `max_rows` those stay that `read_captured` would keep.

    Raises:
        MalformedArtifact: when a file is no Parquet of captured rows.
    """
    kept, count = _Kept(max_rows), 0
    each = get_each(store, _slots(store, digest, start, end), max_bytes=MAX_FILE_BYTES)
    for begins, slot in groupby(each, key=lambda one: keys.slot_start(one[0].key)):
        if count >= wanted:
            return kept.all(), count, begins
        for info, got in slot:
            try:
                rows = _rows(got.result())
                kept.add(rows)
            except NotFound:
                continue
            except (MalformedArtifact, pl.exceptions.PolarsError) as error:
                raise MalformedArtifact(f"no captured rows: {store.uri(info.key)} ({error}); restore or remove it") from error
            count += rows.height
    return kept.all(), count, end


def count_captured(store: Store, found: Iterable[ObjectInfo]) -> int:
    """How many rows objects hold; what cannot be read holds none."""
    rows = 0
    for _, got in get_each(store, found, max_bytes=MAX_FILE_BYTES):
        with suppress(NotFound, MalformedArtifact, pl.exceptions.PolarsError):
            rows += _rows(got.result()).height
    return rows


class _Kept:
    """Rows of many files, put together once and not file by file: frames of a thousand pieces are slow to join with one more."""

    def __init__(self, max_rows: int) -> None:
        self._max = max_rows
        self._parts: list[pl.DataFrame] = []
        self._none = pl.DataFrame()  # with the columns of all

    def add(self, rows: pl.DataFrame) -> None:
        """Keep these too; beyond `2 * max_rows` those with the smallest hashes.

        Raises:
            PolarsError: when their columns do not fit those of the others.
        """
        if rows.schema != self._none.schema:
            self._none = pl.concat([self._none, rows.clear()], how="diagonal_relaxed")
        self._parts.append(rows)
        if sum(part.height for part in self._parts) > 2 * self._max:
            self._parts = [_smallest(self._joined(), self._max)]

    def all(self) -> pl.DataFrame | None:
        """What is kept, at most `2 * max_rows` rows; None when no file came."""
        return self._joined() if self._parts else None

    def rows(self) -> pl.DataFrame | None:
        """The `max_rows` with the smallest hashes."""
        return _smallest(self._joined(), self._max) if self._parts else None

    def _joined(self) -> pl.DataFrame:
        return pl.concat([self._none, *self._parts], how="diagonal_relaxed")


def _smallest(rows: pl.DataFrame, max_rows: int) -> pl.DataFrame:
    if rows.height <= max_rows:
        return rows
    chosen = rows.with_columns(pl.col("request_id").hash(seed=0).alias("_hash")).sort("_hash", "row").head(max_rows)
    return chosen.drop("_hash")


def _slots(store: Store, digest: str, start: datetime, end: datetime) -> Iterator[ObjectInfo]:
    for day in _days(start, end):
        for info in store.list(keys.capture_day(digest, day)):
            try:
                begins = keys.slot_start(info.key)
            except ValueError:
                log.warning("%s is not named like captured rows; it is ignored", store.uri(info.key))
                continue
            if start <= begins < end:
                yield info


def _rows(data: bytes) -> pl.DataFrame:
    rows = pl.read_parquet(io.BytesIO(data))
    if lacking := [name for name in KEYS if name not in rows.columns]:
        raise MalformedArtifact(f"it has no column {lacking[0]}")
    return rows


def _days(start: datetime, end: datetime) -> Iterator[datetime]:
    day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < end:
        yield day
        day += timedelta(days=1)
