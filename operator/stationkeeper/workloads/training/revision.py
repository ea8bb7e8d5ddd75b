"""What a published revision consists of: its files, and the manifest that describes them."""

import logging
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import polars as pl
from numpy.typing import NDArray

from stationkeeper import __version__
from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import (
    FILE_ESTIMATION,
    FILE_GOLDEN,
    FILE_ONNX,
    FILE_PCA,
    FILE_REFERENCE,
    FILE_SKOPS,
    DataRecord,
    EvaluationRecord,
    Manifest,
    SearchRecord,
)
from stationkeeper.api.training import Training
from stationkeeper.workloads.artifacts.columns import ModelInput
from stationkeeper.workloads.artifacts.golden import Golden
from stationkeeper.workloads.artifacts.outputs import watched
from stationkeeper.workloads.artifacts.runtime import OnnxPredictor, Predictions, Predictor
from stationkeeper.workloads.drift.components import fit_components
from stationkeeper.workloads.drift.reference import build_reference, newest
from stationkeeper.workloads.training import estimation, estimators, golden_rows, reading
from stationkeeper.workloads.training.challenger import Challenger, input_of
from stationkeeper.workloads.training.convert import PROBABILITY_TOLERANCE, convert, difference
from stationkeeper.workloads.training.estimation import Estimation
from stationkeeper.workloads.training.evaluate import answers_for, at, known_rows
from stationkeeper.workloads.training.fit import storable
from stationkeeper.workloads.training.handover import Prepared, Schema, Stretch
from stationkeeper.workloads.training.search import with_params

log = logging.getLogger(__name__)

_LIBRARIES = ("scikit-learn", "numpy", "skops", "onnxruntime", "skl2onnx", "onnx", "polars", "xgboost-cpu", "lightgbm")


@dataclass(frozen=True, slots=True)
class Shipment:
    """A model that has passed its gates, and what is known of it."""

    config: TrainConfig
    prepared: Prepared
    challenger: Challenger  # that is shipped
    rows: pl.DataFrame  # that it knows
    holdout: pl.DataFrame
    judged: Predictions  # of the model that the gates judged, on the holdout
    record: EvaluationRecord
    found: SearchRecord | None = None
    stretch: Stretch | None = None  # that was chosen, of several

    @property
    def meaning(self) -> Schema:
        """What the rows mean."""
        return self.prepared.rows_schema

    @property
    def recent(self) -> pl.DataFrame:
        """The rows that traffic is compared with: the newest stretch."""
        times = _times(self.rows, self.meaning)
        chosen = None if times is None else newest(times)
        return self.rows if chosen is None else self.rows.filter(pl.Series(chosen))

    @property
    def seed(self) -> int:
        """The seed of the attempt."""
        return estimators.seed_of(self.config.model.uid, self.config.episode, self.config.attempt)


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of a revision, the format that the runtime loads, and the model as it is loaded from that file."""

    files: dict[str, bytes]
    form: str
    predictor: Predictor

    @property
    def size(self) -> int:
        """Bytes of the file that serves."""
        return len(self.files[FILE_ONNX if self.form == "onnx" else FILE_SKOPS])


def contents(shipment: Shipment) -> Contents:
    """Everything that is stored of a revision but its manifest."""
    meaning, rows, holdout = shipment.meaning, shipment.rows, shipment.holdout
    files, form, predictor = _model(shipment)
    draft = describe(shipment, form, {})
    files[FILE_GOLDEN] = _golden(shipment, predictor).encode()
    files[FILE_REFERENCE] = build_reference(
        rows,
        meaning.features,
        watched(draft, shipment.judged),
        timestamps=_times(rows, meaning),
        prediction_timestamps=_times(holdout, meaning),
        recent=True,
    ).encode()
    recent = shipment.recent
    files[FILE_PCA] = fit_components(recent, meaning.features, timestamps=_times(recent, meaning), seed=shipment.seed).encode()
    files[FILE_ESTIMATION] = _estimation(shipment, draft).encode()
    return Contents(files, form, predictor)


def _model(shipment: Shipment) -> tuple[dict[str, bytes], str, Predictor]:
    """The model's files, the format that serves, and it as it will answer: ONNX where that says the same."""
    ours = shipment.challenger
    if ours.pipeline is None:
        assert ours.onnx is not None
        return {FILE_ONNX: ours.onnx}, "onnx", ours.predictor
    files, data = {FILE_SKOPS: storable(ours.pipeline)}, input_of(shipment.meaning, shipment.holdout)
    converted = convert(ours.pipeline, shipment.meaning.task, data)
    if converted is not None and (faster := _parity(shipment.meaning, converted, ours.predictor, data)) is not None:
        return files | {FILE_ONNX: converted}, "onnx", faster
    return files, "skops", ours.predictor


