"""Trainings that are only assumed: published, with the reference that a training of the moment would have made.

Nothing is fitted but the first model, or nothing at all where the history brings its own answers. It tells how often a policy
would ask for a training, and what drifts against what, in seconds.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from stationkeeper.api.base import sha256
from stationkeeper.api.manifest import (
    FILE_PCA,
    FILE_REFERENCE,
    Column,
    DataRecord,
    EvaluationRecord,
    Manifest,
    Task,
)
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.columns import Array, Columns
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.backtest.pilot import Order
from stationkeeper.workloads.backtest.pod import PodTrainer, Stage
from stationkeeper.workloads.backtest.served import Served, output
from stationkeeper.workloads.checks.samples import FrameError, Roles, sample_of
from stationkeeper.workloads.drift.components import fit_components
from stationkeeper.workloads.drift.reference import build_reference, newest
from stationkeeper.workloads.training import outcomes, reading, sample
from stationkeeper.workloads.training.ending import AttemptEnded, invalid
from stationkeeper.workloads.training.handover import Schema
from stationkeeper.workloads.training.prepare import check_new_rows
from stationkeeper.workloads.training.split import split
from stationkeeper.workloads.training.windows import shortest_since

_SEED: Final = 20130401


class AssumedTrainer:
    """Publishes the first model's files again, with the reference of the rows that are known by now."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._first = PodTrainer(stage)

    def train(self, order: Order, champion: Served | None, now: datetime) -> TrainingSummary:
        """See `Trainer.train`."""
        if champion is None:
            return self._first.train(order, champion, now)
        config, time = self._stage.config(order, champion, now), self._stage.history.timestamp
        rows = self._stage.history.between(*self._stage.learnable(now))
        try:
            check_new_rows(rows.filter(pl.col(champion.manifest.target).is_not_null()), config, champion.manifest)
            training = config.training
            since = shortest_since(rows, training.data, config.as_of)
            _, newest = split(rows, time, training.evaluation.holdout, "", [], champion.manifest.data.through, since)
        except AttemptEnded as ending:
            return outcomes.ended(config, ending)
        answers = champion.answer(newest)
        if answers.fault:
            return outcomes.ended(config, invalid("MalformedData", f"{answers.fault!r} is missing or of another type"))
        renewed = champion.manifest.model_copy(update={"number": order.revision, "cause": order.cause, "trained_at": now})
        return _publish(self._stage, renewed, rows, answers.outputs, _times(newest, time), order)


class RowsAlone:
    """Makes the reference of rows whose answers, if there are any, stand beside them."""

    def __init__(self, stage: Stage, roles: Roles) -> None:
        self._stage = stage
        self._roles = roles
        self.notes: list[str] = []

    def train(self, order: Order, champion: Served | None, now: datetime) -> TrainingSummary:
        """See `Trainer.train`."""
        config = self._stage.config(order, champion, now)
        rows = self._stage.history.between(*self._stage.learnable(now))
        try:
            if champion is not None:
                check_new_rows(rows, config, champion.manifest)
            known = sample_of(rows, self._roles)
        except AttemptEnded as ending:
            return outcomes.ended(config, ending)
        except FrameError as error:
            return outcomes.ended(config, invalid("MalformedData", str(error)))
        self.notes = list(known.notes)
        outputs = {name: output(rows[name]) for name in self._roles.predictions}
        return _publish(self._stage, _bare(self._stage, known.features, order, now), rows, outputs, known.times, order)


def _bare(stage: Stage, features: Sequence[Column], order: Order, now: datetime) -> Manifest:
    """The manifest of a revision without a model."""
    return Manifest(
        model=f"{stage.model.namespace}/{stage.model.name}",
        model_uid=stage.model.uid,
        number=order.revision,
        cause=order.cause,
        episode=order.episode,
        attempt=order.attempt,
        template_digest=sha256(b""),
        trained_at=now,
        estimator="",
        seed=0,
        task=Task.REGRESSION,
        features=list(features),
        target=stage.spec.trained.data.target,
        format="skops",
        files={},
        data=DataRecord(uri=stage.spec.trained.data.uri, objects=0, digest=sha256(b""), rows=0),
        evaluation=EvaluationRecord(holdout_rows=0, metrics={}, gates=[], refit="None"),
    )


def _publish(
    stage: Stage, manifest: Manifest, rows: pl.DataFrame, outputs: Columns, output_times: Array | None, order: Order
) -> TrainingSummary:
    """Publish a revision with the reference of these rows and outputs."""
    store, time, features = stage.store, stage.history.timestamp, manifest.features
    times = _times(rows, time)
    reference = build_reference(
        rows, features, outputs, timestamps=times, prediction_timestamps=output_times if outputs else None, recent=True
    )
    chosen = newest(times)
    recent = rows if chosen is None else rows.filter(pl.Series(chosen))
    components = fit_components(recent, features, timestamps=_times(recent, time), seed=_SEED)
    start, through = reading.span(rows, time)
    data = manifest.data.model_copy(update={"rows": rows.height, "start": start, "through": through})
    files = {FILE_REFERENCE: put_blob(store, reference.encode()), FILE_PCA: put_blob(store, components.encode())}
    manifest = manifest.model_copy(update={"data": data, "files": manifest.files | files})
    digest = publish_manifest(store, manifest)
    meaning = Schema(task=manifest.task, features=features, target=manifest.target, timestamp=time)
    sample.keep(store, digest, recent, meaning, stage.model.uid)
    return TrainingSummary(
        episode=order.episode,
        attempt=order.attempt,
        outcome=TrainingOutcome.PUBLISHED,
        reason="Assumed",
        message=f"assumed: revision {manifest.number} would know {rows.height} rows",
        finished_at=manifest.trained_at,
        digest=digest,
        manifest_uri=store.uri(keys.manifest(digest)),
        revision=manifest.number,
        data_digest=data.digest,
        data_since=start,
        data_through=through,
    )


def _times(rows: pl.DataFrame, timestamp: str) -> Array:
    return rows[timestamp].dt.replace_time_zone(None).to_numpy()
