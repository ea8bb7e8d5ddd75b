"""How much of its score a model owes to each feature, on rows that it has not learned from."""

import logging
import warnings
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.workloads.artifacts.columns import ModelInput, is_numeric
from stationkeeper.workloads.training import estimators
from stationkeeper.workloads.training.challenger import Challenger, input_of
from stationkeeper.workloads.training.evaluate import answers_for, known_rows
from stationkeeper.workloads.training.handover import Schema
from stationkeeper.workloads.training.metrics import Answers, unchecked

log = logging.getLogger(__name__)

REPEATS: Final = 3
# Rows are bounded, never time: the same training must find the same figures on a slower machine.
MAX_ROWS: Final = 5_000
MIN_ROWS: Final = 200
MAX_PREDICTED: Final = 400_000  # rows that the model answers for it in all
_DIGITS: Final = 6


def permutation_importance(config: TrainConfig, meaning: Schema, fitted: Challenger, holdout: pl.DataFrame) -> dict[str, float]:
    """The share of the model's score that each feature carries: what is lost when its values change rows.

    By the first gate's metric, on a sample of the holdout; a feature whose shuffling loses nothing has 0, the shares add up to
    1. Empty when no feature carries any of it. Reference: Breiman, Random Forests, Machine Learning 45 (2001).
    """
    rng = np.random.default_rng(estimators.seed_of(config.model.uid, config.episode, config.attempt))
    rows = holdout.filter(pl.Series(known_rows(holdout, meaning)))
    most = int(np.clip(MAX_PREDICTED // (len(meaning.features) * REPEATS), MIN_ROWS, MAX_ROWS))
    if rows.height > most:
        rows = rows[np.sort(rng.choice(rows.height, most, replace=False)).tolist()]
    drops = _drops(fitted, meaning, rows, config.training.evaluation.gates[0].metric, rng)
    gained = {name: max(drop, 0.0) for name, drop in drops.items() if np.isfinite(drop)}
    total = sum(gained.values())
    if total <= 0:
        log.warning("no feature carries any of the score on %d rows of the holdout: their importance is unknown", rows.height)
        return {}
    return {name: round(gained.get(name, 0.0) / total, _DIGITS) for name in drops}


def _drops(fitted: Challenger, meaning: Schema, rows: pl.DataFrame, metric: str, rng: np.random.Generator) -> dict[str, float]:
    """The mean loss of score by feature; NaN where a shuffled feature leaves none."""
    data = input_of(meaning, rows)
    whole = _score(fitted, meaning, data, rows, metric)
    drops: dict[str, float] = {}
    numbers = texts = 0
    for feature in meaning.features:
        if is_numeric(feature):
            place, numbers = ("numeric", numbers), numbers + 1
        else:
            place, texts = ("text", texts), texts + 1
        lost = []
        for _ in range(REPEATS):
            changed = _shuffled(data, *place, rng.permutation(rows.height))
            with unchecked():
                lost.append(whole - _score(fitted, meaning, changed, rows, metric))
        drops[feature.name] = float(np.mean(lost))
    return drops


def _shuffled(data: ModelInput, part: str, column: int, order: NDArray[np.int64]) -> ModelInput:
    matrix = getattr(data, part).copy()
    matrix[:, column] = matrix[order, column]
    return replace(data, **{part: matrix})


def _score(fitted: Challenger, meaning: Schema, data: ModelInput, rows: pl.DataFrame, metric: str) -> float:
    answers: Answers = answers_for(meaning, meaning.classes, fitted.predictor.answer(data), rows)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a metric without a value says so by its value
            return answers.score(metric, answers.rows)
    except ValueError:
        return float("nan")
