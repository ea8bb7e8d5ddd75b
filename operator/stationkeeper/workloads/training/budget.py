"""What the model that would serve costs: the size of its file, and how long it takes to answer one row."""

import time
from typing import Final

import numpy as np
import polars as pl

from stationkeeper.api.base import parse_duration
from stationkeeper.api.evaluation import Budget
from stationkeeper.api.manifest import GateResult, Score
from stationkeeper.workloads.artifacts.columns import Columns, from_frame
from stationkeeper.workloads.artifacts.runtime import Predictor

_ROUNDS: Final = 3
_ASKED: Final = 200  # single rows in a round
_WARM: Final = 20  # first answers, which take longer and are not counted


def judge_budget(budget: Budget | None, predictor: Predictor, size: int, holdout: pl.DataFrame) -> list[GateResult]:
    """The results of latency and size.

    Parameters:
        budget: of the spec.
        predictor: the model as the runtime loads it.
        size: bytes of the file that it was loaded from.
        holdout: rows to ask it for.
    """
    results = []
    if budget and budget.bytes is not None:
        results.append(_most("size", budget.bytes, size, f"the model has {size / 2**20:.2f} MiB, more than {budget.size}"))
    if budget and budget.latency:
        found = latency(predictor, holdout)
        said = f"95 of 100 single rows are answered within {found * 1e3:.2f} ms, more than {budget.latency}"
        results.append(_most("latency", parse_duration(budget.latency).total_seconds(), found, said))
    return results


def latency(predictor: Predictor, rows: pl.DataFrame) -> float:
    """Seconds within which 95 of 100 single rows are answered, in the quietest of three rounds: others work on this node too."""
    asked = [_row(predictor, rows, number % rows.height) for number in range(_WARM + _ASKED)]
    for columns in asked[:_WARM]:
        predictor.predict(columns)
    return min(float(np.percentile([_seconds(predictor, columns) for columns in asked[_WARM:]], 95)) for _ in range(_ROUNDS))


def _row(predictor: Predictor, rows: pl.DataFrame, number: int) -> Columns:
    return from_frame(rows[number : number + 1], predictor.meaning.features)


def _seconds(predictor: Predictor, columns: Columns) -> float:
    start = time.perf_counter()
    predictor.predict(columns)
    return time.perf_counter() - start


def _most(metric: str, limit: float, value: float, said: str) -> GateResult:
    over = value > limit
    return GateResult(
        metric=metric,
        bound="max",
        limit=limit,
        verdict="Refused" if over else "Passed",
        challenger=Score(value=value),
        message=said if over else "",
    )
