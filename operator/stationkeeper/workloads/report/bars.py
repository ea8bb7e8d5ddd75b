"""Where the bars of a histogram stand: the geometry of the picture. The template only draws.

All lengths are in the units of a picture's `viewBox`, which is `WIDTH` wide; the browser scales it to the page.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stationkeeper.api.report import Histogram

WIDTH: Final = 360.0
HEIGHT: Final = 145.0  # of the bars of numbers
ROW: Final = 19.0  # of one category
LABELS: Final = 112.0  # left of the bars of categories
MAX_CATEGORIES: Final = 9
_APART: Final = 62.0  # room on the right for what is missing
_LONG: Final = 17  # characters of a label
_SPECIAL: Final = ("missing", "unseen", "other or unseen")  # the last bars of `drift.histograms`, after `12 more`
_LAST: Final = 2
_MORE: Final = re.compile(r"[0-9]+ more")

_Row = tuple[str, float, float]  # label, share of the reference, share of the window


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin: a bar of the reference with one of the window before it."""

    label: str
    short: str
    reference: float  # shares
    current: float
    at: float  # left edge, or upper edge of a category
    size: float  # width, or height of a category
    before: float  # lengths
    now: float


@dataclass(frozen=True, slots=True)
class Label:
    """A text under the bars."""

    x: float
    anchor: str
    text: str


@dataclass(frozen=True, slots=True)
class Bars:
    """The picture of one histogram."""

    height: float
    bars: list[Bar]
    labels: list[Label]
    top: float  # the largest share


def bars(histogram: Histogram) -> Bars:
    """Upright bars for numbers, lying ones for categories."""
    return _numbers(histogram) if histogram.kind == "numeric" else _categories(histogram)


def _numbers(histogram: Histogram) -> Bars:
    top = max([*histogram.reference, *histogram.current, 1e-9])
    count, missing = len(histogram.bins), bool(histogram.bins) and histogram.bins[-1] == "missing"
    inner = count - 1 if missing else count
    step = (WIDTH - (_APART if missing else 0.0)) / max(inner, 1)
    found, width = [], min(step - 2, 40.0)
    for i, (label, reference, current) in enumerate(zip(histogram.bins, histogram.reference, histogram.current, strict=True)):
        apart = missing and i == inner
        middle = WIDTH - _APART / 2 if apart else (i + 0.5) * step
        size = min(width, 24.0) if apart else width
        found.append(
            Bar(label, label, reference, current, middle - size / 2, size, HEIGHT * reference / top, HEIGHT * current / top)
        )
    labels = _ends(histogram.bins[:inner], inner * step)
    if missing:
        labels.append(Label(WIDTH - _APART / 2, "middle", "missing"))
    return Bars(HEIGHT, found, labels, top)


def _ends(bins: Sequence[str], width: float) -> list[Label]:
    if not bins:
        return []
    if len(bins) == 1:
        return [Label(width / 2, "middle", bins[0])]
    # Of `3.5 to 7` at the left end 3.5 says where the axis begins, at the right end 7 where it stops.
    return [Label(0.0, "start", bins[0].partition(" to ")[0]), Label(width, "end", bins[-1].rpartition(" to ")[2])]


def _categories(histogram: Histogram) -> Bars:
    rows = _folded(list(zip(histogram.bins, histogram.reference, histogram.current, strict=True)))
    top = max([share for _, *shares in rows for share in shares] + [1e-9])
    room = WIDTH - LABELS
    found = [
        Bar(label, _cut(label), reference, current, i * ROW, ROW - 5, room * reference / top, room * current / top)
        for i, (label, reference, current) in enumerate(rows)
    ]
    return Bars(ROW * len(rows), found, [], top)


def _folded(rows: list[_Row]) -> list[_Row]:
    """The categories with the largest shares in their order, the rest as one, then what is unseen or missing."""
    if len(rows) <= MAX_CATEGORIES:
        return rows
    special = [row for row in rows[-_LAST:] if row[0] in _SPECIAL]
    named = rows[: len(rows) - len(special)]
    rest = [named.pop()] if _MORE.fullmatch(named[-1][0]) else []
    kept = {row[0] for row in sorted(named, key=lambda row: -max(row[1:]))[: MAX_CATEGORIES - len(special) - 1]}
    rest += [row for row in named if row[0] not in kept]
    other = ("all other", sum(row[1] for row in rest), sum(row[2] for row in rest))
    return [*(row for row in named if row[0] in kept), other, *special]


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
