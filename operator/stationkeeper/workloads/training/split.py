"""Training rows and the rows that judge: the newest by time, or chosen by a hash of the row."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.base import parse_duration
from stationkeeper.api.evaluation import Holdout
from stationkeeper.workloads.training.ending import invalid

MIN_TRAIN: Final = 50
MIN_HOLDOUT: Final = 30
_JUDGES: Final = 200  # rows of a holdout that are not given up for the challenger's sake
_DRIFTED: Final = 1_000  # rows since a drift that must judge, at least, where as many of them teach
_LARGEST: Final = 0.5  # share of a holdout, also where half of it chooses
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def split(
    frame: pl.DataFrame,
    timestamp: str | None,
    rule: Holdout,
    salt: str,
    hashed: Sequence[str],
    champion_through: datetime | None = None,
    since: datetime | None = None,
    onset: datetime | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training rows and holdout; rows in the gap between them, if there is to be one, are in neither.

    Parameters:
        frame: labelled rows of the window.
        timestamp: column of time; None splits by a hash.
        rule: how much is held out.
        salt: the Model's UID.
        hashed: columns that decide where there is no timestamp.
        champion_through: time of the newest row that the champion learned from. The holdout takes at most half of those
            after it: a challenger that learned none of them would be judged as if it knew less than the champion, and
            the gate would refuse what the refit is about to cure.
        since: start of the shortest window, where challengers are trained on several: the holdout is the newest part of that
            one, so that it judges all of them, and twice as large, for half of it only chooses.
        onset: since when the world has been another, where that is to be cured. Half of the rows since then teach and half judge, as
            soon as these are evidence enough.

    Raises:
        AttemptEnded: InvalidData with TooFewRows.
    """
    train, holdout = (
        _by_time(frame, timestamp, rule, champion_through, since, onset)
        if timestamp
        else _by_hash(frame, rule.fraction, salt, hashed)
    )
    check_enough(train, holdout)
    return train, holdout


def check_enough(train: pl.DataFrame, holdout: pl.DataFrame) -> None:
    """Refuse to learn or to judge by a handful of rows.

    Raises:
        AttemptEnded: InvalidData with TooFewRows.
    """
    if train.height < MIN_TRAIN or holdout.height < MIN_HOLDOUT:
        raise invalid(
            "TooFewRows",
            f"{train.height} rows to train on and {holdout.height} to judge with; at least {MIN_TRAIN} and {MIN_HOLDOUT} are "
            "needed: widen data.window, or wait for more",
        )


def _by_time(
    frame: pl.DataFrame,
    timestamp: str,
    rule: Holdout,
    champion_through: datetime | None,
    since: datetime | None,
    onset: datetime | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut at a moment, so that rows of equal time stay together; they go to the holdout."""
    time = pl.col(timestamp)
    times = (frame if since is None else frame.filter(time > since))[timestamp].sort()
    if times.is_empty():
        return frame, frame.clear()
    # Of several challengers one half of the holdout chooses, and the other must still judge.
    halves = 1 if since is None else 2
    cut = _cut(times, rule, halves)
    if champion_through is not None:
        new = int((times > champion_through).sum())
        cut = max(cut, len(times) - max(new // 2, halves * _JUDGES))
    if onset is not None and (drifted := int((times >= onset).sum()) // 2) >= halves * _DRIFTED:
        cut = max(cut, len(times) - drifted)
    moment = times[cut]
    assert isinstance(moment, datetime)
    return frame.filter(time < moment - (parse_duration(rule.gap) if rule.gap else timedelta())), frame.filter(time >= moment)


def _cut(times: pl.Series, rule: Holdout, halves: int) -> int:
    """The place of the first row that judges, or with two halves chooses, among the sorted times."""
    if rule.period is None:
        return min(ceil(len(times) * (1 - min(halves * rule.fraction, _LARGEST))), len(times) - 1)
    newest = times[-1]
    assert isinstance(newest, datetime)
    return int((times <= newest - halves * parse_duration(rule.period)).sum())


def gap_between(frame: pl.DataFrame, timestamp: str | None, train: pl.DataFrame, holdout: pl.DataFrame) -> pl.DataFrame:
    """The rows of the gap."""
    if timestamp is None or train.height + holdout.height == frame.height:
        return frame.clear()
    time = pl.col(timestamp)
    return frame.filter((time > train[timestamp].max()) & (time < holdout[timestamp].min()))


def without(frame: pl.DataFrame, frozen: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Rows that are not among those of a holdout of its own."""
    same = [frozen[name].cast(frame[name].dtype, strict=False) for name in columns]
    return frame.join(pl.DataFrame(same).unique(), on=list(columns), how="anti", nulls_equal=True, maintain_order="left")


def _by_hash(frame: pl.DataFrame, fraction: float, salt: str, hashed: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Equal rows fall on the same side, in this training and in every other of the Model."""
    held = row_hashes(frame.select(hashed), salt) < fraction
    return frame.filter(~pl.Series(held)), frame.filter(pl.Series(held))


def row_hashes(frame: pl.DataFrame, salt: str) -> NDArray[np.float64]:
    """A number in [0, 1) for each row, from its values alone: the same in every version of every library."""
    state = np.full(frame.height, _text_hash(salt), dtype=np.uint64)
    for name in sorted(frame.columns):
        state = _mix(state ^ _mix(_values(frame[name]) + _text_hash(name)))
    return np.asarray(state >> np.uint64(11), dtype=np.float64) / float(2**53)


def _values(series: pl.Series) -> NDArray[np.uint64]:
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        numbers = series.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
        numbers = np.where(np.isnan(numbers), np.nan, numbers + 0.0)  # one NaN, one zero
        return np.ascontiguousarray(numbers).view(np.uint64)
    texts = series.cast(pl.String).fill_null("\0")
    distinct = texts.unique().sort()
    known: dict[Any, int] = {text: int(_text_hash(text)) for text in distinct.to_list()}
    return np.fromiter((known[text] for text in texts.to_list()), dtype=np.uint64, count=len(texts))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    values = values + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


def _text_hash(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big"))
