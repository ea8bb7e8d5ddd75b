"""What a cron expression means, in UTC. The API server checks its form only."""

import re
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

# What CronJobs know; `L` and `W`, which the library that reads schedules here knows too, they refuse.
_WORDS = frozenset(
    [
        "JAN",
        "FEB",
        "MAR",
        "APR",
        "MAY",
        "JUN",
        "JUL",
        "AUG",
        "SEP",
        "OCT",
        "NOV",
        "DEC",
        "SUN",
        "MON",
        "TUE",
        "WED",
        "THU",
        "FRI",
        "SAT",
    ]
)


class InvalidCronError(ValueError):
    """The expression has the form of a cron schedule, but means nothing (minute 61, 30 February)."""


def last_before(expression: str, now: datetime) -> datetime:
    """The newest time of the schedule that is not after `now`.

    Raises:
        InvalidCronError: when the expression has no times.
    """
    return _first(expression, now + timedelta(seconds=1), reverse=True)  # the search excludes its start


def next_after(expression: str, now: datetime) -> datetime:
    """The first time of the schedule after `now`.

    Raises:
        InvalidCronError: when the expression has no times.
    """
    return _first(expression, now, reverse=False)


def _first(expression: str, now: datetime, *, reverse: bool) -> datetime:
    if strange := [word for word in re.findall("[A-Za-z]+", expression) if word.upper() not in _WORDS]:
        raise InvalidCronError(f"{expression!r} is not a schedule: {strange[0]!r} is neither a month nor a day of the week")
    try:
        return next(CronSim(expression, now.astimezone(UTC), reverse=reverse))
    except (CronSimError, StopIteration) as error:
        raise InvalidCronError(f"{expression!r} is not a schedule: {error or 'it has no times'}") from error
