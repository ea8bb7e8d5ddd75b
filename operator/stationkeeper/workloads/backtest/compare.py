"""Several rules of training over one history, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from stationkeeper.api.manifest import Score
from stationkeeper.workloads.backtest.course import Course
from stationkeeper.workloads.backtest.judge import Judge, Judged
from stationkeeper.workloads.backtest.pilot import Pilot
from stationkeeper.workloads.backtest.pod import Stage, Trainer
from stationkeeper.workloads.backtest.replay import Replay
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.training import bootstrap

Told = Callable[[str, float], None]  # what is done, and the share that is done with it

NEVER: Final = "never"  # the course that gains are measured against
_SEED: Final = 20130401
_REPLICATES: Final = 2_000
_MIN_WINDOWS: Final = 6  # fewer say nothing about an interval


@dataclass(frozen=True, slots=True)
class Match:
    """What all courses have in common."""

    stage: Stage
    trainer: Trainer
    windows: Sequence[Window]
    grace: timedelta
    metric: str | None  # greater is better; None where no model is asked


def play(match: Match, judge: Judge, pilots: Sequence[Pilot], told: Told) -> tuple[list[Course], list[Judged]]:
    """Each pilot's course, and the windows that were judged for the one that listens.

    Raises:
        ReplayError: when there is no first model.
    """
    courses, judged = list[Course](), list[Judged]()
    for number, pilot in enumerate(pilots):
        share = _sharing(told, number, len(pilots), len(match.windows))
        replay = Replay(match.stage, match.trainer, pilot, judge if pilot.checks else None, match.metric, share)
        courses.append(replay.run(match.windows, match.grace if pilot.checks else timedelta(0)))
        judged += replay.judged
    told("done", 1.0)
    never = next((course for course in courses if course.name == NEVER), None)
    return [course.model_copy(update={"gain": gain(course, never)}) for course in courses], judged


def _sharing(told: Told, number: int, courses: int, windows: int) -> Told:
    return lambda text, done: told(text, (number + done / windows) / courses)


def gain(course: Course, never: Course | None) -> Score | None:
    """By how much a course's mean score lies above that of never training again.

    The interval (95 %) resamples windows: rows of one window stand or fall together.
    """
    if never is None or course is never:
        return None
    pairs = [
        (ours.score - theirs.score, ours.labelled)
        for ours, theirs in zip(course.windows, never.windows, strict=True)
        if ours.score is not None and theirs.score is not None and ours.labelled
    ]
    if not pairs:
        return None
    differences, rows = (np.array(values, dtype=np.float64) for values in zip(*pairs, strict=True))
    value = float(differences @ rows / rows.sum())
    if len(pairs) < _MIN_WINDOWS:
        return Score(value=value)
    drawn = np.random.default_rng(_SEED).integers(0, len(pairs), (_REPLICATES, len(pairs)))
    means = (differences * rows)[drawn].sum(axis=1) / rows[drawn].sum(axis=1)
    low, high = bootstrap.interval(means.tolist()) or (None, None)
    return Score(value=value, low=low, high=high)