def _estimation(shipment: Shipment, draft: Manifest) -> Estimation:
    meaning = shipment.meaning
    known = known_rows(shipment.holdout, meaning)
    rows, judged = shipment.holdout.filter(pl.Series(known)), at(shipment.judged, known)
    metrics = [gate.metric for gate in shipment.config.training.evaluation.gates]
    return estimation.fit(draft, metrics, answers_for(meaning, meaning.classes, judged, rows), rows, judged, shipment.seed)


def _times(rows: pl.DataFrame, meaning: Schema) -> NDArray[Any] | None:
    return rows[meaning.timestamp].dt.replace_time_zone(None).to_numpy() if meaning.timestamp else None


def _parity(meaning: Schema, converted: bytes, ours: Predictor, data: ModelInput) -> OnnxPredictor | None:
    try:
        predictor = OnnxPredictor(meaning, converted)
        said = difference(ours.answer(data), predictor.answer(data))
    except Exception as error:  # ONNX Runtime's exceptions share no base class; any means that it cannot serve
        said = str(error).splitlines()[0][:200]
    if said is None:
        log.info("ONNX agrees with scikit-learn on every row of the holdout")
        return predictor
    log.warning("ONNX is not used: %s", said)
    return None


def _golden(shipment: Shipment, predictor: Predictor) -> Golden:
    columns = golden_rows.synthesise(shipment.rows, shipment.meaning.features, shipment.seed)
    clear = golden_rows.clear_rows(predictor.predict(columns))
    columns = {name: column[clear] for name, column in columns.items()}
    return Golden.of(columns, predictor.predict(columns), PROBABILITY_TOLERANCE)


def describe(shipment: Shipment, form: str, importance: dict[str, float]) -> Manifest:
    """The manifest, before its files are stored."""
    config, meaning = shipment.config, shipment.meaning
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
            **_learner(config.training, shipment.found),
            "search": shipment.found,
            "seed": shipment.seed,
            "task": meaning.task,
            "features": meaning.features,
            "target": meaning.target,
            "classes": meaning.classes,
            "class_kind": meaning.class_kind,
            "positive_label": meaning.positive_label,
            "format": form,
            "files": {},
            "data": _learned(shipment),
            "evaluation": shipment.record,
            "importance": importance,
            "versions": {"python": platform.python_version(), "stationkeeper": __version__}
            | {name: version(name) for name in _LIBRARIES},
        }
    )


def _learner(training: Training, found: SearchRecord | None) -> dict[str, Any]:
    """What was fitted: a class of scikit-learn, or whatever is in a team's own image."""
    if training.container:
        return {"estimator": f"container {training.container.image}", "params": {}}
    if training.workload:
        return {"estimator": f"workload {training.workload.template}", "params": dict(training.workload.parameters)}
    assert training.estimator is not None
    fitted = with_params(training.estimator, found.params if found else {})
    return {"estimator": fitted.class_, "params": fitted.params}


def _learned(shipment: Shipment) -> DataRecord:
    start, through = reading.span(shipment.rows, shipment.meaning.timestamp)
    window = shipment.stretch.window if shipment.stretch else None
    update = {"rows": shipment.rows.height, "start": start, "through": through, "window": window}
    return shipment.prepared.data.model_copy(update=update)
