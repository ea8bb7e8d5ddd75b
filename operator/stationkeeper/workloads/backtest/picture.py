"""The replay as one page for people: loss against trainings, then everything that led there. Self-contained, without scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Template

from stationkeeper.workloads.backtest.course import Backtest, Course
from stationkeeper.workloads.report.course import round_numbers
from stationkeeper.workloads.report.page import drawing

WIDTHS: Final = (720.0, 360.0)  # on a wide screen, and on a narrow one
HEIGHT: Final = 320.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 20.0, 20.0, 44.0  # margins
_ROOM: Final = 0.14  # of the span of values, above and below them
_LINE: Final = 17.0  # between two labels
_SIDE: Final = 0.5  # of the width: points further right have their labels on the left


@dataclass(frozen=True, slots=True)
class Point:
    """One course."""

    x: float
    y: float
    name: str
    text: str
    anchor: str
    label_x: float
    label_y: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A round number on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Loss (or score) upwards, trainings to the right."""

    width: float
    points: list[Point]
    across: list[Tick]
    upwards: list[Tick]


def page(backtest: Backtest) -> str:
    """The HTML of a replay. The same replay gives the same bytes."""
    return _template().render(found=backtest, scatters=[found for width in WIDTHS if (found := scatter(backtest, width))])


def scatter(backtest: Backtest, width: float) -> Scatter | None:
    """Where each course lies on a picture so wide; None where fewer than two have a score."""
    known = [(course, backtest.shown(course.score)) for course in backtest.courses if course.score is not None]
    if len(known) < 2:
        return None
    values = [value for _, value in known]
    room = _ROOM * (max(values) - min(values)) or 0.01
    low, high = min(values) - room, max(values) + room
    most = max(max(course.trained for course, _ in known), 1)

    def across(trained: float) -> float:
        return LEFT + trained / most * (width - LEFT - RIGHT)

    def up(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    half = across(most * _SIDE)
    points = [
        _point(course, value, across(course.trained), up(value), left=across(course.trained) > half) for course, value in known
    ]
    return Scatter(
        width=width,
        points=_apart(points),
        across=[Tick(across(value), f"{value:g}") for value in round_numbers(0, most) if value == int(value)],
        upwards=[Tick(up(value), f"{value:g}") for value in round_numbers(low, high)],
    )


def _point(course: Course, value: float, x: float, y: float, *, left: bool) -> Point:
    text = f"{course.name}: {value:.4f}"
    return Point(x, y, course.name, text, "end" if left else "start", x - 12 if left else x + 12, y + 4)


def _apart(points: Sequence[Point]) -> list[Point]:
    """Labels one under another where they would overlap."""
    placed: list[Point] = []
    for point in sorted(points, key=lambda p: p.y):
        y = point.label_y
        for other in placed:
            if abs(other.label_x - point.label_x) < 220 and y < other.label_y + _LINE:
                y = other.label_y + _LINE
        placed.append(Point(point.x, point.y, point.name, point.text, point.anchor, point.label_x, y))
    return placed


@cache
def _template() -> Template:
    environment = drawing(Path(__file__).parent / "templates")
    environment.globals |= {"HEIGHT": HEIGHT, "LEFT": LEFT, "RIGHT": RIGHT, "BOTTOM": BOTTOM, "TOP": TOP}
    return environment.get_template("backtest.html")
