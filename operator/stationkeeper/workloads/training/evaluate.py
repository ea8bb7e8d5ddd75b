"""Challenger against champion, on the rows that `prepare` froze."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.jobs import AttemptConfig, TrainConfig
from stationkeeper.api.manifest import Candidate, EvaluationRecord, GateResult, Manifest, Score, Task
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.artifacts.errors import NotFound
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.outputs import moved
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training import bootstrap, estimators
from stationkeeper.workloads.training.bench import Bench, Comparison, compare, measure, point
from stationkeeper.workloads.training.gates import Decision, Gain, decide, judge, judge_anchor, refused
from stationkeeper.workloads.training.handover import Prepared, Schema
from stationkeeper.workloads.training.metrics import Answers, judged
from stationkeeper.workloads.training.overlap import Judging
from stationkeeper.workloads.training.segments import judge_segments
from stationkeeper.workloads.training.windows import Choosing

log = logging.getLogger(__name__)

_UNTOLD: Final = (
    "the champion learned other features, or was judged by another holdout: its training rows cannot be told from these"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gates said."""

    decision: Decision
    gates: list[GateResult]
    metrics: dict[str, Score]
    champion_metrics: dict[str, Score]
    prediction_shift: dict[str, float] = field(default_factory=dict)  # by class, challenger - champion on the same rows
    candidates: Sequence[Candidate] = ()  # among which the challenger was chosen

    def record(self, config: AttemptConfig, prepared: Prepared) -> EvaluationRecord:
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
            prediction_shift=self.prediction_shift,
            refit="None",
            accepted_without_gain=self.decision.without_gain,
            candidates=list(self.candidates),
            frozen=prepared.frozen,
            look=prepared.look,
            anchor=config.anchor.digest if config.anchor else None,
            anchor_number=config.anchor.number if config.anchor else None,
        )

    def within(self, budget: Sequence[GateResult]) -> "Verdict":
        """The verdict, once it is known what the model that would serve costs."""
        decision = refused(budget) or self.decision
        return replace(self, gates=[*self.gates, *budget], decision=decision)


class NotComparable(Exception):  # noqa: N818 - a finding
    """The champion cannot answer these rows, or answers another question."""


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """An earlier revision, and what it says of the holdout."""

    manifest: Manifest
    answers: Predictions


def evaluate(config: AttemptConfig, store: Store, prepared: Prepared, holdout: pl.DataFrame, answers: Predictions) -> Verdict:
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
        champion, incomparable = _ask(store, config.champion.digest, holdout, meaning)
    whole = _bench(config, prepared, holdout, known, answers, None)
    fresh = known & _fresh(holdout, meaning, prepared.champion_through, "champion")
    if champion is not None and not prepared.champion_shares_split:
        champion, incomparable = None, _UNTOLD
    paired = _bench(config, prepared, holdout, fresh, answers, champion) if champion is not None else None
    gates, kept = config.gates, holdout.filter(pl.Series(fresh))
    results = [
        *judge(gates, whole, paired, incomparable),
        *judge_segments(gates, paired, kept, _microseconds(kept, meaning), incomparable),
        *_anchored(config, store, prepared, holdout, known, answers),
    ]
    names = list(dict.fromkeys(gate.metric for gate in gates))
    verdict = _verdict(config, results, names, whole, paired, incomparable)
    ours, theirs = answers.labels, champion.answers.labels if champion else None
    if paired is None or not paired.enough() or ours is None or theirs is None:
        return verdict
    # Of what was judged: a refit has learned these rows, and its answers to them are no guide to its answers to others.
    return replace(verdict, prediction_shift=moved(meaning.classes, ours[fresh], theirs[fresh]))


def _anchored(
    config: AttemptConfig, store: Store, prepared: Prepared, holdout: pl.DataFrame, known: NDArray[np.bool_], answers: Predictions
) -> list[GateResult]:
    """The gates against the anchor, where there is one: only who can be compared with holds anybody back."""
    if config.anchor is None or not isinstance(config, TrainConfig):
        return []
    meaning, rule = prepared.rows_schema, config.training.evaluation.holdout
    try:
        anchor, why = _ask(store, config.anchor.digest, holdout, meaning)
    except NotFound:
        anchor, why = None, "its files have been deleted"
    paired = None
    if anchor is not None:
        judging = Judging(rule, prepared.frozen, prepared.frozen_apart)
        if meaning.timestamp or judging.shares_split(anchor.manifest, [column.name for column in meaning.features]):
            rows = known & _fresh(holdout, meaning, judging.known_through(anchor.manifest), "anchor")
            paired = _bench(config, prepared, holdout, rows, answers, anchor)
        else:
            why = "its training rows cannot be told from the holdout"
    return judge_anchor(config.training.evaluation.gates, paired, config.anchor.number, why)


