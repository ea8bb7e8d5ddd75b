"""Figures and names as people read them: the filters of the templates."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from stationkeeper.api.base import short

MINUS: Final = "\N{MINUS SIGN}"
_BORDER: Final = re.compile(r"_|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # between two words
_RARE: Final = 1e-6
_LARGE: Final = 1e6


def number(value: float | None, digits: int = 3) -> str:
    """`0.0433`, `12,379`, `−1.2`; a dash for nothing."""
    if value is None:
        return "–"
    if value == round(value) and abs(value) < _LARGE:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}" if abs(value) < _LARGE else f"{value:.{digits - 1}e}"
    return text.replace("-", MINUS)


def percent(value: float | None) -> str:
    """`4 %`, `0.3 %`; a dash for nothing."""
    if value is None:
        return "–"
    shown = 100 * value
    text = f"{shown:.0f}" if shown in (0, 100) or 9.95 <= shown < 99.5 else f"{shown:.2g}" if shown < 99.5 else f"{shown:.4g}"
    return f"{text} %"


def chance(value: float | None) -> str:
    """How often chance alone gives as much."""
    if value is None:
        return "–"
    return "below 1 in a million" if value < _RARE else percent(value)


def times(value: float) -> str:
    """`2.2×`."""
    if value < 0.05:
        return "under 0.1×"
    return f"{value:.1f}×" if value < 100 else f"{value:,.0f}×"


def moment(value: datetime) -> str:
    """`2013-07-01 12:00` in UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"


def stopped(text: str) -> str:
    """With a full stop."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def sentence(text: str) -> str:
    """With a capital letter and a full stop; not for what may begin with the name of a column."""
    return stopped(f"{text[:1].upper()}{text[1:]}")


def spaced(name: str) -> str:
    """`InsufficientData` as `Insufficient data`, `missing_column` as `Missing column`, `PCAReconstruction` as `PCA reconstruction`."""
    first, *rest = _BORDER.sub(" ", name).split()
    return " ".join([f"{first[0].upper()}{first[1:]}", *(word.lower() for word in rest)])


def length(start: datetime, end: datetime) -> str:
    """`1 hour`, `14 days`."""
    seconds = (end - start).total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds / size
            return f"{count:.3g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:.0f} seconds"


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "number": number,
    "percent": percent,
    "chance": chance,
    "times": times,
    "moment": moment,
    "stopped": stopped,
    "sentence": sentence,
    "spaced": spaced,
    "short": short,
}
