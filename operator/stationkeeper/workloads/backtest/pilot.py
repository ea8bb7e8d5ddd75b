"""Who decides when to train. The operator's own planning is one pilot, which the command line brings; the others are yardsticks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from stationkeeper.api.jobs import RevisionIdentity
from stationkeeper.api.status import Cause
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.api.verdicts import QualityVerdict, WindowVerdict


@dataclass(frozen=True, slots=True)
class Order:
    """A training that is to be started now. Episode and attempt seed it."""

    cause: Cause
    episode: str
    attempt: int = 1
    revision: int = 1  # the number that it will have
    onset: datetime | None = None  # start of the first breached window, for drift
    anchor: RevisionIdentity | None = None  # that no challenger may fall below


class Pilot(Protocol):
    """Hears verdicts, decides, and hears how the training ended."""

    @property
    def name(self) -> str:
        """What its course is called."""
        ...

    @property
    def checks(self) -> bool:
        """Whether it listens to verdicts."""
        ...

    def hear(self, verdict: WindowVerdict | QualityVerdict, /) -> None:
        """A window was judged."""
        ...

    def decide(self, now: datetime) -> Order | None:
        """What to train now, if anything."""
        ...

    def conclude(self, order: Order, summary: TrainingSummary, now: datetime, /) -> None:
        """How the training ended."""
        ...

    @property
    def wake(self) -> datetime | None:
        """When to ask again before the next window ends, if ever."""
        ...


class Timetable:
    """Trains the first model, then again at given moments whatever is found."""

    checks = False

    def __init__(self, name: str, begin: datetime, every: timedelta | None, end: datetime) -> None:
        self.name = name
        self._moments = _moments(begin, every, end)
        self._next: datetime | None = begin
        self._revision = 0
        self._number = 0

    @property
    def wake(self) -> datetime | None:
        """The next moment."""
        return self._next

    def hear(self, _verdict: WindowVerdict | QualityVerdict, /) -> None:
        """It does not listen."""

    def decide(self, now: datetime) -> Order | None:
        """Train when the moment has come."""
        if self._next is None or now < self._next:
            return None
        self._next = next(self._moments, None)
        self._number += 1
        cause = Cause.SCHEDULE if self._revision else Cause.INITIAL
        return Order(cause, f"{self.name}-{self._number}", revision=self._revision + 1)

    def conclude(self, _order: Order, summary: TrainingSummary, _now: datetime, /) -> None:
        """Count the revisions."""
        self._revision = summary.revision or self._revision


def _moments(begin: datetime, every: timedelta | None, end: datetime) -> Iterator[datetime]:
    moment = begin + every if every else end
    while every and moment < end:
        yield moment
        moment += every
