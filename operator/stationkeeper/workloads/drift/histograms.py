"""What people are shown of a column: few bars, with borders that can be read, reference against window."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np

from stationkeeper.api.report import MAX_BARS, Histogram
from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.grid import Floats, Ints
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import AnyReference, CategoricalReference, NumericReference

_NAMED: Final = MAX_BARS - 3  # categories; beside them the others, unseen, missing
_TAIL: Final = 0.025  # share of the reference on each side that may lie far away
_DIGITS: Final = 6  # of a share
_LONG: Final = 1e4  # numbers from here on are grouped by commas

Bars = tuple[list[str], Ints]  # labels, and the number of the bar that each bin belongs to


def histogram(profile: Profile, group: Group, column: AnyReference) -> Histogram:
    """Shares of a column in the reference and in the window. A bar in which neither has a row is left out."""
    counts = column.vector, profile.counts(group, column.name)
    labels, bar_of = _ranges(column) if isinstance(column, NumericReference) else _values(column, counts)
    reference, current = (np.bincount(bar_of, c / max(int(c.sum()), 1), len(labels)) for c in counts)
    shown = np.flatnonzero((reference > 0) | (current > 0)).tolist()
    return Histogram(
        name=column.name,
        group=group,
        kind=column.kind,
        bins=[labels[i] for i in shown],
        reference=reference.round(_DIGITS)[shown].tolist(),
        current=current.round(_DIGITS)[shown].tolist(),
    )


def _ranges(column: NumericReference) -> Bars:
    if not column.cuts.size:
        return ["any value", "missing"], np.repeat([0, 1], [column.bins - 1, 1])
    return _bars(tuple(column.cuts.tolist()), tuple(column.counts), (*column.edges, column.top + 1))


@lru_cache(maxsize=2048)  # the same for every window
def _bars(cuts: tuple[float, ...], counts: tuple[int, ...], edges: tuple[int, ...]) -> Bars:
    starts = _evenly(np.array(cuts), counts)
    ends = _ends(starts, cuts, counts, [b - a == 1 for a, b in pairwise(edges)])
    texts = _numbers(sorted({value for pair in ends for value in pair}))
    inner = [texts[low] if low == high else f"{texts[low]} to {texts[high]}" for low, high in ends]
    labels = [f"< {texts[ends[0][0]]}", *inner, f"> {texts[ends[-1][1]]}", "missing"]
    widths = [b - a for a, b in pairwise(starts)]
    return labels, np.repeat(np.arange(len(labels)), [1, *widths, 1, 1])


def _evenly(cuts: Floats, counts: Sequence[int]) -> list[int]:
    """The cuts at which bars begin and end: they advance alike in value and in mass together, so that the shape shows, and no bar
    holds most rows.
    """
    mass = np.concatenate(([0.0], np.cumsum(counts) / max(sum(counts), 1)))
    low, high = np.searchsorted(mass, _TAIL, "right") - 1, min(int(np.searchsorted(mass, 1 - _TAIL)), mass.size - 1)
    cuts = cuts / 4  # the distance of two numbers is a number
    span = float(cuts[high] - cuts[low]) or 1.0
    course = mass + np.clip((cuts - cuts[low]) / span, 0.0, 1.0)
    steps = np.linspace(course[0], course[-1], MAX_BARS - 2)
    after = np.clip(np.searchsorted(course, steps), 1, mass.size - 1)
    nearest = np.where(steps - course[after - 1] < course[after] - steps, after - 1, after)
    return sorted({0, *nearest.tolist(), mass.size - 1})


def _ends(
    starts: Sequence[int], cuts: Sequence[float], counts: Sequence[int], one_cell: Sequence[bool]
) -> list[tuple[float, float]]:
    """From the first value in each bar to the end of it, or to the one value of its last bin with any."""
    ends = []
    for begin, end in pairwise(starts):
        held = [i for i in range(begin, end) if counts[i]] or [begin]
        first, last = held[0], held[-1]
        low = _roundest(cuts[first], cuts[first + 1]) if one_cell[first] else cuts[first]
        high = _roundest(cuts[last], cuts[last + 1]) if one_cell[last] else cuts[end]
        ends.append((low, high))
    return ends


def _roundest(low: float, high: float) -> float:
    """The number of the fewest digits in a cell: a cell of much mass holds one value, as a rule, and a round one."""
    if low <= 0 <= high:
        return 0.0
    rounded = (float(f"{low / 2 + high / 2:.{digits}g}") for digits in range(1, 18))
    return next((value for value in rounded if low <= value <= high), low)


def _numbers(values: list[float]) -> dict[float, str]:
    """Values with as few digits as tell them apart, two at least."""
    texts: list[str] = []
    for digits in range(2, 18):
        texts = [_number(value, digits) for value in values]
        if len(set(texts)) == len(values):
            break
    return dict(zip(values, texts, strict=True))


def _number(value: float, digits: int) -> str:
    rounded = float(f"{value:.{digits}g}")
    if value == round(value) and abs(value) < _LONG:
        return f"{value:.0f}"  # years are not rounded
    if rounded and not 1e-4 <= abs(rounded) < 1e7:
        return f"{rounded:.{digits}g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0) if rounded else 0
    text = f"{rounded:,.{decimals}f}" if abs(rounded) >= _LONG else f"{rounded:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def _values(column: CategoricalReference, counts: tuple[Ints, Ints]) -> Bars:
    """The most frequent categories of both samples in the reference's order, then all others."""
    known = len(column.categories)
    shares = np.maximum(*(c[:known] / max(int(c.sum()), 1) for c in counts))
    named = np.sort(np.argsort(-shares, kind="stable")[:_NAMED])
    bar_of = np.full(known, named.size)
    bar_of[named] = np.arange(named.size)
    other = "other or unseen" if column.other else "unseen"
    labels = [*(column.categories[i] for i in named.tolist()), f"{known - named.size} more", other, "missing"]
    return labels, np.append(bar_of, [named.size + 1, named.size + 2])
