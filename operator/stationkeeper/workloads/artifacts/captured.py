"""Captured rows, read back: what serving asked and answered, as `serving.rows` wrote it.

request_id     string
row            position of the row in its request
arrived_at     time of arrival at the pod, UTC, microseconds
revision       digest of the serving revision
sample_rate    share of requests that were stored: 1/sample_rate is the row's weight
input.<name>   each feature: float, string or boolean; missing is null
output.<name>  `label` and `probability`, or `prediction`
"""

import io
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.store import Store

log = logging.getLogger(__name__)

INPUT: Final = "input."
OUTPUT: Final = "output."
MAX_FILE_BYTES: Final = 256 * 2**20


def read_captured(store: Store, digest: str, start: datetime, end: datetime, *, max_rows: int) -> pl.DataFrame | None:
    """Rows that a revision answered in `[start, end)`, by the slot of their arrival.

    Of more than `max_rows` the requests with the smallest hashes stay, so that the rows of one request stay together and
    every reader chooses the same. None when no file is there.

    Raises:
        MalformedArtifact: when a file is no Parquet of captured rows; the message names it.
    """
    frames = list(_files(store, digest, start, end))
    if not frames:
        return None
    rows = pl.concat(frames, how="vertical_relaxed")
    if rows.height <= max_rows:
        return rows
    kept = rows.with_columns(pl.col("request_id").hash(seed=0).alias("_hash")).sort("_hash", "row").head(max_rows)
    return kept.drop("_hash")


def _files(store: Store, digest: str, start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
    for day in _days(start, end):
        for info in store.list(keys.capture_day(digest, day)):
            try:
                begins = keys.slot_start(info.key)
            except ValueError:
                log.warning("%s is not named like captured rows; it is ignored", store.uri(info.key))
                continue
            if start <= begins < end and (frame := _read(store, info.key)) is not None:
                yield frame


def _read(store: Store, key: str) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(io.BytesIO(store.get(key, max_bytes=MAX_FILE_BYTES)))
    except NotFound:  # swept by retention between the listing and the reading
        return None
    except pl.exceptions.PolarsError as error:
        raise MalformedArtifact(f"{store.uri(key)} is no Parquet of captured rows: {error}; restore or remove it") from error


def _days(start: datetime, end: datetime) -> Iterator[datetime]:
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < end:
        yield day
        day += timedelta(days=1)
