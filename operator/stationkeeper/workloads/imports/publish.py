"""The second step of an import: understand the file, judge it, and publish; the manifest last."""

import importlib
import logging

import polars as pl

from stationkeeper.api.base import short
from stationkeeper.api.jobs import ImportConfig
from stationkeeper.api.manifest import FILE_GOLDEN, MODEL_FILES, EvaluationRecord, Manifest
from stationkeeper.api.source import Source
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import foreign
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.artifacts.runtime import Predictions, Predictor
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.imports import golden, holdout
from stationkeeper.workloads.imports.prepare import fetched, file_of
from stationkeeper.workloads.imports.revision import UNJUDGED, Imported, describe, known_by_rows
from stationkeeper.workloads.imports.signature import Signature, unusable
from stationkeeper.workloads.training import estimators, outcomes, sample, summaries
from stationkeeper.workloads.training.evaluate import evaluate
from stationkeeper.workloads.training.handover import Paths, Prepared
from stationkeeper.workloads.training.segments import check_segments, segment_columns

log = logging.getLogger(__name__)


def understood(source: Source, data: bytes) -> tuple[Signature, Predictor]:
    """What a file is, and it loaded.

    Raises:
        AttemptEnded: InvalidData with InvalidModel or SignatureMismatch.
    """
    # Each reader brings the library of its format, and no other is needed.
    reader = importlib.import_module(f"stationkeeper.workloads.imports.of_{source.format}")
    found: Signature = reader.read(source, data)
    try:
        return found, foreign.load(found, found.binding, source.format, data)
    except MalformedArtifact as error:
        raise unusable(f"{source.uri}: {error}"[:900]) from error


def evaluate_and_publish(config: ImportConfig, store: Store, paths: Paths) -> TrainingSummary:
    """Judge the file where there are rows to judge by, and publish it when the gates open. Returns what is to be reported.

    Raises:
        AttemptEnded: InvalidData.
        StoreError, ArtifactError: when the store fails.
    """
    which, data = fetched(paths), file_of(paths).read_bytes()
    assert which is not None, "prepare has left what it fetched"
    found, predictor = understood(config.source, data)
    named, rows = config.source.data, None
    if named is not None:
        rows = holdout.meant(pl.read_parquet(paths.holdout), named, found)
        check_segments(rows, segment_columns(config.gates))
    seed = estimators.seed_of(config.model.uid, config.episode, config.attempt)
    proof, features = golden.learned(predictor, found, rows, seed)
    imported = Imported(config, which, found, features)
    files = {MODEL_FILES[config.source.format]: data, FILE_GOLDEN: proof.encode()}
    if rows is None:
        return _publish(imported, store, describe(imported, UNJUDGED), files)
    told = holdout.prepared(config, store, rows, found, imported.data, which.evaluation)
    answers = golden.answered(predictor, found, from_frame(rows, found.features))
    verdict = evaluate(config, store, told, rows, answers)
    if not verdict.decision.accepted:
        outcomes.keep_evaluation(store, config, verdict.record(config, told))
        return outcomes.settle(store, config, summaries.refused(config, told, verdict))
    return _judged(imported, store, told, rows, answers, verdict.record(config, told), files)


def _judged(
    imported: Imported,
    store: Store,
    told: Prepared,
    rows: pl.DataFrame,
    answers: Predictions,
    record: EvaluationRecord,
    files: dict[str, bytes],
) -> TrainingSummary:
    """Publish with what the rows tell beside their verdict: a reference for checks of drift and quality."""
    draft = describe(imported, record)
    files |= known_by_rows(imported, draft, told.rows_schema, rows, answers)
    return _publish(imported, store, draft, files, rows=rows, told=told)


def _publish(
    imported: Imported,
    store: Store,
    draft: Manifest,
    files: dict[str, bytes],
    *,
    rows: pl.DataFrame | None = None,
    told: Prepared | None = None,
) -> TrainingSummary:
    config = imported.config
    manifest = draft.model_copy(update={"files": {name: put_blob(store, content) for name, content in files.items()}})
    digest = publish_manifest(store, manifest)
    log.info("published revision %d as %s", manifest.number, digest)
    if rows is not None and told is not None:
        sample.keep(store, digest, rows, told.rows_schema, config.model.uid)
    return outcomes.settle(store, config, summaries.published(config, store, manifest, digest, _said(imported, manifest)))


def _said(imported: Imported, manifest: Manifest) -> str:
    judged, what = manifest.evaluation, f"imported {short(imported.which.digest)} ({manifest.format})"
    scores = [f"{name} {score.value:.4f}" for name, score in judged.metrics.items()]
    if not scores:
        return f"{what}; nothing judged it: source.evaluation names no rows"
    champion = [f"{name} {score.value:.4f}" for name, score in judged.champion_metrics.items()]
    against = f", revision {judged.champion_number}: {', '.join(champion)}" if champion else ""
    return f"{what}; {', '.join(scores)} on {judged.holdout_rows} rows{against}"
