"""Telling people: every receiver hears every notice at least once, tried again with growing distance, at its own rate."""

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Counter

from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.controllers.receivers import DeliveryError, Message, Receiver, send

logger = logging.getLogger(__name__)
NOTIFICATIONS = Counter("stationkeeper_notifications", "Messages to receivers by what became of them.", ["receiver", "outcome"])

_FIRST, _LONGEST = 5.0, 600.0  # seconds between tries
_GIVE_UP = 24 * 3600.0  # seconds after the first try
_REMEMBERED = 10_000  # notices that were delivered
_AT_ONCE = 8
_HOUR = 3600.0


@dataclass
class _Sending:
    key: Key
    message: Message
    receiver: Receiver
    first: float
    due: float
    tries: int = 0


class Notifier:
    """The notices under way. `on_delivered` is called when a Model's notice has been heard by all."""

    def __init__(
        self,
        receivers: Mapping[str, Receiver],
        on_delivered: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receivers, self._on_delivered, self._clock = receivers, on_delivered, clock
        self._sending: dict[tuple[str, str], _Sending] = {}  # by notice and receiver
        self._heard: OrderedDict[str, None] = OrderedDict()  # notices that all receivers have heard
        self._sent: dict[str, deque[float]] = {name: deque() for name in receivers}  # in the last hour
        self._wake = asyncio.Event()

    def submit(self, key: Key, names: Iterable[str], messages: Iterable[Message]) -> None:
        """Take notices in; what is under way or was heard is not taken twice."""
        receivers = [self._receivers[name] for name in names if name in self._receivers]
        for message in messages:
            notice = message.notice
            if notice.id in self._heard:
                continue
            wanted = [r for r in receivers if r.severity == "Info" or notice.severity == "Warning"]
            for receiver in wanted:
                now = self._clock()
                self._sending.setdefault((notice.id, receiver.name), _Sending(key, message, receiver, now, now))
            if not wanted:
                self._remember(key, notice.id)
        self._wake.set()

    def delivered(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of these notices that need no telling any more."""
        return frozenset(identity for identity in ids if identity in self._heard)

    async def run(self) -> None:
        """Send what is due, for ever."""
        while True:
            self._wake.clear()
            await self.step()
            due = min((s.due for s in self._sending.values()), default=math.inf)
            patience = None if due == math.inf else max(0.05, due - self._clock())
            try:
                async with asyncio.timeout(patience):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Send what is due now, some at a time."""
        now = self._clock()
        due = sorted((s for s in self._sending.values() if s.due <= now), key=lambda s: s.due)
        ready = [sending for sending in due if self._may(sending, now)]
        for start in range(0, len(ready), _AT_ONCE):
            await asyncio.gather(*(self._send(sending) for sending in ready[start : start + _AT_ONCE]))

    def _may(self, sending: _Sending, now: float) -> bool:
        """Whether the receiver's rate allows another message; if not, when it will."""
        sent, limit = self._sent[sending.receiver.name], sending.receiver.per_hour
        while sent and sent[0] <= now - _HOUR:
            sent.popleft()
        if len(sent) >= limit:
            sending.due = sent[0] + _HOUR
            return False
        sent.append(now)
        return True

    async def _send(self, sending: _Sending) -> None:
        name = sending.receiver.name
        sending.tries += 1
        try:
            await send(sending.receiver, sending.message)
        except DeliveryError as error:
            self._failed(sending, str(error))
            return
        except Exception:  # a service's plug-in may fail in any way, and the others are still to hear
            logger.exception("a bug: receiver %s could not be told", name)
            self._failed(sending, "a bug")
            return
        NOTIFICATIONS.labels(name, "delivered").inc()
        self._done(sending)

    def _failed(self, sending: _Sending, why: str) -> None:
        name, now = sending.receiver.name, self._clock()
        NOTIFICATIONS.labels(name, "failed").inc()
        if now - sending.first >= _GIVE_UP:
            logger.error("receiver %s was not told %s: %s; given up", name, sending.message.title, why)
            NOTIFICATIONS.labels(name, "given_up").inc()
            self._done(sending)
            return
        delay = min(_LONGEST, _FIRST * 2 ** min(sending.tries - 1, 10))
        logger.warning("receiver %s was not told %s: %s; again in %.0f s", name, sending.message.title, why, delay)
        sending.due = now + delay

    def _done(self, sending: _Sending) -> None:
        # It stays until all have heard the notice: it is submitted again meanwhile, and must not be told twice.
        sending.due = math.inf
        identity = sending.message.notice.id
        same = [entry for entry in self._sending if entry[0] == identity]
        if all(self._sending[entry].due == math.inf for entry in same):
            for entry in same:
                del self._sending[entry]
            self._remember(sending.key, identity)

    def _remember(self, key: Key, identity: str) -> None:
        self._heard[identity] = None
        while len(self._heard) > _REMEMBERED:
            self._heard.popitem(last=False)
        self._on_delivered(key)
