"""Windows of traffic: closed, half-open `[start, end)`, in UTC, tiling time from the epoch without overlap.

They follow from the clock of the data alone, never from the moment at which a check was started, so that a check that
ran twice, late or not at all changes nothing. UTC knows no daylight saving: every window has the same length.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

MAX_BACK: Final = 32  # windows that are looked back at: what is older is nobody's concern any more

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """`start <= t < end`."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def days(self) -> list[datetime]:
        """Midnight (UTC) of every day that the window touches."""
        day = self.start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        found = []
        while day < self.end:
            found.append(day)
            day += timedelta(days=1)
        return found


def closed(since: datetime, now: datetime, length: timedelta, grace: timedelta, limit: int = MAX_BACK) -> list[Window]:
    """The newest windows, oldest first, that begin at or after `since` and whose grace for late files has passed.

    Raises:
        ValueError: when the length is not positive.
    """
    if length <= timedelta(0):
        raise ValueError("a window must be longer than nothing; write for example 15m or 1h")
    first = -((_EPOCH - since) // length)  # rounded up
    behind = (now - grace - _EPOCH) // length  # number of the first window that is not closed
    begin = max(first, behind - limit)
    return [Window(_EPOCH + length * i, _EPOCH + length * (i + 1)) for i in range(begin, behind)]
