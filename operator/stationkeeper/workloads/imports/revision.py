"""What an imported revision consists of: the file as it was published, what is known beside it, and the manifest."""

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import polars as pl
from numpy.typing import NDArray

from stationkeeper import __version__
from stationkeeper.api.jobs import ImportConfig
from stationkeeper.api.manifest import FILE_ESTIMATION, FILE_PCA, FILE_REFERENCE, Column, DataRecord, EvaluationRecord, Manifest
from stationkeeper.workloads.artifacts.outputs import watched
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.drift.components import fit_components
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.imports.prepare import Fetched
from stationkeeper.workloads.imports.signature import Signature
from stationkeeper.workloads.training import estimation, estimators
from stationkeeper.workloads.training.evaluate import answers_for, at, known_rows
from stationkeeper.workloads.training.handover import Schema

UNJUDGED: Final = EvaluationRecord(holdout_rows=0, metrics={}, gates=[], refit="None")
_LIBRARIES: Final = ("scikit-learn", "numpy", "skops", "onnxruntime", "onnx", "polars", "xgboost-cpu", "lightgbm")


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that was understood and answers."""

    config: ImportConfig
    which: Fetched
    found: Signature
    features: list[Column]  # with what may be missing

    @property
    def seed(self) -> int:
        """The seed of the attempt."""
        return estimators.seed_of(self.config.model.uid, self.config.episode, self.config.attempt)

    @property
    def data(self) -> DataRecord:
        """Where it came from. Which rows it learned from, only its makers know."""
        return DataRecord(uri=self.config.source.uri, objects=1, digest=self.which.digest, rows=0)


def describe(imported: Imported, judged: EvaluationRecord) -> Manifest:
    """The manifest, before its files are stored."""
    config, found = imported.config, imported.found
    return Manifest.model_validate(
        {
            "model": f"{config.model.namespace}/{config.model.name}",
            "model_uid": config.model.uid,
            "number": config.revision,
            "cause": config.cause,
            "episode": config.episode,
            "attempt": config.attempt,
            "evidence": config.evidence,
            "template_digest": config.template_digest,
            "trained_at": datetime.now(UTC).replace(microsecond=0),
            "estimator": f"source {config.source.uri}",
            "seed": imported.seed,
            "task": found.task,
            "features": imported.features,
            "target": config.source.target,
            "classes": found.classes,
            "class_kind": found.class_kind,
            "positive_label": found.positive_label,
            "format": config.source.format,
            "binding": found.binding,
            "files": {},
            "data": imported.data,
            "evaluation": judged,
            "versions": {"python": platform.python_version(), "stationkeeper": __version__}
            | {name: version(name) for name in _LIBRARIES},
        }
    )


def known_by_rows(
    imported: Imported, draft: Manifest, meaning: Schema, rows: pl.DataFrame, answers: Predictions
) -> dict[str, bytes]:
    """The files that checks compare with, made of the rows that judged: nothing is known of those that taught.

    Args:
        imported: the model.
        draft: its manifest.
        meaning: of the rows.
        rows: the evaluation set.
        answers: the model's, to each of them.
    """
    times = _times(rows, meaning)
    outputs = watched(draft, answers)
    known = known_rows(rows, meaning)
    judged, kept = at(answers, known), rows.filter(pl.Series(known))
    truth = answers_for(meaning, meaning.classes, judged, kept)
    metrics = [gate.metric for gate in imported.config.gates]
    return {
        FILE_REFERENCE: build_reference(rows, imported.features, outputs, timestamps=times, prediction_timestamps=times).encode(),
        FILE_PCA: fit_components(rows, imported.features, timestamps=times, seed=imported.seed).encode(),
        FILE_ESTIMATION: estimation.fit(draft, metrics, truth, kept, judged, imported.seed).encode(),
    }


def _times(rows: pl.DataFrame, meaning: Schema) -> NDArray[Any] | None:
    return rows[meaning.timestamp].dt.replace_time_zone(None).to_numpy() if meaning.timestamp else None
