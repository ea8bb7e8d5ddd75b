"""Healthy traffic that is not drawn independently: days, weeks, and weather that stays. How often is it called drifted?

Each run is a reference of sixty days and the sixty days after it: ten columns in step with nothing but their own weather, and a
model that weighs them alike. Every window is judged by the whole policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl

from stationkeeper.api.base import parse_duration
from stationkeeper.api.driftpolicy import DriftPolicySpec, Test
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.checks.survey import MAX_WINDOWS
from stationkeeper.workloads.drift.baseline import against
from stationkeeper.workloads.drift.cycles import cycles
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from stationkeeper.workloads.drift.variation import MIN_BLOCKS, evenly, observed
from tests.benchmarks.drift.alarms import ALPHA, Array, Generator, Rate, Said, Share, drifts, policy, said

COLUMNS: Final = 10
DAYS: Final = 60  # of the reference, and of what follows
HOURLY: Final = 150  # rows


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

    any: Share  # windows in which any check breaches
    drifted: Share  # windows in which the features have drifted, or the predictions
    events: Rate  # times in a month that `Drifted` becomes true: M of N windows agree


Judged = tuple[Test, int]  # by which test, windows of how many hours


def rates(
    traffic: Traffic,
    judged: Sequence[Judged],
    runs: Sequence[int],
    *,
    moved: float = 0.0,
    alpha: float = ALPHA,
    timed: bool = True,
) -> dict[Judged, Rates]:
    """How often windows are called drifted, when every value of theirs is moved by `moved`.

    With `timed` the reference has timestamps. Without, its windows tell what windows differ by, and those are judged that follow
    `Calibrating`.
    """
    found = [_run(traffic, judged, run, moved, alpha, timed) for run in runs]
    return {what: _rates([run[what] for run in found], what[1]) for what in judged}


def _rates(runs: Sequence[Sequence[Said]], hours: int) -> Rates:
    windows = [window for run in runs for window in run]
    return Rates(
        Share(sum(w.alarm for w in windows), len(windows)),
        Share(sum(w.features or w.predictions for w in windows), len(windows)),
        Rate(sum(drifts(run, policy()) for run in runs), len(windows) * hours / 24 / 30),
    )


def _run(
    traffic: Traffic, judged: Sequence[Judged], run: int, moved: float, alpha: float, timed: bool
) -> dict[Judged, list[Said]]:
    """What each window says; windows follow each other."""
    minute, values = traffic.draw(np.random.default_rng((3, run)), 2 * DAYS)
    half = int(np.searchsorted(minute, DAYS * 1_440))
    of = _reference(minute[:half] if timed else None, {name: column[:half] for name, column in values.items()})
    after = {name: column[half:] + moved for name, column in values.items()}
    true = {"features": after, "predictions": _answers(after)}
    groups = {"features": of.features, "predictions": of.predictions}
    bins = {(group, c.name): c.index(true[group][c.name]) for group, columns in groups.items() for c in columns}
    found = {}
    for test, hours in judged:
        borders = np.searchsorted(minute[half:], np.arange(DAYS * 1_440, 2 * DAYS * 1_440 + 1, hours * 60))
        windows = [_window(of, bins, int(start), int(end)) for start, end in pairwise(borders)]
        asked = policy(test, alpha, hours=hours)
        found[test, hours] = [said(window, asked) for window in windows] if timed else _calibrated(of, windows, asked)
    return found


def _calibrated(of: ReferenceProfile, windows: Sequence[Profile], asked: DriftPolicySpec) -> list[Said]:
    """What the windows say that follow those that `Calibrating` takes: by what these differ by, and anew whenever twice as many were seen."""
    length = parse_duration(asked.window)
    seen = first = max(cycles(length) // length, MIN_BLOCKS)
    ordinary, told = list(windows[:first]), list[Said]()
    while seen < len(windows):
        known = _knowing(of, ordinary)
        for window in windows[seen : 2 * seen]:
            told.append(said(against(window, known), asked))
            if not (told[-1].features or told[-1].predictions):
                ordinary.append(window)
        seen *= 2
    return told


def _knowing(of: ReferenceProfile, windows: Sequence[Profile]) -> ReferenceProfile:
    """As `checks.survey` measures it."""
    chosen = evenly(len(windows), MAX_WINDOWS)
    known = {
        group: [(c.name, c, np.stack([windows[i].counts(group, c.name) for i in chosen])) for c in columns]
        for group, columns in (("features", of.features), ("predictions", of.predictions))
    }
    return of.knowing(observed(known, len(windows) / len(chosen)))


def _answers(values: dict[str, Array]) -> dict[str, Array]:
    """What a model answers that weighs all columns alike: as much of their weather is in it as in one of them."""
    score = np.sum(list(values.values()), axis=0) / len(values) ** 0.5
    return {"probability": 1 / (1 + np.exp(-score)), "label": np.where(score > 1, "yes", "no").astype(object)}


def _reference(minute: Array | None, values: dict[str, Array]) -> ReferenceProfile:
    features = [Column(name=name, kind=ColumnKind.NUMERIC) for name in values]
    times = None if minute is None else minute.astype("datetime64[m]")
    return build_reference(pl.DataFrame(values), features, _answers(values), timestamps=times, prediction_timestamps=times)


def _window(of: ReferenceProfile, bins: dict[tuple[str, str], Any], start: int, end: int) -> Profile:
    window = Profile.empty(of)
    window.vector[0] = end - start
    for (group, name), index in bins.items():
        counts = window.counts(group, name)
        counts[:] = np.bincount(index[start:end], minlength=counts.size)
    return window
