"""Parameters of the estimator, found by scikit-learn's own searchers inside the training rows.

The folds are in order of time where rows have one: what is judged comes after what was learned. The holdout is never seen, so
what is found has proven nothing yet; the gates judge it as they judge any challenger.
"""

import logging
import time
import warnings
from collections.abc import Mapping
from math import prod
from typing import Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import JsonValue
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  without it there is no halving
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.pipeline import Pipeline

from stationkeeper.api.base import parse_duration
from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import SearchRecord, Task
from stationkeeper.api.training import Estimator, Search, Training
from stationkeeper.workloads.artifacts.columns import ModelInput
from stationkeeper.workloads.artifacts.runtime import classified
from stationkeeper.workloads.training import estimators
from stationkeeper.workloads.training.ending import failed, invalid
from stationkeeper.workloads.training.handover import Schema
from stationkeeper.workloads.training.metrics import Answers, scoring_order, unknown
from stationkeeper.workloads.training.pipeline import build_pipeline

log = logging.getLogger(__name__)

_PREFIX: Final = "fitted__model__"
_FACTOR: Final = 3  # of halving: a third goes on


def check(training: Training) -> None:
    """Refuse a search that cannot work before a byte is read.

    Raises:
        AttemptEnded: InvalidData with InvalidParameters or UnknownMetric.
    """
    search, wanted = training.search, training.estimator
    assert search is not None
    assert wanted is not None
    for name, values in search.params.items():
        for value in values:
            estimators.build(with_params(wanted, {name: value}), 0)
    if search.metric and (said := unknown(search.metric)):
        raise invalid("UnknownMetric", f"search.metric: {said}")
    if search.strategy == "Grid" and combinations(search) > search.trials:
        raise invalid(
            "InvalidParameters",
            f"the grid of search.params has {combinations(search)} combinations, more than the {search.trials} of search.trials: "
            "raise that, name fewer values, or let strategy: Random choose among them",
        )


def with_params(estimator: Estimator, found: Mapping[str, JsonValue]) -> Estimator:
    """The estimator as it is after a search: what was found goes before what is given."""
    return estimator.model_copy(update={"params": {**estimator.params, **found}})


def combinations(search: Search) -> int:
    """How many there are."""
    return prod(len(values) for values in search.params.values())


