"""The third container: judge, refit, and publish; the manifest last."""

import logging
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Candidate, SearchRecord, Task
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training import outcomes, reading, sample, summaries
from stationkeeper.workloads.training.budget import judge_budget
from stationkeeper.workloads.training.challenger import Challenger, answers_of, handed_over
from stationkeeper.workloads.training.evaluate import Verdict, at, choosing, evaluate
from stationkeeper.workloads.training.fit import fit
from stationkeeper.workloads.training.handover import Paths, Prepared, Schema
from stationkeeper.workloads.training.importance import permutation_importance
from stationkeeper.workloads.training.looks import look
from stationkeeper.workloads.training.revision import Shipment, contents, describe
from stationkeeper.workloads.training.windows import Contender, learned, older_half, pick

log = logging.getLogger(__name__)


def evaluate_and_publish(config: TrainConfig, store: Store, paths: Paths) -> TrainingSummary:
    """Judge what `train` fitted and publish it when the gates open. Returns what is to be reported.

    Raises:
        AttemptEnded: Failed or InvalidData.
        StoreError, ArtifactError: when the store fails.
    """
    prepared = Prepared.model_validate_json(paths.prepared.read_bytes())
    holdout = pl.read_parquet(paths.holdout)
    chosen, judges, candidates = _choose(config, prepared, holdout, _contenders(config, paths, prepared.rows_schema, holdout))
    judging = holdout.filter(pl.Series(judges))
    prepared = _judged_by(prepared, judging, look(config, store))
    verdict = replace(evaluate(config, store, prepared, judging, at(chosen.answers, judges)), candidates=candidates)
    if not verdict.decision.accepted:
        return _refused(config, store, prepared, verdict)
    importance = permutation_importance(config, prepared.rows_schema, chosen.challenger, holdout)
    shipment = _refit(config, prepared, chosen, paths, holdout, verdict)
    packed = contents(shipment)
    verdict = verdict.within(judge_budget(config.training.evaluation.budget, packed.predictor, packed.size, holdout))
    if not verdict.decision.accepted:
        return _refused(config, store, prepared, verdict)
    shipment = replace(shipment, record=shipment.record.model_copy(update={"gates": verdict.gates}))
    manifest = describe(shipment, packed.form, importance)
    manifest = manifest.model_copy(update={"files": {name: put_blob(store, content) for name, content in packed.files.items()}})
    digest = publish_manifest(store, manifest)
    log.info("published revision %d as %s", manifest.number, digest)
    sample.keep(store, digest, shipment.recent, prepared.rows_schema, config.model.uid)
    return outcomes.settle(store, config, summaries.published(config, store, manifest, digest))


def _refused(config: TrainConfig, store: Store, prepared: Prepared, verdict: Verdict) -> TrainingSummary:
    outcomes.keep_evaluation(store, config, verdict.record(config, prepared))
    return outcomes.settle(store, config, summaries.refused(config, prepared, verdict))


def _contenders(config: TrainConfig, paths: Paths, meaning: Schema, holdout: pl.DataFrame) -> list[Contender]:
    """Every challenger that was trained, and what it says."""
    field = []
    for place, stretch in enumerate(meaning.stretches or [None]):
        challenger = handed_over(paths, meaning, place)
        # Only our own container searches: what a team's leaves under that name is not looked at.
        found = SearchRecord.model_validate_json(paths.found_on(place).read_bytes()) if config.training.search else None
        field.append(Contender(challenger, answers_of(challenger, meaning, holdout), stretch, found))
    return field


def _choose(
    config: TrainConfig, prepared: Prepared, holdout: pl.DataFrame, field: list[Contender]
) -> tuple[Contender, NDArray[np.bool_], list[Candidate]]:
    """The challenger, the rows of the holdout that are left to judge it, and what was chosen among."""
    meaning = prepared.rows_schema
    if len(field) == 1 or meaning.timestamp is None:
        return field[0], np.ones(holdout.height, dtype=bool), []
    older = older_half(holdout, meaning.timestamp)
    said = choosing(config, meaning, holdout.filter(pl.Series(older)), [at(each.answers, older) for each in field])
    chosen, candidates = pick(field, said)
    return chosen, ~older, candidates


def _judged_by(prepared: Prepared, judging: pl.DataFrame, number: int) -> Prepared:
    first, last = reading.span(judging, prepared.rows_schema.timestamp)
    judged = {"holdout_rows": judging.height, "holdout_start": first, "holdout_end": last, "look": number}
    return prepared.model_copy(update=judged)


def _refit(
    config: TrainConfig, prepared: Prepared, chosen: Contender, paths: Paths, holdout: pl.DataFrame, verdict: Verdict
) -> Shipment:
    """The model to ship and the rows it knows: by default the holdout too, which has done its work."""
    record, meaning = verdict.record(config, prepared), prepared.rows_schema
    train = learned(pl.read_parquet(paths.train), meaning, chosen.stretch)
    shipment = Shipment(config, prepared, chosen.challenger, train, holdout, chosen.answers, record, chosen.found, chosen.stretch)
    # A holdout of its own stays unseen.
    if (
        config.training.own
        or config.training.evaluation.refit == "None"
        or meaning.timestamp is None
        or prepared.frozen is not None
    ):
        return shipment
    later = [pl.read_parquet(paths.gap), holdout.select(train.columns)]
    rows = learned(pl.concat([train, *later], how="vertical_relaxed"), meaning, chosen.stretch)
    if meaning.task is not Task.REGRESSION:
        # What was judged knew these classes; a new class is learned when a training has seen it and was judged with it.
        rows = rows.filter(pl.col(meaning.target).is_in(meaning.classes))
    shipped = Challenger.of(fit(config, meaning, rows, chosen.found.params if chosen.found else {}), meaning)
    shift = _shift(chosen.answers, answers_of(shipped, meaning, holdout))
    log.info("refitted on %d rows; predictions on the holdout moved by %.4f on average", rows.height, shift.mean())
    update = {"refit": "WholeWindow", "refit_shift_max": float(shift.max()), "refit_shift_mean": float(shift.mean())}
    return replace(shipment, challenger=shipped, rows=rows, record=record.model_copy(update=update))


def _shift(before: Predictions, after: Predictions) -> NDArray[np.float64]:
    """Absolute difference by row: of values, of the likeliest probabilities, or of labels (0 or 1)."""
    if before.values is not None and after.values is not None:
        return np.asarray(np.abs(before.values - after.values))
    if before.probabilities is not None and after.probabilities is not None:
        return np.asarray(np.abs(before.probabilities - after.probabilities).max(axis=1))
    return np.asarray(before.labels != after.labels, dtype=np.float64)
