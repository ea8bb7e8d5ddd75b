"""When the rows of requests happened, by a column that the client sends (`capture.eventTime`). Vectorised over a batch; pure.

    BYTES                          ISO 8601: a date or a date and time, with an offset or Z; without one it is UTC
    FP64, INT8 ... UINT64          time since 1970 in UTC: below 1e11 in seconds, below 1e14 in milliseconds, below 1e17 in
                                   microseconds, from there on in nanoseconds
    FP16, FP32, BOOL               unreadable: a second of this century does not fit into them

A time that cannot be used gives way to the arrival of the request, and `Source` says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.workloads.artifacts.captured import EARLY, LATE

Ints = NDArray[np.int64]

_SECOND: Final = 1_000_000  # in microseconds
_TEXT: Final = "BYTES"
_NUMBERS: Final = frozenset({"FP64", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))})
_LONGEST: Final = 64  # characters of a time
_ISO: Final = (
    r"^\s*(?<year>[0-9]{4})-?(?<month>[0-9]{2})-?(?<day>[0-9]{2})"
    r"(?:[Tt ](?<hour>[0-9]{2}):?(?<minute>[0-9]{2})(?::?(?<second>[0-9]{2})(?:[.,](?<fraction>[0-9]+))?)?"
    r"\s*(?<zone>[Zz]|(?<sign>[+-])(?<hours>[0-9]{2})(?::?(?<minutes>[0-9]{2}))?)?)?\s*$"
)


class Source(StrEnum):
    """Where the time of a row comes from: the event, or the arrival and why."""

    EVENT = "event"
    MISSING = "missing"  # no column, or no value
    UNREADABLE = "unreadable"
    LATE = "late"  # longer ago than `LATE`
    EARLY = "early"  # more than `EARLY` from now
    SCATTERED = "scattered"  # in one flush with too many other minutes


SOURCES: Final = tuple(Source)  # a code is a position in it
_EVENT, _MISSING, _UNREADABLE, _LATE, _EARLY, _SCATTERED = range(len(SOURCES))


@dataclass(frozen=True, slots=True)
class Told:
    """The times of a request's rows as they were sent, one value for each."""

    datatype: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Moments:
    """When rows happened: `at` in microseconds since 1970, `source` as codes of `SOURCES`; one value for each row."""

    at: Ints
    source: NDArray[np.uint8]

    @property
    def minutes(self) -> Ints:
        """The beginnings of the minutes that they lie in, in seconds since 1970."""
        return self.at // (60 * _SECOND) * 60

    def by_arrival(self, rows: NDArray[np.bool_], arrived: Ints) -> "Moments":
        """The same with the arrival in place of the event where `rows` says so; what was an arrival stays one."""
        moved = rows & (self.source == _EVENT)
        return Moments(np.where(moved, arrived, self.at), np.where(moved, np.uint8(_SCATTERED), self.source))

    def parts(self) -> list[tuple[int, Ints | None]]:
        """The rows of each minute, by their positions; None where all are of one."""
        minutes = self.minutes
        order = np.argsort(minutes, kind="stable")
        names, firsts = np.unique(minutes[order], return_index=True)
        if len(names) == 1:
            return [(int(names[0]), None)]
        return list(zip(names.tolist(), np.split(order, firsts[1:]), strict=True))

    def tally(self, of: slice = slice(None)) -> list[tuple[int, int]]:
        """How many of some rows lie in which minute."""
        minutes, counts = np.unique(self.minutes[of], return_counts=True)
        return list(zip(minutes.tolist(), counts.tolist(), strict=True))

    def told(self) -> dict[Source, int]:
        """How many rows have their time from where."""
        counts = np.bincount(self.source, minlength=len(SOURCES)).tolist()
        return {source: count for source, count in zip(SOURCES, counts, strict=True) if count}


def moments(told: Sequence[Told | None], rows: Sequence[int], arrived: Ints) -> Moments:
    """When the rows of several requests happened.

    Args:
        told: of each request, what it said; None where it said nothing.
        rows: of each request, how many it has.
        arrived: of each row, the arrival of its request in microseconds since 1970.
    """
    at, source = _read(told, np.array(rows, dtype=np.int64))
    event = source == _EVENT
    source[event & (at < arrived - _micros(LATE))] = _LATE
    source[event & (at > arrived + _micros(EARLY))] = _EARLY
    return Moments(np.where(source == _EVENT, at, arrived), source)


def _micros(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _read(told: Sequence[Told | None], rows: Ints) -> tuple[Ints, NDArray[np.uint8]]:
    kinds = np.array([_kind(item) for item in told], dtype=np.uint8)
    kind = np.repeat(kinds, rows)
    at = np.zeros(len(kind), dtype=np.int64)
    source = np.where(kind == _NOTHING, _MISSING, _UNREADABLE).astype(np.uint8)
    for code, read in ((_OF_TEXT, _texts), (_OF_NUMBERS, _numbers)):
        values = [v for item, k in zip(told, kinds.tolist(), strict=True) if k == code and item is not None for v in item.values]
        if values:
            at[kind == code], source[kind == code] = read(values)
    return at, source


_NOTHING, _OF_TEXT, _OF_NUMBERS, _OTHER = range(4)


def _kind(told: Told | None) -> int:
    if told is None:
        return _NOTHING
    if told.datatype == _TEXT:
        return _OF_TEXT
    return _OF_NUMBERS if told.datatype in _NUMBERS else _OTHER


def _numbers(values: list[Any]) -> tuple[Ints, NDArray[np.uint8]]:
    number = np.array(values, dtype=np.float64)  # None becomes NaN
    size = np.abs(number)
    scale = np.select([size < 1e11, size < 1e14, size < 1e17], [1e6, 1e3, 1.0], 1e-3)
    missing = np.isnan(number)
    with np.errstate(invalid="ignore"):
        micros = np.rint(number * scale)
        good = np.abs(micros) < 2.0**62
    source = np.where(missing, _MISSING, np.where(good, _EVENT, _UNREADABLE)).astype(np.uint8)
    return np.where(good, micros, 0.0).astype(np.int64), source


def _texts(values: list[Any]) -> tuple[Ints, NDArray[np.uint8]]:
    text = pl.DataFrame({"text": pl.Series(values, dtype=pl.String)})
    parts = text.select(pl.col("text").str.slice(0, _LONGEST).str.extract_groups(_ISO).alias("part")).unnest("part")
    day = pl.concat_str("year", "month", "day", separator="-").str.to_date("%Y-%m-%d", strict=False)
    number = {name: pl.col(name).cast(pl.Int64).fill_null(0) for name in ("hour", "minute", "second", "hours", "minutes")}
    fraction = (pl.col("fraction").fill_null("") + "000000").str.slice(0, 6).cast(pl.Int64)
    offset = (number["hours"] * 60 + number["minutes"]) * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    seconds = day.cast(pl.Int64) * 86_400 + (number["hour"] * 60 + number["minute"] - offset) * 60 + number["second"]
    valid = (number["hour"] < 24) & (number["minute"] < 60) & (number["second"] <= 60)  # there are leap seconds
    valid &= (number["hours"] < 24) & (number["minutes"] < 60)
    at = parts.select(pl.when(valid).then(seconds * _SECOND + fraction).alias("at"))["at"]
    missing = (text["text"].is_null() | (text["text"] == "")).to_numpy()
    source = np.where(missing, _MISSING, np.where(at.is_null().to_numpy(), _UNREADABLE, _EVENT)).astype(np.uint8)
    return at.fill_null(0).to_numpy().astype(np.int64), source
