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

from stationkeeper.api.data import Data
from stationkeeper.api.manifest import Candidate, Score, SearchRecord, Task
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training.challenger import Challenger
from stationkeeper.workloads.training.handover import Schema, Stretch
from stationkeeper.workloads.training.split import MIN_TRAIN

log = logging.getLogger(__name__)


def shortest_since(rows: pl.DataFrame, data: Data, end: datetime | None) -> datetime | None:
    """Where the shortest of several windows begins; None where there are not several, or all hold the same rows."""
    if data.windows is None or data.timestamp is None or end is None or rows.is_empty():
        return None
    since = end - data.lengths[0][1]
    oldest = rows[data.timestamp].min()
    assert isinstance(oldest, datetime)
    return since if oldest <= since else None


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


@dataclass(frozen=True, slots=True)
class Choosing:
    """What the rows that choose say of one contender."""

    score: float | None = None
    gain: Score | None = None  # over the one of the longest window; None for that one, and where the rows are too few


def older_half(holdout: pl.DataFrame, timestamp: str) -> NDArray[np.bool_]:
    """The rows that choose; rows of one moment stay together."""
    times = holdout[timestamp]
    older: NDArray[np.bool_] = (times < times.sort()[len(times) // 2]).to_numpy()
    return older


def pick(field: Sequence[Contender], choosing: Sequence[Choosing]) -> tuple[Contender, list[Candidate]]:
    """The challenger that goes on, and the record of all.

    The longest window, from which most was learned, unless a shorter one is surely better: a stretch of days that one window
    happens to suit comes often, and is over when the model serves. Of several that are, the best.
    """
    sure = [place for place, found in enumerate(choosing) if found.gain and found.gain.low is not None and found.gain.low > 0]
    best = max(sure, key=lambda place: choosing[place].score or 0.0) if sure else len(field) - 1
    return field[best], [_record(each, choosing[place], chosen=place == best) for place, each in enumerate(field)]


def _record(contender: Contender, choosing: Choosing, *, chosen: bool) -> Candidate:
    assert contender.stretch is not None
    said = "cannot be told" if choosing.score is None else f"{choosing.score:.4f}"
    log.info("the last %s: %s%s", contender.stretch.window, said, ", chosen" if chosen else "")
    return Candidate(
        window=contender.stretch.window,
        rows=contender.stretch.rows,
        score=choosing.score,
        gain=choosing.gain,
        params=contender.found.params if contender.found else {},
        chosen=chosen,
    )
