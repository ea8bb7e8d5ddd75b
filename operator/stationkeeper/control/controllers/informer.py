"""Kopf as informer: low-level event handlers only, so that it writes nothing to anybody's objects."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from stationkeeper.api.meta import GROUP, LABEL_MANAGED_BY, MANAGED_BY
from stationkeeper.control.controllers.keys import Key, affected
from stationkeeper.control.kube.kinds import OPTIONAL, WATCHED, Kind
from stationkeeper.control.kube.store import Store

logger = logging.getLogger(__name__)
Object = dict[str, Any]
# Kopf would ask the system for the user's name, which a container's user has not; without peering nobody reads it.
_IDENTITY: Any = "stationkeeper"
_LASTING_SECONDS = 60.0  # watches that were up so long are started again at once
_LONGEST_SECONDS = 30.0
_STOP_SECONDS = 5.0


class Informer:
    """Keeps the store current and says which keys to look at."""

    def __init__(self, store: Store, enqueue: Callable[[Key, float], None], namespaces: Sequence[str]) -> None:
        self._store, self._enqueue, self._namespaces = store, enqueue, tuple(namespaces)
        self._ready = threading.Event()
        self._stop: threading.Event | None = None  # ends the watches that run
        self._anew = False  # they are to end because we say so

    @property
    def healthy(self) -> bool:
        """Whether the watches are up."""
        return self._ready.is_set()

    def see(self, kind: Kind, event_type: str | None, raw: Object) -> None:
        """Take in one watch event, and say in how many seconds which keys are to be looked at."""
        obj = {**raw, "apiVersion": kind.api_version, "kind": kind.kind}
        meta = obj["metadata"]
        if kind.selector and (meta.get("labels") or {}).get(LABEL_MANAGED_BY) != MANAGED_BY:
            return  # somebody else's, whatever the watch's selector let through
        before = self._store.get(kind.kind, meta.get("namespace", ""), meta["name"])
        if event_type == "DELETED":
            self._store.remove(obj)
            before = None
        else:
            self._store.put(obj)
        for key, seconds in affected(obj, before, self._store):
            self._enqueue(key, seconds)

    def restart(self) -> None:
        """Begin the watches anew, for the cluster has other kinds now."""
        if self._stop:
            self._anew = True
            self._stop.set()

    async def run(self) -> None:
        """Watch for ever. A watch that ends is started again, with a growing distance while it keeps ending."""
        loop = asyncio.get_running_loop()
        delay = 1.0
        while True:
            started = loop.time()
            try:
                await self._watch()
                if self._anew:
                    continue
                logger.warning("the watches ended; they are started again")
            except Exception:
                logger.exception("the watches failed; they are started again")
            delay = 1.0 if loop.time() - started > _LASTING_SECONDS else min(delay * 2, _LONGEST_SECONDS)
            await asyncio.sleep(delay)

    async def _watch(self) -> None:
        """Run Kopf in a thread of its own, until it ends or we do.

        In ours it would take SIGTERM for itself, and whenever it ended it would cancel every task younger than itself.
        """
        loop, stop = asyncio.get_running_loop(), threading.Event()
        self._stop, self._anew = stop, False
        ended: asyncio.Future[None] = loop.create_future()
        threading.Thread(target=self._thread, args=(loop, stop, ended), name="watches", daemon=True).start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([ended], timeout=_STOP_SECONDS)
            raise
        finally:
            self._ready.clear()

    def _thread(self, loop: asyncio.AbstractEventLoop, stop: threading.Event, ended: "asyncio.Future[None]") -> None:
        def tell(error: BaseException | None) -> None:
            if error:
                ended.set_exception(error)
            else:
                ended.set_result(None)

        failure: BaseException | None = None
        try:
            asyncio.run(self._kopf(loop, stop))
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the process could not wait for us
            loop.call_soon_threadsafe(tell, failure)

    async def _kopf(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        try:
            await kopf.operator(
                registry=self._registry(loop),
                settings=_settings(),
                standalone=True,
                identity=_IDENTITY,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                ready_flag=self._ready,
                stop_flag=stop,
            )
        finally:
            stop.set()  # a thread of Kopf's waits for it

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_login)
        # A kind that the cluster has not got would end all the watches of the others.
        for kind in (*WATCHED, *(kind for kind in OPTIONAL if self._store.knows(kind.kind))):
            kopf.on.event(kind.api_version, kind.plural, id=kind.kind, registry=registry)(self._handler(kind, loop))
        return registry

    def _handler(self, kind: Kind, loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
        async def handle(event: Any, **_: Any) -> None:
            loop.call_soon_threadsafe(self.see, kind, event["type"], dict(event["object"]))

        return handle


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**kwargs) or kopf.login_with_service_account(**kwargs)


class _NoDiff(kopf.DiffBaseStorage):
    """Kopf need not find out what has changed in an object: a third of the operator's time went into it, and nobody asked."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Nor has it any handler whose progress it would have to remember."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = None  # else the process is killed ten minutes after a watch was lost
    settings.persistence.diffbase_storage = _NoDiff()
    settings.persistence.progress_storage = _NoProgress()
    # Kopf takes this finalizer off any object that has it. By its own default that may be another operator's.
    settings.persistence.finalizer = f"{GROUP}/never-set"
    settings.posting.enabled = False  # our own events go through the gateway
    settings.peering.standalone = True  # high availability is by a Lease
    settings.scanning.disabled = True  # the kinds are known and were listed before: no right to watch CRDs is needed
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    for kind in (*WATCHED, *OPTIONAL):
        if kind.selector:  # the API server sends only what is ours
            settings.watching.label_selectors[kind.api_version, kind.plural] = kind.selector
    return settings
