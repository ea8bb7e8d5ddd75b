"""Rows of the training that are kept beside a revision, so that checks of rows have something to compare with."""

import io
import logging
from typing import Final

import numpy as np
import polars as pl

from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import ArtifactError, StoreError
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.handover import Schema
from stationkeeper.workloads.training.split import row_hashes

log = logging.getLogger(__name__)

MAX_ROWS: Final = 5_000


def keep(store: Store, digest: str, rows: pl.DataFrame, meaning: Schema, salt: str) -> None:
    """Write at most 5,000 of the rows, features and time only, as `samples/<revision>.parquet`.

    The rows may be personal data, so they are no file of the manifest and may be deleted. A revision serves without them:
    whatever hinders the writing is logged.
    """
    try:
        store.put(keys.sample(digest), encoded(rows, meaning, salt))
    except (StoreError, ArtifactError, pl.exceptions.PolarsError) as error:
        log.warning("no rows are kept for checks of rows: %s", error)


def encoded(rows: pl.DataFrame, meaning: Schema, salt: str) -> bytes:
    """The sample as Parquet: those with the smallest hashes, so that the same rows are chosen again, in their order."""
    time = [meaning.timestamp] if meaning.timestamp else []
    rows = rows.select([*(feature.name for feature in meaning.features), *time])
    if rows.height > MAX_ROWS:
        hashes = row_hashes(rows, salt)
        rows = rows[np.sort(np.argsort(hashes, kind="stable")[:MAX_ROWS]).tolist()]
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