def choosing(config: TrainConfig, meaning: Schema, rows: pl.DataFrame, field: Sequence[Predictions]) -> list[Choosing]:
    """What the rows that choose say of each of several challengers, the last one being that of the longest window.

    Raises:
        AttemptEnded: InvalidData, when the metric does not fit.
    """
    known, metric = known_rows(rows, meaning), config.training.evaluation.gates[0].metric
    kept = rows.filter(pl.Series(known))
    said = [answers_for(meaning, meaning.classes, at(answers, known), kept) for answers in field]
    times = _microseconds(kept, meaning)
    blocks = bootstrap.time_blocks(times) if times is not None else None
    seed = estimators.seed_of(config.model.uid, config.episode, config.attempt)
    benches = [Bench(meaning.task, said[-1], ours, blocks, seed) for ours in said]
    if not benches[-1].enough():
        return [Choosing()] * len(field)
    gained = [compare(bench, metric) for bench in benches[:-1]]  # of the longest: what it is behind is what the other gains
    return [*(Choosing(found.champion.value, found.drop) for found in gained), Choosing(point(said[-1], metric))]


def _verdict(
    config: AttemptConfig,
    results: list[GateResult],
    names: Sequence[str],
    whole: Bench,
    paired: Bench | None,
    incomparable: str | None,
) -> Verdict:
    pairs = {name: compare(paired, name) for name in names} if paired is not None and paired.enough() else {}
    gain = _gain(pairs[names[0]]) if pairs else None
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


def _gain(pair: Comparison) -> Gain | None:
    return None if pair.gain is None else Gain(-pair.drop.value, pair.gain)


def known_rows(holdout: pl.DataFrame, meaning: Schema) -> NDArray[np.bool_]:
    """Rows of classes that training saw."""
    if meaning.task is Task.REGRESSION:
        return np.ones(holdout.height, dtype=bool)
    return holdout[meaning.target].is_in(meaning.classes).to_numpy()


def _fresh(holdout: pl.DataFrame, meaning: Schema, through: datetime | None, who: str) -> NDArray[np.bool_]:
    """Rows that an earlier revision has not learned from."""
    if meaning.timestamp is None or through is None:
        return np.ones(holdout.height, dtype=bool)
    fresh: NDArray[np.bool_] = (holdout[meaning.timestamp] > through).to_numpy()
    if not fresh.all():
        log.warning("the %s learned from %d rows of the holdout; they do not compare the two", who, int((~fresh).sum()))
    return fresh


def _ask(store: Store, digest: str, holdout: pl.DataFrame, meaning: Schema) -> tuple[Earlier | None, str | None]:
    manifest = load_manifest(store, digest)
    try:
        if (manifest.target, manifest.task) != (meaning.target, meaning.task) or set(manifest.classes) != set(meaning.classes):
            raise NotComparable(f"revision {manifest.number} predicts another target or other classes")
        predictor = load_model(manifest, {name: get_blob(store, ref) for name, ref in manifest.files.items()})
        return Earlier(manifest, predictor.predict(from_frame(holdout, manifest.features))), None
    except NotComparable as error:
        return None, str(error)
    except ColumnError as error:
        return None, f"revision {manifest.number} cannot answer today's rows: {error}"


def _microseconds(rows: pl.DataFrame, meaning: Schema) -> NDArray[np.int64] | None:
    return rows[meaning.timestamp].dt.epoch("us").to_numpy() if meaning.timestamp else None


def _bench(
    config: AttemptConfig,
    prepared: Prepared,
    holdout: pl.DataFrame,
    rows: NDArray[np.bool_],
    ours: Predictions,
    champion: Earlier | None,
) -> Bench:
    meaning, kept = prepared.rows_schema, holdout.filter(pl.Series(rows))
    theirs = answers_for(meaning, champion.manifest.classes, at(champion.answers, rows), kept) if champion else None
    times = _microseconds(kept, meaning)
    return Bench(
        task=meaning.task,
        challenger=answers_for(meaning, meaning.classes, at(ours, rows), kept),
        champion=theirs,
        blocks=bootstrap.time_blocks(times) if times is not None else None,
        seed=estimators.seed_of(config.model.uid, config.episode, config.attempt),
        look=prepared.look,
    )


def answers_for(meaning: Schema, given: Sequence[str], predictions: Predictions, rows: pl.DataFrame) -> Answers:
    """Predictions for rows with their truth. `given` is the order of the columns of the probabilities."""
    return judged(meaning, predictions, rows[meaning.target], given)


def at(predictions: Predictions, rows: NDArray[np.bool_]) -> Predictions:
    """The predictions of some rows."""
    parts = [predictions.labels, predictions.probabilities, predictions.values]
    return Predictions(*(None if part is None else part[rows] for part in parts))
