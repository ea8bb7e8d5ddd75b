"""Events for people: told once, never in the way of the work."""

import hashlib
import logging
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from stationkeeper.control.kube.errors import ApiError
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.planning import Event

logger = logging.getLogger(__name__)
_QUIET_SECONDS = 600.0
_REMEMBERED = 5000


class Recorder:
    """Writes Events; the same one is not written again for ten minutes."""

    def __init__(self, gateway: Gateway, identity: str) -> None:
        self._gateway, self._identity = gateway, identity
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    async def record(self, obj: dict[str, Any], event: Event) -> None:
        """Tell people of this event on this object, as well as can be."""
        now = datetime.now(UTC)
        uid = obj["metadata"].get("uid", "")
        key = (uid, event.reason, event.message)
        if now.timestamp() - self._told.get(key, 0.0) < _QUIET_SECONDS:
            return
        self._told[key] = now.timestamp()
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        try:
            await self._gateway.create(self._event(obj, event, now))
        except ApiError as error:
            logger.warning("an event could not be written: %s", error)

    def _event(self, obj: dict[str, Any], event: Event, now: datetime) -> dict[str, Any]:
        meta = obj["metadata"]
        unique = hashlib.sha256(f"{meta.get('uid')}{event.reason}{now.timestamp()}".encode()).hexdigest()[:12]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{unique}", "namespace": meta["namespace"]},
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": "stationkeeper.dev/operator",
            "reportingInstance": self._identity[:128],
            "action": "Reconcile",
            "type": event.type,
            "reason": event.reason,
            "note": event.message[:1000],
            "regarding": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta.get("uid"),
                "resourceVersion": meta.get("resourceVersion"),
            },
        }
