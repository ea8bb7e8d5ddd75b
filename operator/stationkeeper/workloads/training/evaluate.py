"""Challenger against champion, on the rows that `prepare` froze."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import EvaluationRecord, GateResult, Manifest, Score, Task
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.runtime import Predictions, load_model
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training import bootstrap, estimators
from stationkeeper.workloads.training.bench import Bench, compare, measure
from stationkeeper.workloads.training.gates import Decision, decide, judge
from stationkeeper.workloads.training.handover import Prepared, Schema
from stationkeeper.workloads.training.metrics import Answers, judged

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gates said."""

    decision: Decision
    gates: list[GateResult]
    metrics: dict[str, Score]
    champion_metrics: dict[str, Score]

    def record(self, config: TrainConfig, prepared: Prepared) -> EvaluationRecord:
        """For the manifest, before the refit."""
        return EvaluationRecord(
            holdout_rows=prepared.holdout_rows,
            holdout_start=prepared.holdout_start,
            holdout_end=prepared.holdout_end,
            metrics=self.metrics,
            gates=self.gates,
            champion=config.champion.digest if config.champion else None,
            champion_number=config.champion.number if config.champion else None,
            champion_metrics=self.champion_metrics,
            refit="None",
            accepted_without_gain=self.decision.without_gain,
        )


class NotComparable(Exception):  # noqa: N818 - a finding
    """The champion cannot answer these rows, or answers another question."""


def evaluate(config: TrainConfig, store: Store, prepared: Prepared, holdout: pl.DataFrame, answers: Predictions) -> Verdict:
    """Judge a challenger by its answers to the holdout.

    Raises:
        AttemptEnded: InvalidData, when a metric does not fit.
        StoreError, ArtifactError: when the champion cannot be loaded.
    """
    meaning = prepared.rows_schema
    known = known_rows(holdout, meaning)
    if not known.all():
        log.warning("%d rows of the holdout have classes that training never saw; they are left out", int((~known).sum()))
    champion, incomparable = None, None
    if config.champion:
        champion, incomparable = _ask_champion(store, config.champion.digest, holdout, meaning)
    whole = _bench(config, meaning, holdout, known, answers, None)
    fresh = known & _fresh(holdout, prepared)
    if champion is not None and not prepared.champion_shares_split:
        champion, incomparable = None, "the champion learned other features, so its training rows cannot be told from the holdout"
    paired = _bench(config, meaning, holdout, fresh, answers, champion) if champion is not None else None
    gates = config.training.evaluation.gates
    results = judge(gates, whole, paired, incomparable)
    names = list(dict.fromkeys(gate.metric for gate in gates))
    return _verdict(config, results, names, whole, paired, incomparable)


def _verdict(
    config: TrainConfig,
    results: list[GateResult],
    names: Sequence[str],
    whole: Bench,
    paired: Bench | None,
    incomparable: str | None,
) -> Verdict:
    pairs = {name: compare(paired, name) for name in names} if paired is not None and paired.enough() else {}
    gain = -pairs[names[0]].drop.value if pairs else None
    number = config.champion.number if config.champion else None
    decision = decide(results, config.cause, gain, number, incomparable)
    metrics = (
        {name: pairs[name].challenger if name in pairs else measure(whole, name) for name in names} if whole.enough() else {}
    )
    for name, score in metrics.items():
        against = f", champion {pairs[name].champion.value:.4f}" if name in pairs else ""
        log.info("%s %.4f%s", name, score.value, against)
    log.info("gates: %s (%s)", decision.reason, decision.message)
    return Verdict(decision, results, metrics, {name: pair.champion for name, pair in pairs.items()})


def known_rows(holdout: pl.DataFrame, meaning: Schema) -> NDArray[np.bool_]:
    """Rows of classes that training saw."""
    if meaning.task is Task.REGRESSION:
        return np.ones(holdout.height, dtype=bool)
    return holdout[meaning.target].is_in(meaning.classes).to_numpy()


def _fresh(holdout: pl.DataFrame, prepared: Prepared) -> NDArray[np.bool_]:
    """Rows that the champion has not learned from."""
    time = prepared.rows_schema.timestamp
    if time is None or prepared.champion_through is None:
        return np.ones(holdout.height, dtype=bool)
    fresh: NDArray[np.bool_] = (holdout[time] > prepared.champion_through).to_numpy()
    if not fresh.all():
        log.warning("the champion learned from %d rows of the holdout; they do not compare the two", int((~fresh).sum()))
    return fresh


def _ask_champion(
    store: Store, digest: str, holdout: pl.DataFrame, meaning: Schema
) -> tuple[tuple[Manifest, Predictions] | None, str | None]:
    manifest = load_manifest(store, digest)
    try:
        if (manifest.target, manifest.task) != (meaning.target, meaning.task) or set(manifest.classes) != set(meaning.classes):
            raise NotComparable(f"revision {manifest.number} predicts another target or other classes")
        predictor = load_model(manifest, {name: get_blob(store, ref) for name, ref in manifest.files.items()})
        return (manifest, predictor.predict(from_frame(holdout, manifest.features))), None
    except NotComparable as error:
        return None, str(error)
    except ColumnError as error:
        return None, f"revision {manifest.number} cannot answer today's rows: {error}"


def _bench(
    config: TrainConfig,
    meaning: Schema,
    holdout: pl.DataFrame,
    rows: NDArray[np.bool_],
    ours: Predictions,
    champion: tuple[Manifest, Predictions] | None,
) -> Bench:
    kept = holdout.filter(pl.Series(rows))
    theirs = answers_for(meaning, champion[0].classes, at(champion[1], rows), kept) if champion else None
    times = kept[meaning.timestamp].dt.epoch("us").to_numpy() if meaning.timestamp else None
    return Bench(
        task=meaning.task,
        challenger=answers_for(meaning, meaning.classes, at(ours, rows), kept),
        champion=theirs,
        blocks=bootstrap.time_blocks(times) if times is not None else None,
        seed=estimators.seed_of(config.model.uid, config.episode, config.attempt),
    )


def answers_for(meaning: Schema, given: Sequence[str], predictions: Predictions, rows: pl.DataFrame) -> Answers:
    """Predictions for rows with their truth. `given` is the order of the columns of the probabilities."""
    return judged(meaning, predictions, rows[meaning.target], given)


def at(predictions: Predictions, rows: NDArray[np.bool_]) -> Predictions:
    """The predictions of some rows."""
    parts = [predictions.labels, predictions.probabilities, predictions.values]
    return Predictions(*(None if part is None else part[rows] for part in parts))
