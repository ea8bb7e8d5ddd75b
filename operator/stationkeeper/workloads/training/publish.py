"""The third container: judge, refit, and publish; the manifest last."""

import logging

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Task
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training import outcomes, sample, summaries
from stationkeeper.workloads.training.challenger import Challenger, answers_of, handed_over
from stationkeeper.workloads.training.evaluate import Verdict, evaluate
from stationkeeper.workloads.training.fit import fit
from stationkeeper.workloads.training.handover import Paths, Prepared
from stationkeeper.workloads.training.importance import permutation_importance
from stationkeeper.workloads.training.revision import Shipment, contents, describe

log = logging.getLogger(__name__)


def evaluate_and_publish(config: TrainConfig, store: Store, paths: Paths) -> TrainingSummary:
    """Judge what `train` fitted and publish it when the gates open. Returns what is to be reported.

    Raises:
        AttemptEnded: Failed or InvalidData.
        StoreError, ArtifactError: when the store fails.
    """
    prepared = Prepared.model_validate_json(paths.prepared.read_bytes())
    fitted = handed_over(paths, prepared.rows_schema)
    holdout = pl.read_parquet(paths.holdout)
    answers = answers_of(fitted, prepared.rows_schema, holdout)
    verdict = evaluate(config, store, prepared, holdout, answers)
    if not verdict.decision.accepted:
        return outcomes.settle(store, config, summaries.refused(config, prepared, verdict))
    importance = permutation_importance(config, prepared.rows_schema, fitted, holdout)
    shipment = _refit(config, prepared, fitted, pl.read_parquet(paths.train), holdout, answers, verdict)
    files, form = contents(shipment)
    manifest = describe(shipment, form, importance)
    manifest = manifest.model_copy(update={"files": {name: put_blob(store, content) for name, content in files.items()}})
    digest = publish_manifest(store, manifest)
    log.info("published revision %d as %s", manifest.number, digest)
    sample.keep(store, digest, shipment.rows, prepared.rows_schema, config.model.uid)
    return outcomes.settle(store, config, summaries.published(config, store, manifest, digest))


def _refit(
    config: TrainConfig,
    prepared: Prepared,
    fitted: Challenger,
    train: pl.DataFrame,
    holdout: pl.DataFrame,
    answers: Predictions,
    verdict: Verdict,
) -> Shipment:
    """The model to ship and the rows it knows: by default the holdout too, which has done its work."""
    record = verdict.record(config, prepared)
    meaning = prepared.rows_schema
    if config.training.own or config.training.evaluation.refit == "None" or meaning.timestamp is None:
        return Shipment(config, prepared, fitted, train, holdout, answers, record)
    rows = pl.concat([train, holdout.select(train.columns)], how="vertical_relaxed")
    if meaning.task is not Task.REGRESSION:
        # What was judged knew these classes; a new class is learned when a training has seen it and was judged with it.
        rows = rows.filter(pl.col(meaning.target).is_in(meaning.classes))
    shipped = Challenger.of(fit(config, meaning, rows), meaning)
    shift = _shift(answers, answers_of(shipped, meaning, holdout))
    log.info("refitted on %d rows; predictions on the holdout moved by %.4f on average", rows.height, shift.mean())
    update = {"refit": "WholeWindow", "refit_shift_max": float(shift.max()), "refit_shift_mean": float(shift.mean())}
    return Shipment(config, prepared, shipped, rows, holdout, answers, record.model_copy(update=update))


def _shift(before: Predictions, after: Predictions) -> NDArray[np.float64]:
    """Absolute difference by row: of values, of the likeliest probabilities, or of labels (0 or 1)."""
    if before.values is not None and after.values is not None:
        return np.asarray(np.abs(before.values - after.values))
    if before.probabilities is not None and after.probabilities is not None:
        return np.asarray(np.abs(before.probabilities - after.probabilities).max(axis=1))
    return np.asarray(before.labels != after.labels, dtype=np.float64)
