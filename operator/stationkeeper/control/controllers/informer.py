"""Kopf as informer: low-level event handlers only, so that it writes nothing to anybody's objects."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from stationkeeper.api.meta import LABEL_MANAGED_BY, MANAGED_BY
from stationkeeper.control.controllers.keys import Key, affected
from stationkeeper.control.kube.kinds import WATCHED, Kind
from stationkeeper.control.kube.store import Store

logger = logging.getLogger(__name__)
Object = dict[str, Any]
# Kopf would ask the system for the user's name, which a container's user has not; without peering nobody reads it.
_IDENTITY: Any = "stationkeeper"


class Informer:
    """Keeps the store current and says which keys to look at."""

    def __init__(
        self,
        store: Store,
        enqueue: Callable[[Key], None],
        namespaces: Sequence[str],
        reclaim_signals: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._enqueue, self._namespaces = store, enqueue, tuple(namespaces)
        self._reclaim_signals = reclaim_signals  # Kopf takes SIGTERM for itself; the process is ours to end
        self.healthy = False

    def see(self, kind: Kind, event_type: str | None, raw: Object) -> None:
        """Take in one watch event."""
        obj = {**raw, "apiVersion": kind.api_version, "kind": kind.kind}
        meta = obj["metadata"]
        if kind.selector and (meta.get("labels") or {}).get(LABEL_MANAGED_BY) != MANAGED_BY:
            return  # somebody else's, whatever the watch's selector let through
        before = self._store.get(kind.kind, meta.get("namespace", ""), meta["name"])
        if event_type == "DELETED":
            self._store.remove(obj)
        else:
            self._store.put(obj)
        # Our own writes come back here too, and are looked at like any other: what they made possible comes next.
        for key in affected(obj, before, self._store):
            self._enqueue(key)

    async def run(self) -> None:
        """Watch for ever. A watch that ends is started again, with a growing distance while it keeps ending."""
        delay = 1.0
        while True:
            started = asyncio.get_running_loop().time()
            try:
                ready = asyncio.Event()
                watch, up = asyncio.ensure_future(self._watch(ready)), asyncio.ensure_future(ready.wait())
                try:
                    await asyncio.wait({watch, up}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    up.cancel()
                self._reclaim_signals()
                self.healthy = not watch.done()
                try:
                    await watch
                finally:
                    watch.cancel()
                logger.warning("the watches ended; they are started again")
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("the watches failed; they are started again in %.0f s", delay)
            finally:
                self.healthy = False
            lasted = asyncio.get_running_loop().time() - started
            delay = 1.0 if lasted > 60 else min(delay * 2, 30.0)
            await asyncio.sleep(delay)

    async def _watch(self, ready: asyncio.Event) -> None:
        await kopf.operator(
            registry=self._registry(),
            settings=_settings(),
            standalone=True,
            identity=_IDENTITY,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            ready_flag=ready,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_login)
        for kind in WATCHED:
            kopf.on.event(kind.api_version, kind.plural, id=kind.kind, registry=registry)(self._handler(kind))
        return registry

    def _handler(self, kind: Kind) -> Callable[..., Any]:
        async def handle(event: Any, **_: Any) -> None:
            self.see(kind, event["type"], dict(event["object"]))

        return handle


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**kwargs) or kopf.login_with_service_account(**kwargs)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # our own events go through the gateway
    settings.peering.standalone = True  # high availability is by a Lease
    settings.scanning.disabled = True  # the kinds are known and were listed before: no right to watch CRDs is needed
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    for kind in WATCHED:
        if kind.selector:  # the API server sends only what is ours
            settings.watching.label_selectors[kind.api_version, kind.plural] = kind.selector
    return settings
