"""What a cron expression means, in UTC. The API server checks its form only."""

from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError


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
    try:
        return next(CronSim(expression, now.astimezone(UTC), reverse=reverse))
    except (CronSimError, StopIteration) as error:
        raise InvalidCronError(f"{expression!r} is not a schedule: {error or 'it has no times'}") from error
