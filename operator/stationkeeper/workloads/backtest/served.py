"""A revision that serves in a replay: it answers rows of the history, counts and captures them as a serving pod does."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import numpy as np
import polars as pl

from stationkeeper.api.manifest import MODEL_FILES, Manifest
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.columns import Array, ColumnError, Columns, from_frame
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.artifacts.outputs import kept, watched
from stationkeeper.workloads.artifacts.runtime import Predictions, Predictor
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.checks.revision import Revision
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.serving import rows as captured
from stationkeeper.workloads.serving.buffer import Answered

_POD: Final = "replay"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a revision said of some rows; None where it refused them, and then the column at fault."""

    predictions: Predictions | None
    columns: Columns
    outputs: Columns  # that are watched
    kept: Columns  # that captured rows keep
    fault: str = ""


@dataclass(frozen=True)
class Served:
    """A revision and since when it serves. Without a predictor the answers are columns of the history."""

    revision: Revision
    since: datetime
    predictor: Predictor | None

    @classmethod
    def load(cls, store: Store, digest: str, since: datetime) -> Self:
        """Load a revision of the store; one without a model's file has its answers in the history.

        Raises:
            StoreError, ArtifactError: when it is not what it must be.
        """
        revision = Revision.load(store, digest)
        models = {name: ref for name, ref in revision.manifest.files.items() if name in MODEL_FILES.values()}
        files = {name: get_blob(store, ref) for name, ref in models.items()}
        return cls(revision, since, load_model(revision.manifest, files) if files else None)

    @property
    def manifest(self) -> Manifest:
        """What the revision is."""
        return self.revision.manifest

    def answer(self, rows: pl.DataFrame) -> Answers:
        """Answer rows as serving does: all of them, or none when a column is missing or of another kind."""
        try:
            columns = from_frame(rows, self.manifest.features)
        except ColumnError as error:
            return Answers(None, {}, {}, {}, error.column)
        if self.predictor is None:
            outputs = {column.name: output(rows[column.name]) for column in self.revision.trained_with.predictions}
            return Answers(None, columns, outputs, outputs)
        predictions = self.predictor.predict(columns)
        return Answers(predictions, columns, watched(self.manifest, predictions), kept(self.manifest, predictions))

    def capture(self, rows: pl.DataFrame, answers: Answers, timestamp: str, slot: datetime, number: int) -> None:
        """Write what a pod would have left of these rows in the slot: their profile, and the rows with their answers.

        Columns of the history that are no features are not taken for part of a request.
        """
        store, digest = self.revision.store, self.revision.digest
        profile = Profile.empty(self.revision.trained_with)
        if answers.fault:
            missing = [feature.name for feature in self.manifest.features if feature.name not in rows.columns]
            profile.refused(missing, [] if missing else [answers.fault], rows=rows.height)
        else:
            profile.update(answers.columns, answers.outputs)
            kept_rows = _captured(rows, answers, self.manifest, digest, timestamp, number)
            store.put(keys.capture(digest, slot, _POD, number), captured.parquet(kept_rows))
        store.put(keys.profile(digest, slot, _POD, number), profile.encode())


def _captured(rows: pl.DataFrame, answers: Answers, manifest: Manifest, digest: str, timestamp: str, number: int) -> pl.DataFrame:
    """The rows as serving keeps them, each a request at its own time."""
    entry = Answered("", 0.0, answers.columns, answers.kept, (), rows.height, 0)
    frame = captured.frame([entry], answers.columns, answers.kept, [rows.height], manifest, digest, 1.0)
    return frame.with_columns(*request_keys(rows.height, number), rows[timestamp].alias("arrived_at"))


def request_keys(rows: int, number: int) -> tuple[pl.Series, pl.Series]:
    """The requests that part `number` of a window is captured as: one for each row, so that those who sample requests sample rows."""
    requests = pl.Series("request_id", [f"{_POD}-{number}-{i}" for i in range(rows)], dtype=pl.String)
    return requests, pl.repeat(0, rows, dtype=pl.UInt32, eager=True).alias("row")


def output(series: pl.Series) -> Array:
    """A column of answers as profiles count it."""
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.array(series.cast(pl.String).to_list(), dtype=object)
