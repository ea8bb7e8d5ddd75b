"""Whether a reference can say what windows ordinarily differ by: it must have seen two cycles of traffic (`Calibrating`).

What comes and goes within a day has been seen twice in two days, what comes and goes within a week in two weeks. Less than that tells
weather from drift by luck.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.variation import Variation

_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(weeks=1)
_WHOLE: Final = 0.9  # of the cycles: fourteen days that are dated, not timed, are thirteen days apart


def two_cycles(length: timedelta) -> timedelta:
    """What must have been seen for windows of a length: two days, two weeks, or two such windows."""
    if length < _DAY:
        return 2 * _DAY
    return 2 * max(length, _WEEK)


def unknown(variation: Sequence[Variation], group: Group, span: timedelta | None, length: timedelta) -> str:
    """Why a reference does not say what windows of a length ordinarily differ by; empty where it does.

    Args:
        variation: that of the reference.
        group: of which columns.
        span: from the first to the last time of its rows; None where nobody knows, and then what it measured is believed.
        length: of windows.
    """
    if not any(getattr(measured, group) for measured in variation):
        return "too few rows of the reference have a time" if span else "the reference has no timestamps"
    if span is not None and span < _WHOLE * two_cycles(length):
        return f"the reference spans {words(span)} of the {words(two_cycles(length))} that two cycles take"
    return ""


def words(span: timedelta) -> str:
    """A length of time for people."""
    days = span / _DAY
    return f"{days:.3g} days" if days >= 1 else f"{span / timedelta(hours=1):.2g} hours"
