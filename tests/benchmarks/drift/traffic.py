"""Healthy traffic that is not drawn independently: days, weeks, and weather that stays. How often is it called drifted?

Each run is a reference of sixty days and the sixty days after it, ten columns in step with nothing but their own weather.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl

from stationkeeper.api.driftpolicy import DistributionCheck, Test
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.drift.bins import NumericReference
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from tests.benchmarks.drift.alarms import ALPHA, Array, Generator, alarms

COLUMNS: Final = 10
DAYS: Final = 60  # of the reference, and of what follows
HOURLY: Final = 150  # rows
WINDOWS: Final = 240  # of each length and run, at most; they follow each other
DRIFTED: Final = 0.3  # share of columns (`maxDriftedShare`)


@dataclass(frozen=True)
class Traffic:
    """What moves a column beside noise of one standard deviation."""

    name: str
    day: float = 0.0  # amplitude of the daily cycle
    week: float = 0.0  # by how much weekends differ
    weather: float = 0.0  # standard deviation of what stays
    stays: float = 0.0  # correlation of the weather with that of a step before
    step: int = 24  # hours

    def draw(self, rng: Generator, days: int, hourly: int = HOURLY, columns: int = COLUMNS) -> tuple[Array, dict[str, Array]]:
        """The minutes of rows, ascending, and the columns' values."""
        minute = np.sort(rng.integers(0, days * 1_440, days * 24 * hourly))
        at = minute // (self.step * 60)
        values = {}
        for i in range(columns):
            moved = self.day * np.sin(2 * np.pi * (minute / 1_440 + rng.random()))
            moved += self.week * ((minute // 1_440 + i) % 7 >= 5)
            moved += self._weather(rng, int(at[-1]) + 1)[at]
            values[f"x{i}"] = moved + rng.normal(size=minute.size)
        return minute, values

    def _weather(self, rng: Generator, steps: int) -> Array:
        found = np.empty(steps)
        found[0] = rng.normal(0, self.weather)
        gust = rng.normal(0, self.weather * np.sqrt(1 - self.stays**2), steps)
        for i in range(1, steps):
            found[i] = self.stays * found[i - 1] + gust[i]
        return found


SCENARIOS: Final = (
    Traffic("days, and weather that stays for days", day=0.5, weather=0.56, stays=0.7),
    Traffic("AR(1) by the hour", weather=0.56, stays=0.96, step=1),
    Traffic("days and weekends", day=0.5, week=1.0),
    Traffic("days, and weather that stays for weeks", day=0.5, weather=0.56, stays=0.9),
)


@dataclass(frozen=True)
class Rates:
    """Of windows of one length, over all runs."""

    windows: int
    any: float  # share of windows in which any column breaches
    drifted: float  # share of windows in which the features have drifted
    events: float  # times in a month that two of three windows agree on it, anew


Judged = tuple[Test, int]  # by which test, windows of how many hours


def rates(
    traffic: Traffic, judged: Sequence[Judged], runs: Sequence[int], *, moved: float = 0.0, alpha: float = ALPHA
) -> dict[Judged, Rates]:
    """How often windows are called drifted, when every value of theirs is moved by `moved`."""
    found = [_run(traffic, judged, run, moved, alpha) for run in runs]
    return {what: _rates([run[what] for run in found], what[1]) for what in judged}


def _rates(runs: Sequence[Sequence[float]], hours: int) -> Rates:
    shares = np.concatenate([np.array(run) for run in runs])
    events = sum(_events([share >= DRIFTED for share in run]) for run in runs)
    return Rates(
        shares.size, float((shares > 0).mean()), float((shares >= DRIFTED).mean()), events / (shares.size * hours / 24 / 30)
    )


def _run(traffic: Traffic, judged: Sequence[Judged], run: int, moved: float, alpha: float) -> dict[Judged, list[float]]:
    """The share of columns that breach in each window."""
    minute, values = traffic.draw(np.random.default_rng((3, run)), 2 * DAYS)
    half = int(np.searchsorted(minute, DAYS * 1_440))
    of = _reference(minute[:half], {name: column[:half] for name, column in values.items()})
    bins = {c.name: c.index(values[c.name] + moved) for c in of.features if isinstance(c, NumericReference)}
    found = {}
    for test, hours in judged:
        borders = np.searchsorted(minute, np.arange(DAYS * 1_440, 2 * DAYS * 1_440 + 1, hours * 60))[: WINDOWS + 1]
        windows = [_window(of, bins, int(start), int(end)) for start, end in pairwise(borders)]
        found[test, hours] = [alarms(window, DistributionCheck(test=test), alpha) / len(bins) for window in windows]
    return found


def _reference(minute: Array, values: dict[str, Array]) -> ReferenceProfile:
    features = [Column(name=name, kind=ColumnKind.NUMERIC) for name in values]
    return build_reference(pl.DataFrame(values), features, {}, timestamps=minute.astype("datetime64[m]"))


def _window(of: ReferenceProfile, bins: dict[str, Any], start: int, end: int) -> Profile:
    window = Profile.empty(of)
    window.vector[0] = end - start
    for name, index in bins.items():
        counts = window.counts("features", name)
        counts[:] = np.bincount(index[start:end], minlength=counts.size)
    return window


def _events(breached: Sequence[bool]) -> int:
    """How often two of three windows breach that did not before."""
    agreed = [sum(breached[max(i - 2, 0) : i + 1]) >= 2 for i in range(len(breached))]
    return sum(now and not before for before, now in zip([False, *agreed], agreed, strict=False))
