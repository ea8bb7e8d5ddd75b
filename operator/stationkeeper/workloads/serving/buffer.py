"""What the event loop hands to the capture thread: a bounded list, O(1) to append to."""

import threading
from dataclasses import dataclass

from stationkeeper.workloads.artifacts.columns import Columns
from stationkeeper.workloads.serving.moments import Told


@dataclass(frozen=True, slots=True)
class Answered:
    """Rows that were answered."""

    request_id: str
    arrived: float  # Unix time
    columns: Columns
    outputs: Columns
    extra: tuple[str, ...]
    rows: int
    size: int  # about how many bytes this holds
    told: Told | None = None  # when the rows happened


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows that were refused for their columns."""

    arrived: float
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    rows: int
    size: int
    told: Told | None = None


Entry = Answered | Refused


class Buffer:
    """Entries of any thread for one taker. What does not fit is refused, never waited for."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hurry = limit // 4
        self._entries: list[Entry] = []
        self._size = 0
        self._changed = threading.Condition()

    @property
    def size(self) -> int:
        """Bytes held, as the entries say."""
        return self._size

    def add(self, entry: Entry) -> bool:
        """Keep an entry; False when there is no room."""
        with self._changed:
            if self._size + entry.size > self._limit:
                return False
            self._entries.append(entry)
            self._size += entry.size
            if self._size > self._hurry:
                self._changed.notify()
        return True

    def wake(self) -> None:
        """Let the taker look."""
        with self._changed:
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Wait for the time, for `wake`, or until much is held."""
        with self._changed:
            if self._size <= self._hurry:
                self._changed.wait(seconds)

    def take(self) -> list[Entry]:
        """All entries, oldest first."""
        with self._changed:
            entries, self._entries, self._size = self._entries, [], 0
        return entries
