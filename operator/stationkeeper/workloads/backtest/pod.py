"""Trainings of a replay: a training pod in this process, or the mere assumption that one was published."""

import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from stationkeeper.api.base import canonical_json, parse_duration, sha256
from stationkeeper.api.jobs import ModelIdentity, RevisionIdentity, TrainConfig
from stationkeeper.api.model import Labels, ModelSpec
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.backtest.folder import FolderStore
from stationkeeper.workloads.backtest.history import INSTANT, History
from stationkeeper.workloads.backtest.pilot import Order
from stationkeeper.workloads.backtest.served import Served
from stationkeeper.workloads.training import outcomes
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.fit import train
from stationkeeper.workloads.training.handover import Paths
from stationkeeper.workloads.training.prepare import prepare
from stationkeeper.workloads.training.publish import evaluate_and_publish


@dataclass(frozen=True, slots=True)
class Stage:
    """What every course of a replay shares."""

    history: History
    store: FolderStore  # of the model
    model: ModelIdentity
    spec: ModelSpec
    labels: Labels  # how they come, and how long after their rows
    folder: Path  # room for what a training needs while it runs

    def config(self, order: Order, champion: Served | None, now: datetime) -> TrainConfig:
        """What the operator would tell the training pod."""
        training = self.spec.trained
        # As the history is kept; it holds all that was known, and what is replayed was captured nowhere else.
        data = training.data.model_copy(update={"format": "parquet", "sources": [], "feedback": None})
        # A holdout of its own may hold rows that were yet to come.
        holdout = training.evaluation.holdout.model_copy(update={"uri": None})
        evaluation = training.evaluation.model_copy(update={"holdout": holdout})
        return TrainConfig(
            model=self.model,
            storage=self.spec.storage,
            episode=order.episode,
            attempt=order.attempt,
            cause=order.cause,
            revision=order.revision,
            as_of=self.known(now) - INSTANT,  # the window of rows ends where labels do
            onset=order.onset,
            training=training.model_copy(update={"data": data, "evaluation": evaluation}),
            template_digest=sha256(canonical_json(training.wire())),
            champion=RevisionIdentity(number=champion.manifest.number, digest=champion.revision.digest) if champion else None,
            anchor=order.anchor,
        )

    @property
    def lag(self) -> timedelta:
        """After which a label is known."""
        return parse_duration(self.labels.lag)

    def known(self, now: datetime) -> datetime:
        """The moment before which labels are known."""
        return now - self.lag

    def learnable(self, now: datetime) -> tuple[datetime, datetime]:
        """The stretch of rows that a training of this moment would learn from; of several windows the longest."""
        reach, end = self.spec.trained.data.reach, self.known(now)
        return (end - reach if reach else self.history.start), end


class Trainer(Protocol):
    """Trains one challenger."""

    def train(self, order: Order, champion: Served | None, now: datetime) -> TrainingSummary:
        """Run one attempt over what is known now, and publish or refuse; the revision is in the store then."""
        ...


class PodTrainer:
    """Runs the three steps of the training pod, with what was known at the time as the only data.

    Courses that ask for the same training of the same champion get the same one.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._done: dict[object, TrainingSummary] = {}

    def train(self, order: Order, champion: Served | None, now: datetime) -> TrainingSummary:
        """See `Trainer.train`."""
        config = self._stage.config(order, champion, now)
        same = (order.cause, order.onset, now, config.champion, order.anchor, order.revision)
        if same not in self._done:
            self._done[same] = self._run(config, self._stage.known(now))
        return self._done[same].model_copy(update={"episode": order.episode, "attempt": order.attempt})

    def _run(self, config: TrainConfig, known: datetime) -> TrainingSummary:
        stage = self._stage
        with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
            source = FolderStore(Path(folder) / "source", config.training.data.uri.rstrip("/"))
            stage.history.write(source.path("known.parquet"), known)
            paths = Paths.under(Path(folder) / "pod")
            paths.make()
            try:
                prepare(config, stage.store, lambda _uri: source, paths)
                train(config, paths)
                return evaluate_and_publish(config, stage.store, paths)
            except AttemptEnded as ending:
                return outcomes.ended(config, ending)
