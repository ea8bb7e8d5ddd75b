"""Writing objects to a store that may be slow, full or away: tried again within bounded memory, then given up and counted."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stationkeeper.workloads.artifacts.errors import StoreUnavailable
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.serving.metrics import Kind, Metrics
from stationkeeper.workloads.serving.slots import Object

log = logging.getLogger(__name__)

PENDING_BYTES: Final = 32 * 2**20
MAX_REFUSALS: Final = 5  # of one object, by a store that does answer
_LONGEST_WAIT: Final = 30.0


@dataclass(slots=True, eq=False)
class _Waiting:
    object: Object
    refusals: int = 0


class Uploads:
    """A bounded queue in front of the store. `add` never waits; `attempt` writes one object and is called by one thread."""

    def __init__(self, store: Store, metrics: Metrics, limit: int = PENDING_BYTES) -> None:
        self._store = store
        self._metrics = metrics
        self._limit = limit
        self._queue: deque[_Waiting] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._ending = False
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="capture-upload", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, objects: Iterable[Object]) -> None:
        """Queue objects; when too much waits, the oldest rows are given up first and profiles, which are small, last."""
        with self._changed:
            for item in objects:
                self._queue.append(_Waiting(item))
                self._size += len(item.data)
            while self._size > self._limit and self._queue:
                victim = next((w for w in self._queue if w.object.kind is Kind.ROWS), self._queue[0])
                self._queue.remove(victim)
                self._size -= len(victim.object.data)
                self._lost(victim.object, "dropped", "the store takes too long and memory is bounded")
            self._metrics.pending.set(self._size)
            self._changed.notify()

    def attempt(self) -> bool:
        """Write the oldest object; False when that failed and waiting is advised."""
        with self._changed:
            if not self._queue:
                return True
            waiting = self._queue[0]
        try:
            # False means that the name exists: our own write, whose answer was lost.
            self._store.create(waiting.object.key, waiting.object.data)
        except Exception as error:  # whatever the store does, serving goes on and the loss is counted
            self._failed(waiting, error)
            return False
        if self._settle(waiting):
            self._count(waiting.object, "written")
        self._failures = 0
        return True

    def finish(self, seconds: float) -> bool:
        """Write what is left within the time; what is not written then is counted as failed. True when nothing was lost."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            left, self._size = list(self._queue), 0
            self._queue.clear()
        for waiting in left:
            self._lost(waiting.object, "failed", "the pod ends")
        return not left

    def _run(self) -> None:
        while self._wait_for_work():
            if not self.attempt():
                self._pause(min(_LONGEST_WAIT, 2.0 ** min(self._failures - 1, 5)))

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._queue and not self._ending:
                self._changed.wait()
            return bool(self._queue)

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; shorter when the pod ends."""
        until = time.monotonic() + seconds
        with self._changed:
            while (left := until - time.monotonic()) > 0:
                if self._ending:
                    left = min(left, 0.5)
                    until = min(until, time.monotonic() + left)
                self._changed.wait(left)

    def _failed(self, waiting: _Waiting, error: Exception) -> None:
        self._failures += 1
        log.warning("cannot write %s yet (try %d): %s", waiting.object.key, self._failures, error)
        if isinstance(error, StoreUnavailable):
            return
        waiting.refusals += 1
        if waiting.refusals >= MAX_REFUSALS and self._settle(waiting):
            self._lost(waiting.object, "failed", str(error))

    def _settle(self, waiting: _Waiting) -> bool:
        """Take an object off the queue; False when it was given up meanwhile, and counted then."""
        with self._changed:
            if waiting not in self._queue:
                return False
            self._queue.remove(waiting)
            self._size -= len(waiting.object.data)
            self._metrics.pending.set(self._size)
            return True

    def _lost(self, item: Object, outcome: str, why: str) -> None:
        self._count(item, outcome)
        log.error("capture lost %d rows of %s: %s (%s)", item.rows, item.key, outcome, why)

    def _count(self, item: Object, outcome: str) -> None:
        self._metrics.of(item.kind).labels(outcome).inc(item.rows)
