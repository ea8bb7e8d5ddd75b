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
    every reader chooses the same; no more than two files and `2 * max_rows` rows are in memory. A column that is of one type here
    and of another there comes as text. None when no file is there.

    Raises:
        MalformedArtifact: when files are no Parquet of captured rows; the message names them.
    """
    return _together(store, (info.key for info in _slots(store, digest, start, end)), max_rows)


def read_arrived(store: Store, digest: str, start: datetime, end: datetime, *, max_rows: int) -> pl.DataFrame | None:
    """Rows that arrived in `[start, end)`, whatever minutes they happened in; the rest as `read_captured`.

    Raises:
        MalformedArtifact: as `read_captured`.
    """
    found = _slots(store, digest, start - LATE, end + EARLY)
    written = (info.key for info in found if info.modified >= start - _SKEW)
    arrived = pl.col("arrived_at").is_between(start, end, closed="left")
    return _together(store, written, max_rows, arrived)


def _together(store: Store, keys_: Iterable[str], max_rows: int, wanted: pl.Expr | None = None) -> pl.DataFrame | None:
    kept: pl.DataFrame | None = None
    damaged: list[str] = []
    for key in keys_:
        try:
            rows = _read(store, key)
            kept = _joined(kept, rows if wanted is None else rows.filter(wanted), max_rows)
        except NotFound:  # swept by retention between the listing and the reading
            continue
        except (MalformedArtifact, pl.exceptions.PolarsError) as error:
            damaged.append(f"{store.uri(key)} ({error})")
    if damaged:
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        raise MalformedArtifact(f"no captured rows: {', '.join(damaged[:_NAMED])}{more}; restore or remove them")
    return None if kept is None else _smallest(kept, max_rows)


def read_first(
    store: Store, digest: str, start: datetime, end: datetime, wanted: int, *, max_rows: int
) -> tuple[pl.DataFrame | None, int, datetime]:
    """The first slots in `[start, end)` that hold so many rows together, how many they hold, and when the next slot begins.

    All of them when they hold fewer. Of more than `max_rows` those stay that `read_captured` would keep.

    Raises:
        MalformedArtifact: when a file is no Parquet of captured rows.
    """
    kept: pl.DataFrame | None = None
    count = 0
    listed = (info.key for info in _slots(store, digest, start, end))
    for begins, slot in groupby(listed, key=keys.slot_start):
        if count >= wanted:
            return kept, count, begins
        for key in slot:
            try:
                rows = _read(store, key)
            except NotFound:
                continue
            except (MalformedArtifact, pl.exceptions.PolarsError) as error:
                raise MalformedArtifact(f"no captured rows: {store.uri(key)} ({error}); restore or remove it") from error
            kept, count = _joined(kept, rows, max_rows), count + rows.height
    return kept, count, end


def count_captured(store: Store, found: Iterable[str]) -> int:
    """How many rows objects hold; what cannot be read holds none."""
    rows = 0
    for key in found:
        with suppress(NotFound, MalformedArtifact, pl.exceptions.PolarsError):
            rows += _read(store, key).height
    return rows


def _joined(kept: pl.DataFrame | None, rows: pl.DataFrame, max_rows: int) -> pl.DataFrame:
    if kept is None:
        return rows
    together = pl.concat([kept, rows], how="diagonal_relaxed")
    return _smallest(together, max_rows) if together.height > 2 * max_rows else together


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


def _read(store: Store, key: str) -> pl.DataFrame:
    rows = pl.read_parquet(io.BytesIO(store.get(key, max_bytes=MAX_FILE_BYTES)))
    if lacking := [name for name in KEYS if name not in rows.columns]:
        raise MalformedArtifact(f"it has no column {lacking[0]}")
    return rows


def _days(start: datetime, end: datetime) -> Iterator[datetime]:
    day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < end:
        yield day
        day += timedelta(days=1)
