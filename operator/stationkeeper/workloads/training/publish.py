"""The third container: judge, refit, convert, and publish; the manifest last."""

import logging
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from stationkeeper import __version__
from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import (
    FILE_GOLDEN,
    FILE_ONNX,
    FILE_REFERENCE,
    FILE_SKOPS,
    DataRecord,
    EvaluationRecord,
    Manifest,
    Task,
)
from stationkeeper.api.model import TrainingOutcome
from stationkeeper.api.summary import FailureSummary, TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.columns import ModelInput, from_frame, model_input
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.golden import Golden
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.artifacts.outputs import watched
from stationkeeper.workloads.artifacts.runtime import OnnxPredictor, Predictions, SklearnPredictor, load_skops, predict_pipeline
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.training import estimators, golden_rows, outcomes, reading
from stationkeeper.workloads.training.convert import PROBABILITY_TOLERANCE, convert, difference
from stationkeeper.workloads.training.ending import failed
from stationkeeper.workloads.training.evaluate import Verdict, evaluate
from stationkeeper.workloads.training.fit import fit, storable
from stationkeeper.workloads.training.handover import Paths, Prepared, Schema

log = logging.getLogger(__name__)

_LIBRARIES = ("scikit-learn", "numpy", "skops", "onnxruntime", "skl2onnx", "onnx", "polars")
_MAX_MODEL_BYTES = 2**30


def evaluate_and_publish(config: TrainConfig, store: Store, paths: Paths) -> TrainingSummary:
    """Judge what `train` fitted and publish it when the gates open. Returns what is to be reported.

    Raises:
        AttemptEnded: Failed or InvalidData.
        StoreError, ArtifactError: when the store fails.
    """
    fitted = _fitted(paths)
    prepared = Prepared.model_validate_json(paths.prepared.read_bytes())
    holdout = pl.read_parquet(paths.holdout)
    answers = _predict(fitted, prepared.rows_schema, holdout)
    verdict = evaluate(config, store, prepared, holdout, answers)
    if not verdict.decision.accepted:
        return outcomes.settle(store, config, _refusal(config, prepared, verdict))
    train = pl.read_parquet(paths.train)
    shipped, rows, record = _refit(config, prepared, fitted, train, holdout, answers, verdict)
    data = _learned(prepared, rows, refitted=record.refit == "WholeWindow")
    files, form = _files(config, prepared, shipped, rows, holdout, answers)
    manifest = _manifest(config, prepared.rows_schema, data, record, form)
    manifest = manifest.model_copy(update={"files": {name: put_blob(store, content) for name, content in files.items()}})
    digest = publish_manifest(store, manifest)
    log.info("published revision %d as %s", manifest.number, digest)
    return outcomes.settle(store, config, _published(config, store, manifest, digest))


def _fitted(paths: Paths) -> Pipeline:
    if paths.broken.is_file() and not paths.broken.is_symlink():
        said = FailureSummary.model_validate_json(paths.broken.read_bytes())
        raise failed(said.reason, said.message)
    # A team's own container may have left anything here, also a link to somewhere else.
    if paths.fitted.is_symlink() or not paths.fitted.is_file() or paths.fitted.stat().st_size > _MAX_MODEL_BYTES:
        raise failed("TrainingFailed", f"training left no {paths.fitted.name} of at most {_MAX_MODEL_BYTES} bytes")
    try:
        pipeline: Pipeline = load_skops(paths.fitted.read_bytes())
    except MalformedArtifact as error:
        raise failed("TrainingFailed", str(error)) from error
    return pipeline


def _input(meaning: Schema, rows: pl.DataFrame) -> ModelInput:
    return model_input(from_frame(rows, meaning.features), meaning.features)


def _predict(pipeline: Pipeline, meaning: Schema, rows: pl.DataFrame) -> Predictions:
    return predict_pipeline(pipeline, meaning.task, meaning.classes, _input(meaning, rows))


def _refit(
    config: TrainConfig,
    prepared: Prepared,
    fitted: Pipeline,
    train: pl.DataFrame,
    holdout: pl.DataFrame,
    answers: Predictions,
    verdict: Verdict,
) -> tuple[Pipeline, pl.DataFrame, EvaluationRecord]:
    """The model to ship and the rows it knows: by default the holdout too, which has done its work."""
    record = verdict.record(config, prepared)
    meaning = prepared.rows_schema
    if config.training.evaluation.refit == "None" or meaning.timestamp is None:
        return fitted, train, record
    rows = pl.concat([train, holdout.select(train.columns)], how="vertical_relaxed")
    if meaning.task is not Task.REGRESSION:
        # What was judged knew these classes; a new class is learned when a training has seen it and was judged with it.
        rows = rows.filter(pl.col(meaning.target).is_in(meaning.classes))
    shipped = fit(config, meaning, rows)
    shift = _shift(answers, _predict(shipped, meaning, holdout))
    log.info("refitted on %d rows; predictions on the holdout moved by %.4f on average", rows.height, shift.mean())
    update = {"refit": "WholeWindow", "refit_shift_max": float(shift.max()), "refit_shift_mean": float(shift.mean())}
    return shipped, rows, record.model_copy(update=update)


def _shift(before: Predictions, after: Predictions) -> NDArray[np.float64]:
    """Absolute difference by row: of values, of the likeliest probabilities, or of labels (0 or 1)."""
    if before.values is not None and after.values is not None:
        return np.asarray(np.abs(before.values - after.values))
    if before.probabilities is not None and after.probabilities is not None:
        return np.asarray(np.abs(before.probabilities - after.probabilities).max(axis=1))
    return np.asarray(before.labels != after.labels, dtype=np.float64)


