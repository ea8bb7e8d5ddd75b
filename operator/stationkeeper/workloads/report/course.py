"""The course of quality over time: the geometry of its picture. The template only draws."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stationkeeper.api.report import DriftReport, QualityPoint, QualityResult
from stationkeeper.workloads.report.bars import Label

WIDTH: Final = 720.0
HEIGHT: Final = 240.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 104.0, 12.0, 26.0  # margins
_INSET: Final = 20.0  # of the first and the last point
_TICKS: Final = 4
_ROOM: Final = 0.08  # of the span of values, above and below them


@dataclass(frozen=True, slots=True)
class Point:
    """A score with its interval."""

    x: float
    y: float
    low: float
    high: float
    estimated: bool
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """A level that scores are held against."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Course:
    """The whole picture."""

    metric: str
    points: list[Point]
    lines: list[Line]
    ticks: list[Line]
    times: list[Label]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From moments and scores to places."""

    first: datetime
    last: datetime
    low: float
    high: float

    def across(self, moment: datetime) -> float:
        span = (self.last - self.first).total_seconds()
        inside = (moment - self.first).total_seconds() / span if span else 0.5
        return LEFT + _INSET + inside * (WIDTH - LEFT - RIGHT - 2 * _INSET)

    def up(self, value: float) -> float:
        return TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def course(report: DriftReport) -> Course | None:
    """The metric over the earlier windows and this one; None where there is no score at all."""
    whole = [result for result in report.quality if result.segment is None]
    own = [QualityPoint(start=report.start, method=r.method, score=r.score, skill=r.skill) for r in whole if r.score]
    history = sorted({(p.start, p.method): p for p in [*report.history, *own]}.values(), key=lambda p: p.start)
    if not history:
        return None
    levels = list(_levels(whole))
    values = [value for point in history for value in _reach(point)] + [value for _, value in levels]
    room = _ROOM * (max(values) - min(values)) or 0.01
    scale = _Scale(history[0].start, history[-1].start, min(values) - room, max(values) + room)
    return Course(
        metric=whole[0].metric if whole else "score",
        points=[_point(point, scale) for point in history],
        lines=[Line(scale.up(value), text) for text, value in levels],
        ticks=[Line(scale.up(value), f"{value:g}") for value in round_numbers(scale.low, scale.high)],
        times=_times(scale),
    )


def _reach(point: QualityPoint) -> tuple[float, float, float]:
    score = point.score
    return (
        score.value,
        score.value if score.low is None else score.low,
        score.value if score.high is None else score.high,
    )


def _levels(results: Sequence[QualityResult]) -> Iterator[tuple[str, float]]:
    expected = next((r.expected.value for r in results if r.expected), None)
    threshold = next((r.threshold for r in results if r.threshold is not None), None)
    if expected is not None:
        yield "on the holdout", expected
    if threshold is not None:
        yield "breached below", threshold


def _point(point: QualityPoint, scale: _Scale) -> Point:
    value, low, high = _reach(point)
    between = f" ({low:.4g} to {high:.4g})" if low < high else ""
    over = "" if point.skill is None else f", {point.skill:.4g} over a constant"
    title = f"{point.start:%Y-%m-%d %H:%M}, {point.method}: {value:.4g}{between}{over}"
    return Point(scale.across(point.start), scale.up(value), scale.up(low), scale.up(high), point.method != "Labels", title)


def round_numbers(low: float, high: float) -> list[float]:
    """A few round numbers from one to another, for an axis."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _times(scale: _Scale) -> list[Label]:
    if scale.first == scale.last:
        return [Label(scale.across(scale.first), "middle", f"{scale.first:%Y-%m-%d %H:%M}")]
    ends = ((scale.first, "start"), (scale.last, "end"))
    return [Label(scale.across(moment), anchor, f"{moment:%Y-%m-%d %H:%M}") for moment, anchor in ends]
