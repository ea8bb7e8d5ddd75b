"""Two revisions' answers to the same rows, side by side. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.report import Differing
from stationkeeper.workloads.artifacts.outputs import LABEL, PROBABILITY, VALUE, moved

MAX_DIFFERING: Final = 20
_FARTHEST: Final = 1e9  # where one of two answers is no number
_KEYS: Final = ("request_id", "row")


class OtherAnswersError(Exception):
    """The revisions answer with different things, so that there is nothing to compare."""


@dataclass(frozen=True)
class Compared:
    """How far two revisions' answers are apart.

    disagreement: share of the rows with another class; None for regressions.
    mean_difference: mean absolute difference of the probabilities (of several classes: half of the sum, so that it lies
        between 0 and 1) or, for regressions, of the predictions as a multiple of the standard deviation of the stable
        revision's; where that is 0, of the predictions themselves. None where a classifier gives no probabilities.
    shift: by class, its share of the candidate's answers less that of the stable revision's. Of classifiers.
    """

    rows: int
    disagreement: float | None
    mean_difference: float | None
    differing: list[Differing]
    shift: dict[str, float] = field(default_factory=dict)


def compare(stable: pl.DataFrame, candidate: pl.DataFrame, classes: Sequence[str] = ()) -> Compared:
    """Compare the answers to the same rows in the same order; `stable` has `request_id` and `row`, too.

    `classes` are the candidate's.

    Raises:
        OtherAnswersError: when one classifies and the other does not.
    """
    if (VALUE in stable.columns) != (VALUE in candidate.columns):
        raise OtherAnswersError("one of the revisions answers with a class, and the other with a number")
    if VALUE in stable.columns:
        apart = _difference(stable, candidate, [VALUE]) / _spread(stable[VALUE])
        return Compared(stable.height, None, float(apart.mean()), _farthest(stable, candidate, VALUE, apart))
    other = (stable[LABEL] != candidate[LABEL]).to_numpy().astype(np.float64)
    shared = _probabilities(stable, candidate)
    halves = 1 if shared == [PROBABILITY] else 2
    mean = float(_difference(stable, candidate, shared).mean()) / halves if shared else None
    shift = moved(classes, candidate[LABEL].to_numpy(), stable[LABEL].to_numpy())
    return Compared(stable.height, float(other.mean()), mean, _farthest(stable, candidate, LABEL, other), shift)


def _probabilities(stable: pl.DataFrame, candidate: pl.DataFrame) -> list[str]:
    """The columns of probabilities to compare; classes that only one of them knows count in full by the others."""
    if PROBABILITY in stable.columns and PROBABILITY in candidate.columns:
        return [PROBABILITY]
    return [name for name in stable.columns if name.startswith(f"{PROBABILITY}.") and name in candidate.columns]


def _difference(stable: pl.DataFrame, candidate: pl.DataFrame, names: list[str]) -> NDArray[np.float64]:
    """Absolute difference of each row, summed over the columns."""
    a, b = (frame.select(names).cast(pl.Float64).fill_null(float("nan")).to_numpy() for frame in (stable, candidate))
    both = np.isnan(a) & np.isnan(b)
    apart = np.where(both, 0.0, np.nan_to_num(np.abs(a - b), nan=_FARTHEST, posinf=_FARTHEST))
    summed: NDArray[np.float64] = np.minimum(apart.sum(axis=1), _FARTHEST)
    return summed


def _spread(values: pl.Series) -> float:
    spread = values.cast(pl.Float64).drop_nulls().drop_nans().std()
    return float(spread) if isinstance(spread, float) and spread > 0 else 1.0


def _farthest(stable: pl.DataFrame, candidate: pl.DataFrame, name: str, apart: NDArray[np.float64]) -> list[Differing]:
    order = np.argsort(-apart, kind="stable")[:MAX_DIFFERING]
    ids, rows = (stable[key].to_list() for key in _KEYS)
    was, now = stable[name].to_list(), candidate[name].to_list()
    return [
        Differing(request_id=ids[i], row=rows[i], stable=str(was[i])[:128], candidate=str(now[i])[:128])
        for i in order.tolist()
        if apart[i] > 0
    ]
