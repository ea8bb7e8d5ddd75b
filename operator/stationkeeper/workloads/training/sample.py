"""Fewer rows: those that a training takes where it may not take all, and those that are kept beside a revision."""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from stationkeeper.api.base import sha256
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import ArtifactError, StoreError
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.handover import Schema
from stationkeeper.workloads.training.split import row_hashes

log = logging.getLogger(__name__)

MAX_ROWS: Final = 5_000
_HASH: Final = "__hash__"


@dataclass
class Limit:
    """At most so many labelled rows: the newest, or without time those with the smallest hashes.

    Neither depends on the order in which rows come, nor on how they are cut into objects.

    unlabelled: rows without a target, which are left out first; beyond: labelled rows that were left out.
    """

    most: int | None
    timestamp: str | None
    target: str
    columns: Sequence[str]  # that decide between rows of one moment
    salt: str
    unlabelled: int = 0
    beyond: int = 0

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        which = "newest" if self.timestamp else "sampled"
        return [f"learned from the {which} {self.most} rows; {self.beyond} more are beyond data.maxRows"] if self.beyond else []

    def exceeded(self, rows: int) -> bool:
        """Whether so many rows are more than should be held in memory."""
        return self.most is not None and rows > 2 * self.most

    def apply(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those that stay."""
        if self.most is None or self.target not in rows.columns:
            return rows
        target = pl.col(self.target)
        labelled = rows.filter(target.is_not_null() & (target.is_not_nan() if rows[self.target].dtype.is_float() else True))
        self.unlabelled += rows.height - labelled.height
        if labelled.height <= self.most:
            return labelled
        self.beyond += labelled.height - self.most
        return self._newest(labelled) if self.timestamp in labelled.columns else self._smallest(labelled, self.most)

    def ordered(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows by time, those of one moment by their hashes."""
        assert self.timestamp is not None
        ordered: pl.DataFrame = self._hashed(rows).sort(self.timestamp, _HASH, maintain_order=True).drop(_HASH)
        return ordered

    def _newest(self, rows: pl.DataFrame) -> pl.DataFrame:
        assert self.most is not None
        assert self.timestamp is not None
        time = pl.col(self.timestamp)
        moment = rows[self.timestamp].sort(descending=True)[self.most - 1]
        after, at = rows.filter(time > moment), rows.filter(time == moment)
        return pl.concat([self._smallest(at, self.most - after.height), after])

    def _smallest(self, rows: pl.DataFrame, most: int) -> pl.DataFrame:
        smallest: pl.DataFrame = self._hashed(rows).sort(_HASH, maintain_order=True).head(most).drop(_HASH)
        return smallest

    def _hashed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(whole_hash(rows, self.columns, self.salt).alias(_HASH))


def whole_hash(rows: pl.DataFrame, columns: Sequence[str], salt: str) -> pl.Expr:
    """A number for each row, from its values in these columns; one that is missing says nothing, whether as null or for good.

    Not that of `split.row_hashes`: it is a hundred times as fast and may be another in another version of Polars. No row is kept from
    anybody by it.
    """
    seed = int(sha256(salt.encode())[-8:], 16)
    parts = [pl.lit(0, pl.UInt64)]
    for number, name in enumerate(sorted(set(columns))):
        if name in rows.columns and (plain := _plain(rows[name])) is not None:
            parts.append(pl.when(plain.is_not_null()).then(plain.hash(seed + number)).otherwise(pl.lit(0, pl.UInt64)))
    return pl.sum_horizontal(parts)  # modulo 2^64; each column has a hash of its own


def _plain(series: pl.Series) -> pl.Expr | None:
    """Values of a column in a form that they have in every file; None where there is none."""
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return pl.col(series.name).cast(pl.Float64).fill_nan(None)
    if series.dtype == pl.Null or series.dtype.is_nested() or series.dtype == pl.Binary:
        return None
    return pl.col(series.name).cast(pl.String)


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