def find(config: TrainConfig, meaning: Schema, data: ModelInput, target: NDArray[Any], challengers: int = 1) -> SearchRecord:
    """The best parameters for these rows. The same configuration and rows give the same ones, if the time suffices.

    Parameters:
        config: the attempt, which seeds the search.
        meaning: of the rows.
        data: rows in order of time, where they have one.
        target: of each, as the estimator sees it.
        challengers: that are searched for, of which each has its part of the time.

    Raises:
        AttemptEnded: InvalidData with SearchTooLong; Failed, when no combination can be fitted and scored.
    """
    search, wanted = config.training.search, config.training.estimator
    assert search is not None
    assert wanted is not None
    seed = estimators.seed_of(config.model.uid, config.episode, config.attempt)
    metric = search.metric or config.training.evaluation.gates[0].metric
    deadline = time.monotonic() + parse_duration(search.time_limit).total_seconds() / challengers
    tried = Pipeline([("clock", Clock(deadline)), ("fitted", build_pipeline(estimators.build(wanted, seed), data))])
    searcher = _searcher(search, tried, seed, _folds(search, meaning, seed), _Scorer(meaning, metric))
    log.info("searching %d parameters by %s on %d rows", len(search.params), metric, len(target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of every fit of every fold; those that fail are told below
        try:
            searcher.fit(data.frame(), target)
        except MemoryError:
            raise  # the machine's fault
        except Exception as error:
            raise _nothing(search, deadline, (str(error).strip().splitlines() or [""])[0][:300]) from error
    return _record(search, metric, searcher.cv_results_, deadline)


def _record(search: Search, metric: str, results: Mapping[str, Any], deadline: float) -> SearchRecord:
    scores = np.asarray(results["mean_test_score"], dtype=np.float64)
    # Of halving only the last round was judged on as many rows as there are.
    last = np.asarray(results.get("iter", np.zeros(len(scores))))
    judged = np.flatnonzero(np.isfinite(scores) & (last == last[np.isfinite(scores)].max(initial=0)))
    if not len(judged):
        raise _nothing(search, deadline, f"some fold has no {metric}; fewer search.folds are larger ones")
    best = judged[np.argmax(scores[judged])]
    params = {name.removeprefix(_PREFIX): value for name, value in results["params"][best].items()}
    tried = len({repr(params) for params, score in zip(results["params"], scores, strict=True) if np.isfinite(score)})
    stopped = time.monotonic() > deadline
    log.info("tried %d combinations%s; the best: %s (%.4f)", tried, " until time was up" if stopped else "", params, scores[best])
    return SearchRecord(
        strategy=search.strategy, metric=metric, trials=tried, score=float(scores[best]), params=params, stopped=stopped
    )


def _nothing(search: Search, deadline: float, why: str) -> Exception:
    if time.monotonic() > deadline:
        return invalid(
            "SearchTooLong",
            f"the search found nothing within {search.time_limit}: raise search.timeLimit, or lower search.trials or search.folds",
        )
    return failed("TrainingFailed", f"the search could not try any combination of search.params: {why}")


def _searcher(search: Search, tried: Pipeline, seed: int, folds: Any, scorer: "_Scorer") -> Any:
    values = {_PREFIX + name: list(found) for name, found in search.params.items()}
    trials = min(search.trials, combinations(search))
    # A combination that cannot be fitted, or comes too late, is the worst.
    common: dict[str, Any] = {"scoring": scorer, "cv": folds, "refit": False, "error_score": np.nan}
    if search.strategy == "Grid":
        return GridSearchCV(tried, values, **common)
    if search.strategy == "Random":
        return RandomizedSearchCV(tried, values, n_iter=trials, random_state=seed, **common)
    # The last round is to have all rows: the first begins with as many as that leaves it, not with the few that can be split.
    common |= {"min_resources": "exhaust", "factor": _FACTOR}
    return HalvingRandomSearchCV(tried, values, n_candidates=trials, random_state=seed, **common)


def _folds(search: Search, meaning: Schema, seed: int) -> Any:
    if meaning.timestamp:
        return TimeSeriesSplit(search.folds)
    kind = KFold if meaning.task is Task.REGRESSION else StratifiedKFold
    return kind(search.folds, shuffle=True, random_state=seed)


class Clock(TransformerMixin, BaseEstimator):  # type: ignore[misc, unused-ignore]
    """The first step of what is tried: searchers know no time limit, so nothing is fitted after it."""

    def __init__(self, deadline: float = float("inf")) -> None:
        self.deadline = deadline

    def fit(self, _rows: Any, _target: Any = None) -> Self:
        """Learns nothing.

        Raises:
            TimeoutError: when the time is up.
        """
        if time.monotonic() > self.deadline:
            raise TimeoutError("the search's time is up")
        return self

    def transform(self, rows: Any) -> Any:
        """Changes nothing."""
        return rows

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _Scorer:
    """Any scorer, on the classes of the whole training: a fold may lack some, and the positive one counts as such."""

    def __init__(self, meaning: Schema, metric: str) -> None:
        self._meaning = meaning
        self._metric = metric

    def __call__(self, fitted: Pipeline, rows: pl.DataFrame, target: NDArray[Any]) -> float:
        # As resamples are scored: a fold may lack a class too.
        return self._answers(fitted, rows, target).resampled(self._metric, np.ones(len(target), dtype=np.int64))

    def _answers(self, fitted: Pipeline, rows: pl.DataFrame, target: NDArray[Any]) -> Answers:
        if self._meaning.task is Task.REGRESSION:
            return Answers.of_values(np.asarray(fitted.predict(rows), dtype=np.float64).reshape(-1), target)
        classes, probabilities = self._meaning.classes, None
        if hasattr(fitted, "predict_proba"):
            probabilities = np.zeros((len(target), len(classes)))
            probabilities[:, fitted.classes_] = fitted.predict_proba(rows)
        said = classified(classes, fitted.predict(rows), probabilities)
        truth = [classes[position] for position in target]
        return Answers.of_classes(said, classes, scoring_order(self._meaning), truth)