def _learned(prepared: Prepared, rows: pl.DataFrame, *, refitted: bool) -> DataRecord:
    if not refitted:
        return prepared.data
    start, through = reading.span(rows, prepared.rows_schema.timestamp)
    return prepared.data.model_copy(update={"rows": rows.height, "start": start, "through": through})


def _files(
    config: TrainConfig, prepared: Prepared, shipped: Pipeline, rows: pl.DataFrame, holdout: pl.DataFrame, judged: Predictions
) -> tuple[dict[str, bytes], str]:
    """Every file of the revision, and the format that the runtime loads."""
    meaning = prepared.rows_schema
    draft = _manifest(config, meaning, prepared.data, None, "skops")
    predictor: Any = SklearnPredictor(draft, shipped)
    files = {FILE_SKOPS: storable(shipped)}
    form = "skops"
    converted = convert(shipped, meaning.task, _input(meaning, holdout))
    if converted is not None and (faster := _parity(draft, converted, predictor, holdout)) is not None:
        predictor, form = faster, "onnx"
        files[FILE_ONNX] = converted
    files[FILE_GOLDEN] = _golden(config, meaning, rows, predictor).encode()
    profile = build_reference(
        rows,
        meaning.features,
        watched(meaning, judged),
        timestamps=_times(rows, meaning),
        prediction_timestamps=_times(holdout, meaning),
    )
    files[FILE_REFERENCE] = profile.encode()
    return files, form


def _times(rows: pl.DataFrame, meaning: Schema) -> NDArray[Any] | None:
    return rows[meaning.timestamp].dt.replace_time_zone(None).to_numpy() if meaning.timestamp else None


def _parity(draft: Manifest, converted: bytes, ours: SklearnPredictor, holdout: pl.DataFrame) -> OnnxPredictor | None:
    columns = from_frame(holdout, draft.features)
    try:
        predictor = OnnxPredictor(draft, converted)
        said = difference(ours.predict(columns), predictor.predict(columns))
    except Exception as error:  # ONNX Runtime's exceptions share no base class; any means that it cannot serve
        said = str(error).splitlines()[0][:200]
    if said is None:
        log.info("ONNX agrees with scikit-learn on all %d rows of the holdout", holdout.height)
        return predictor
    log.warning("ONNX is not used: %s", said)
    return None


def _golden(config: TrainConfig, meaning: Schema, rows: pl.DataFrame, predictor: Any) -> Golden:
    seed = estimators.seed_of(config.model.uid, config.episode, config.attempt)
    columns = golden_rows.synthesise(rows, meaning.features, seed)
    clear = golden_rows.clear_rows(predictor.predict(columns))
    columns = {name: column[clear] for name, column in columns.items()}
    return Golden.of(columns, predictor.predict(columns), PROBABILITY_TOLERANCE)


def _manifest(config: TrainConfig, meaning: Schema, data: DataRecord, record: EvaluationRecord | None, form: str) -> Manifest:
    empty = EvaluationRecord(holdout_rows=0, metrics={}, gates=[], refit="None")
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
            "estimator": config.training.estimator.class_,
            "params": config.training.estimator.params,
            "seed": estimators.seed_of(config.model.uid, config.episode, config.attempt),
            "task": meaning.task,
            "features": meaning.features,
            "target": meaning.target,
            "classes": meaning.classes,
            "class_kind": meaning.class_kind,
            "positive_label": meaning.positive_label,
            "format": form,
            "files": {},
            "data": data,
            "evaluation": record or empty,
            "versions": {"python": platform.python_version(), "stationkeeper": __version__}
            | {name: version(name) for name in _LIBRARIES},
        }
    )


def _base(config: TrainConfig, prepared: Prepared | None, outcome: TrainingOutcome, reason: str, message: str) -> dict[str, Any]:
    return {
        "episode": config.episode,
        "attempt": config.attempt,
        "outcome": outcome,
        "reason": reason,
        "message": message if len(message) <= 1000 else message[:997] + "...",
        "finished_at": datetime.now(UTC).replace(microsecond=0),
        "data_digest": prepared.data.digest if prepared else None,
        "data_through": prepared.data.through if prepared else None,
        "champion_digest": config.champion.digest if config.champion else None,
        "champion_number": config.champion.number if config.champion else None,
    }


def _refusal(config: TrainConfig, prepared: Prepared, verdict: Verdict) -> TrainingSummary:
    base = _base(config, prepared, TrainingOutcome.REFUSED, verdict.decision.reason, verdict.decision.message)
    metrics = {name: score.value for name, score in verdict.metrics.items()}
    champion = {name: score.value for name, score in verdict.champion_metrics.items()}
    return TrainingSummary.model_validate(base | {"metrics": metrics, "champion_metrics": champion})


def _published(config: TrainConfig, store: Store, manifest: Manifest, digest: str) -> TrainingSummary:
    scores = {name: score.value for name, score in manifest.evaluation.metrics.items()}
    champion = {name: score.value for name, score in manifest.evaluation.champion_metrics.items()}
    name, value = next(iter(scores.items()), ("score", float("nan")))
    against = f", revision {manifest.evaluation.champion_number}: {champion[name]:.4f}" if name in champion else ""
    message = f"revision {manifest.number} learned {manifest.data.rows} rows; {name} {value:.4f} on {manifest.evaluation.holdout_rows} later rows{against}"
    base = _base(config, None, TrainingOutcome.PUBLISHED, "Published", message)
    return TrainingSummary.model_validate(
        base
        | {
            "digest": digest,
            "manifest_uri": store.uri(keys.manifest(digest)),
            "revision": manifest.number,
            "data_digest": manifest.data.digest,
            "data_through": manifest.data.through,
            "metrics": scores,
            "champion_metrics": champion,
        }
    )
