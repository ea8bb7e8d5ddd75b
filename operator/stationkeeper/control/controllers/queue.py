"""The work queue: each key once, one worker at a time for a key, failures after a growing distance (client-go's rules)."""

import asyncio
import heapq
import itertools
import random
from collections.abc import Hashable
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

K = TypeVar("K", bound=Hashable)
DEPTH = Gauge("stationkeeper_queue_depth", "Keys that wait for a worker.")
RETRIES = Counter("stationkeeper_queue_retries", "Reconciles that are tried again after a failure.")
WAITED = Histogram("stationkeeper_queue_seconds", "How long keys waited for a worker.")
_SLACK = 64  # overtaken entries that are not worth a clearing


# The event loop calls a timer up to its clock's resolution too early; whoever then waited for the rest would not wait at all, and spin.
_EARLY = 1e-6  # seconds


class WorkQueue(Generic[K]):
    """Keys that somebody should look at.

    A key that is added while it is worked on is worked on again afterwards. A key that is added twice for later keeps
    the earlier time.
    """

    def __init__(self, base: float = 0.5, most: float = 120.0) -> None:
        self._base, self._most = base, most  # seconds
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: dict[K, float] = {}  # in _ready, since when
        self._working: set[K] = set()
        self._again: set[K] = set()  # added while worked on
        self._failures: dict[K, int] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def add(self, key: K) -> None:
        """Look at this key as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().time()
            self._ready.put_nowait(key)
            DEPTH.set(self._ready.qsize())

    def add_after(self, key: K, seconds: float) -> None:
        """Look at this key in so many seconds, or earlier if that was asked for already."""
        if seconds <= 0:
            self.add(key)
            return
        at = asyncio.get_running_loop().time() + seconds
        if self._due.get(key, at + 1) <= at:
            return
        self._due[key] = at
        heapq.heappush(self._later, (at, next(self._order), key))
        if len(self._later) > 2 * len(self._due) + _SLACK:
            # Most entries were overtaken. A weekly schedule would else leave one behind at every look of the week.
            self._later = [entry for entry in self._later if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._later)
        self._wake.set()

    async def get(self) -> K:
        """The next key; `done` must follow."""
        key = await self._ready.get()
        WAITED.observe(asyncio.get_running_loop().time() - self._waiting.pop(key))
        self._working.add(key)
        DEPTH.set(self._ready.qsize())
        return key

    def done(self, key: K) -> None:
        """The work on this key is over, for now."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def failed(self, key: K, at_least: float = 0.0) -> float:
        """Try again later; each failure in a row doubles the distance. Returns the seconds.

        `at_least` is the distance that the server asked for; it is believed up to our own longest one.
        """
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay: float = min(self._most, self._base * 2 ** min(count, 20)) * random.uniform(0.8, 1.2)
        delay = max(delay, min(self._most, at_least))
        RETRIES.inc()
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """Forget the failures of this key."""
        self._failures.pop(key, None)

    async def run_timer(self) -> None:
        """Move keys whose time has come into the queue, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            while self._later and self._later[0][0] <= loop.time() + _EARLY:
                at, _, key = heapq.heappop(self._later)
                if self._due.get(key) == at:  # else it was added since, or for another time
                    del self._due[key]
                    self.add(key)
            timeout = self._later[0][0] - loop.time() if self._later else None
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                continue
