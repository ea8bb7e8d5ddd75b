"""Whether a reference can say what windows ordinarily differ by: it must have seen enough cycles of traffic (`Calibrating`).

A day that was seen twice tells nothing of weekends, nor of weather, which stays for days: windows of hours are called drifted ten times
as often after two days as after seven. Windows of days have seen two weeks, longer ones two of their own.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.variation import Variation

_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(weeks=1)
_WHOLE: Final = 0.9  # of that: fourteen days that are dated, not timed, are thirteen days apart


def cycles(length: timedelta) -> timedelta:
    """What must have been seen for windows of a length: a week where they are shorter than a day, two weeks, or two such windows."""
    if length < _DAY:
        return _WEEK
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
    if span is not None and span < _WHOLE * cycles(length):
        return f"the reference spans {words(span)} of {words(cycles(length))} that must have been seen"
    return ""


def words(span: timedelta) -> str:
    """A length of time for people."""
    days = span / _DAY
    return f"{days:.3g} days" if days >= 1 else f"{span / timedelta(hours=1):.2g} hours"
