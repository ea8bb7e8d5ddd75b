"""Several windows: a challenger is trained on each, the older half of the holdout picks one, the newer half decides the gates.

The picked one looks better on the rows that picked it than it is; on others it does not, so the choice does not flatter itself.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Candidate, SearchRecord, Task
from stationkeeper.api.training import Data
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training.challenger import Challenger
from stationkeeper.workloads.training.handover import Schema, Stretch
from stationkeeper.workloads.training.split import MIN_TRAIN

log = logging.getLogger(__name__)


def shortest_since(data: Data, end: datetime | None) -> datetime | None:
    """Where the shortest of several windows begins; None where there are not several."""
    return end - data.lengths[0][1] if data.windows and end else None


def stretches(train: pl.DataFrame, data: Data, end: datetime | None, meaning: Schema) -> list[Stretch]:
    """What the challengers learn, shortest first; empty where only one can be trained.

    A window without enough rows, or without some class, is left out; so is one that reaches no further back than a shorter one.
    """
    if data.windows is None or data.timestamp is None or end is None:
        return []
    found: list[Stretch] = []
    for window, length in data.lengths:
        rows = train.filter(pl.col(data.timestamp) > end - length)
        if why := _unfit(rows, meaning):
            log.warning("no challenger is trained on the last %s: %s", window, why)
        elif found and found[-1].rows == rows.height:
            log.info("the last %s hold no more rows than the last %s", window, found[-1].window)
        else:
            found.append(Stretch(window=window, start=end - length, rows=rows.height))
    return found


def _unfit(rows: pl.DataFrame, meaning: Schema) -> str:
    if rows.height < MIN_TRAIN:
        return f"they hold {rows.height} rows before the holdout; {MIN_TRAIN} are needed"
    if meaning.task is Task.REGRESSION:
        return "every row has the same target" if rows[meaning.target].n_unique() < 2 else ""
    missing = sorted(set(meaning.classes) - set(rows[meaning.target].unique().to_list()))
    return f"no row of the class {missing[0]!r} is in them" if missing else ""


def learned(rows: pl.DataFrame, meaning: Schema, stretch: Stretch | None) -> pl.DataFrame:
    """Those of the rows that a challenger learns; None: all of them."""
    if stretch is None or meaning.timestamp is None:
        return rows
    return rows.filter(pl.col(meaning.timestamp) > stretch.start)


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A challenger, the rows it was trained on, and what it says of the holdout."""

    challenger: Challenger
    answers: Predictions
    stretch: Stretch | None = None
    found: SearchRecord | None = None


def older_half(holdout: pl.DataFrame, timestamp: str) -> NDArray[np.bool_]:
    """The rows that choose; rows of one moment stay together."""
    times = holdout[timestamp]
    older: NDArray[np.bool_] = (times < times.sort()[len(times) // 2]).to_numpy()
    return older


def pick(field: Sequence[Contender], scores: Sequence[float | None]) -> tuple[Contender, list[Candidate]]:
    """The best by its score on the rows that choose, and the record of all.

    What is equally good, or cannot be told apart for want of rows, is decided for the longest window: more was learned from.
    """
    ranked = [-np.inf if score is None else score for score in scores]
    best = max(range(len(field)), key=lambda place: (ranked[place], place))
    return field[best], [_record(each, scores[place], chosen=place == best) for place, each in enumerate(field)]


def _record(contender: Contender, score: float | None, *, chosen: bool) -> Candidate:
    assert contender.stretch is not None
    said = "cannot be told" if score is None else f"{score:.4f}"
    log.info("the last %s: %s%s", contender.stretch.window, said, ", chosen" if chosen else "")
    return Candidate(
        window=contender.stretch.window,
        rows=contender.stretch.rows,
        score=score,
        params=contender.found.params if contender.found else {},
        chosen=chosen,
    )
