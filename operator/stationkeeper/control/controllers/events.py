"""Events for people: told once, never in the way of the work."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter

from stationkeeper.control.kube.errors import ApiError
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.planning import Event

logger = logging.getLogger(__name__)
LOST = Counter("stationkeeper_events_lost", "Events for people that could not be written.")
Object = dict[str, Any]
_Told = tuple[str, str, str]  # UID of the object, reason, message
_QUIET_SECONDS = 600.0
_REMEMBERED = 5000
_WAITING = 5000
_PAUSE_SECONDS = 0.1  # between two Events while there is work
_NOTE_BYTES = 1000  # the API server takes 1024


class Recorder:
    """Writes Events one after the other, behind the work; the same one is not written again for ten minutes.

    While `busy` says that there is work, only some are written each second.
    """

    def __init__(
        self,
        gateway: Gateway,
        identity: str,
        busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._gateway, self._identity, self._busy, self._clock = gateway, identity, busy, clock
        self._told: OrderedDict[_Told, float] = OrderedDict()
        self._waiting: asyncio.Queue[tuple[_Told, Object]] = asyncio.Queue(_WAITING)

    def record(self, obj: Object, event: Event) -> None:
        """Tell people of this event on this object, as well and as soon as can be."""
        now = self._clock()
        told = (obj["metadata"].get("uid", ""), event.reason, event.message)
        if now.timestamp() - self._told.get(told, 0.0) < _QUIET_SECONDS:
            return
        self._told[told] = now.timestamp()
        self._told.move_to_end(told)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        try:
            self._waiting.put_nowait((told, self._event(obj, event, now)))
        except asyncio.QueueFull:
            self._lost(told, "too many wait")

    async def run(self) -> None:
        """Write what was recorded, for ever."""
        while True:
            told, event = await self._waiting.get()
            try:
                if self._busy():
                    await asyncio.sleep(_PAUSE_SECONDS)
                await self._gateway.create(event)
            except ApiError as error:
                self._lost(told, str(error))
            finally:
                self._waiting.task_done()

    async def written(self) -> None:
        """Wait until all that was recorded is written."""
        await self._waiting.join()

    def _lost(self, told: _Told, why: str) -> None:
        self._told.pop(told, None)  # when it comes up again it may be told
        LOST.inc()
        logger.warning("an event (%s) could not be written: %s", told[1], why)

    def _event(self, obj: Object, event: Event, now: datetime) -> Object:
        meta = obj["metadata"]
        unique = hashlib.sha256(f"{meta.get('uid')}{event.reason}{event.message}{now.timestamp()}".encode()).hexdigest()[:12]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name'][:200].rstrip('-.')}.{unique}", "namespace": meta["namespace"]},
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": "stationkeeper.dev/operator",
            "reportingInstance": self._identity[:128],
            "action": "Reconcile",
            "type": event.type,
            "reason": event.reason,
            "note": event.message.encode()[:_NOTE_BYTES].decode(errors="ignore"),
            "regarding": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta.get("uid"),
                "resourceVersion": meta.get("resourceVersion"),
            },
        }
