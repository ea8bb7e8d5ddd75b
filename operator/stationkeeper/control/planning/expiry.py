"""How long a verdict counts: three times the N windows of M-of-N (SEMANTICS §8.17). Missing evidence is never what it was before."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeVar

from stationkeeper.api.base import parse_duration
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.verdicts import QualityVerdict, WindowVerdict
from stationkeeper.control.planning import cron

TIMES = 3
CHECK_TIME = timedelta(minutes=15)  # that a check may take, from its time in the schedule to its last word
_EVER = datetime.min.replace(tzinfo=UTC)

W = TypeVar("W", WindowVerdict, QualityVerdict)


def recent(windows: Sequence[W], spec: DriftPolicySpec, now: datetime, lag: str = "0s") -> tuple[list[W], bool]:
    """The newest N evaluated windows that count, and whether one of these N has expired.

    A verdict expires 3 N windows after its window, as soon as a check that could have brought newer ones had its time; and beside a
    verdict that is so much newer.
    """
    newest = list(windows[-spec.breach.of :])
    if not newest:
        return [], False
    try:
        life = TIMES * spec.breach.of * parse_duration(spec.max_window or spec.window)
        told = _checked(spec.schedule, now) - parse_duration(spec.grace) - parse_duration(lag)
        oldest = max(told - life, newest[-1].end - life)
    except (OverflowError, cron.InvalidCronError):  # windows of millennia
        oldest = _EVER
    counted = [window for window in newest if window.end >= oldest]
    return counted, len(counted) < len(newest)


@lru_cache(maxsize=256)
def _checked(schedule: str, now: datetime) -> datetime:
    """When the newest check began that has had its time. One reconcile asks often, and searching a schedule is slow."""
    return cron.last_before(schedule, now - CHECK_TIME)
