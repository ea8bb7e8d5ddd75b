"""Windows of traffic: closed, half-open `[start, end)`, in UTC, tiling time from the epoch without overlap.

They follow from the clock of the data alone, never from the moment at which a check was started, so that a check that
ran twice, late or not at all changes nothing. UTC knows no daylight saving: every window has the same length.
"""

from collections.abc import Callable, Iterable, Iterator
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


def closed(
    since: datetime,
    now: datetime,
    length: timedelta,
    grace: timedelta,
    *,
    until: datetime | None = None,
    limit: int = MAX_BACK,
) -> list[Window]:
    """The newest windows, oldest first, whose grace for late files has passed and in which a revision served.

    It served from `since` on, and `until` then, where it serves no more. The windows in which it began and ended are among them:
    what it answered there carries its digest, and what others answered there carries theirs.

    Raises:
        ValueError: when the length is not positive.
    """
    if length <= timedelta(0):
        raise ValueError("a window must be longer than nothing; write for example 15m or 1h")
    first = (since - _EPOCH) // length
    behind = (now - grace - _EPOCH) // length  # number of the first window that is not closed
    if until is not None:
        behind = min(behind, -((_EPOCH - until) // length))  # rounded up
    begin = max(first, behind - limit)
    return [Window(_EPOCH + length * i, _EPOCH + length * (i + 1)) for i in range(begin, behind)]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A window to judge, or, where it is not `whole`, one that holds too few rows and may still grow."""

    window: Window
    rows: int = 0  # counted in it, where it was counted
    whole: bool = True


def gathered(
    tiles: Iterable[Window], settled: Iterable[Window], rows: Callable[[Window], int], enough: int, most: timedelta
) -> Iterator[Stretch]:
    """Adjacent windows taken together until they hold enough rows.

    A stretch begins with the first tile that has rows and ends with the one that brings them to `enough`, or with the last one that
    `most` has room for. What was settled once stays: a file that comes late neither moves it nor is counted twice.

    Args:
        tiles: closed windows of one length, oldest first.
        settled: stretches of earlier runs.
        rows: how many a tile holds.
        enough: rows that make a window.
        most: how long a stretch may be.
    """
    known, open_ = sorted(settled), None
    told: Window | None = None
    for tile in tiles:
        holder = next((window for window in known if tile.start in window), None)
        if holder is not None:
            if open_ is not None:
                yield open_  # between settled ones: nothing can join it any more
            if holder != told:
                yield Stretch(holder)
            open_, told = None, holder
            continue
        count = rows(tile)
        if open_ is None and not count:
            yield Stretch(tile, whole=False)
            continue
        begun = open_ or Stretch(tile)
        stretch = Window(begun.window.start, tile.end)
        total = begun.rows + count
        full = stretch.end + (tile.end - tile.start) > stretch.start + most
        open_ = Stretch(stretch, total, whole=total >= enough or full)
        if open_.whole:
            yield open_
            open_ = None
    if open_ is not None:
        yield open_
