"""The operator as a whole: lead, list, watch, work, resync; end cleanly, or at once when leadership is lost."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from prometheus_client import Histogram

from stationkeeper.control.controllers.act import StaleError
from stationkeeper.control.controllers.events import Recorder
from stationkeeper.control.controllers.health import HealthServer
from stationkeeper.control.controllers.informer import Informer
from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.controllers.leader import Leader, LeaseLostError
from stationkeeper.control.controllers.notify import Notifier
from stationkeeper.control.controllers.prometheus import Inquirer, names_of
from stationkeeper.control.controllers.queue import WorkQueue
from stationkeeper.control.controllers.reconcile import RECONCILES, Reconciler
from stationkeeper.control.controllers.settings import OperatorSettings
from stationkeeper.control.controllers.statistics import ModelStatistics
from stationkeeper.control.kube.errors import ApiError, ForbiddenError, NotFoundError, RetriableError, ThrottledError
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.kube.kinds import OPTIONAL, WATCHED, Kind
from stationkeeper.control.kube.store import Store
from stationkeeper.control.kube.transport import KubernetesTransport
from stationkeeper.control.planning import Settings

logger = logging.getLogger(__name__)
RESYNC = Histogram("stationkeeper_resync_seconds", "How long it took to list everything anew.")
_RECONCILE_SECONDS = 60.0
_KINDS_SECONDS = 30.0  # between two looks for a kind that the cluster has not got yet
_STOP_SECONDS = 10.0  # for the last reconciles, out of the 30 that Kubernetes gives a pod


class Operator:
    """Everything that runs in the operator's process."""

    def __init__(self, settings: OperatorSettings, gateway: Gateway) -> None:
        self.settings, self.gateway = settings, gateway
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.informer = Informer(self.store, self.queue.add_after, settings.namespaces)
        planning = Settings(
            workloads_image=settings.workloads_image,
            image_pull_policy=settings.image_pull_policy,
            drain_seconds=settings.drain_seconds,
            receivers=frozenset(settings.receivers),
            queries=frozenset(names_of(settings.prometheus)),
            workloads=settings.workloads,
        )
        self.notifier = Notifier(settings.receivers, self.queue.add)
        self.recorder = Recorder(gateway, settings.identity, lambda: bool(self._busy))
        inquirer = Inquirer(settings.prometheus)
        self.reconciler = Reconciler(self.store, gateway, self.recorder, planning, self.notifier, inquirer=inquirer)
        self.leader = Leader(gateway, settings.lease_namespace, settings.identity, name=settings.lease_name)
        self.leading = False
        self.filled = False
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: list[asyncio.Task[None]] = []
        self._busy: set[asyncio.Task[Any]] = set()  # those workers that have a key
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> int:
        """Run until told to stop (0) or until something that must not end has ended (1)."""
        health = HealthServer(self.settings.health_port, self.unhealthy, self.unready, ModelStatistics(self.store))
        await health.start()
        stopping = asyncio.ensure_future(stop.wait())
        try:
            if self.settings.leader_election and not await _first(self.leader.acquire(), stopping):
                return 0
            self.leading = True
            # From now on: filling the store may take longer than the Lease lasts.
            holding = [asyncio.ensure_future(self.leader.hold())] if self.settings.leader_election else []
            self._tasks += holding
            if await _first(self.fill(), stopping, *self._tasks):
                self._start()
            done, _ = await asyncio.wait([stopping, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            code = _verdict(stopping, done)
            if code == 0:
                await self._finish_work(holding)
            return code
        finally:
            await self._end(stopping)
            await health.stop()

    def _start(self) -> None:
        loops = [
            self.informer.run(),
            self.queue.run_timer(),
            self.recorder.run(),
            self.notifier.run(),
            self._resync(),
            self._look_for_kinds(),
        ]
        self._tasks += [asyncio.ensure_future(loop) for loop in loops]
        self._workers = [asyncio.ensure_future(self._work()) for _ in range(self.settings.workers)]
        self._tasks += self._workers
        logger.info("watching %s", ", ".join(self.settings.namespaces) or "all namespaces")

    async def _end(self, stopping: asyncio.Future[Any]) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        stopping.cancel()
        await self.leader.release()

    async def _finish_work(self, holding: Iterable[asyncio.Task[None]]) -> None:
        """Let what is being reconciled come to its end, but only while we still lead; take up nothing more."""
        self._stopping = True
        for worker in self._workers:
            if worker not in self._busy:
                worker.cancel()
        rest = asyncio.ensure_future(self._rest())
        await asyncio.wait([rest, *holding], timeout=_STOP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        rest.cancel()

    async def _rest(self) -> None:
        if self._busy:
            await asyncio.wait(self._busy)
        await self.recorder.written()

    async def fill(self) -> None:
        """List every kind until all answer (the CRDs may come after the operator), and look at everything."""
        delay, said = 1.0, ""
        while True:
            try:
                await self.resync()
                self.filled = True
                return
            except ApiError as error:
                if str(error) != said:  # once, for it may last until somebody installs the CRDs
                    logger.warning("cannot list yet: %s", error)
                said = str(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 10.0)

    async def resync(self) -> None:
        """Make the store what the cluster is, and look at every Model and policy."""
        with RESYNC.time():
            for kind in WATCHED:
                await self._list(kind)
            for kind in OPTIONAL:
                await self._list_optional(kind)
        self._look_at_all()

    async def _list(self, kind: Kind) -> None:
        namespaces: Sequence[str | None] = self.settings.namespaces or (None,)
        for namespace in namespaces:
            listing = await self.gateway.list(kind, namespace)
            scope = (namespace,) if namespace else ()
            self.store.replace(kind.kind, listing.items, listing.resource_version, scope)

    async def _list_optional(self, kind: Kind) -> bool:
        """List a kind that the cluster may not have. Returns whether that is another than it was; the watches then begin anew."""
        known = self.store.knows(kind.kind)
        try:
            await self._list(kind)
        except (NotFoundError, ForbiddenError) as error:
            if known:
                logger.warning("%s is gone, and what needs it waits: %s", kind.kind, error)
            self.store.lose(kind.kind)
        changed = known != self.store.knows(kind.kind)
        if changed:
            self.informer.restart()
        return changed

    async def _look_for_kinds(self) -> None:
        """Notice within half a minute when the cluster gets a kind that somebody may wait for."""
        while True:
            await asyncio.sleep(_KINDS_SECONDS)
            try:
                missing = [kind for kind in OPTIONAL if not self.store.knows(kind.kind)]
                if any([await self._list_optional(kind) for kind in missing]):
                    self._look_at_all()
            except ApiError as error:
                logger.debug("cannot look for kinds, the next time will do: %s", error)

    def _look_at_all(self) -> None:
        for kind_name in ("Model", "DriftPolicy"):
            for obj in self.store.all(kind_name):
                self.queue.add(Key(kind_name, obj["metadata"]["namespace"], obj["metadata"]["name"]))

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self.settings.resync_seconds)
            try:
                await self.resync()
            except ApiError as error:
                logger.warning("resync failed, the next one will do: %s", error)

    async def _work(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        while not self._stopping:
            key = await self.queue.get()
            self._busy.add(me)
            try:
                await self._handle(key)
            finally:
                self._busy.discard(me)
                self.queue.done(key)

    async def _handle(self, key: Key) -> None:
        extra = {"key": str(key)}
        try:
            async with asyncio.timeout(_RECONCILE_SECONDS):
                again = await self.reconciler.reconcile(key)
        except StaleError as error:
            logger.debug("looked at something old: %s", error, extra=extra)
            self.queue.add_after(key, 0.05)
        except (RetriableError, TimeoutError) as error:
            delay = self.queue.failed(key, error.retry_after if isinstance(error, ThrottledError) else 0.0)
            logger.warning("tried again in %.0f s: %s", delay, str(error) or "the deadline passed", extra=extra)
            RECONCILES.labels(key.kind, "retried").inc()
        except ApiError as error:
            delay = self.queue.failed(key)
            logger.error("refused by the API server, tried again in %.0f s: %s", delay, error, extra=extra)
            RECONCILES.labels(key.kind, "refused").inc()
        except Exception:
            self.queue.failed(key)
            logger.exception("a bug: this key could not be reconciled", extra=extra)
            RECONCILES.labels(key.kind, "crashed").inc()
        else:
            self.queue.succeeded(key)
            if again is not None:
                self.queue.add_after(key, again)

    def unhealthy(self) -> str:
        """What is broken beyond repair, or nothing."""
        return "a worker has ended" if any(task.done() for task in self._tasks) else ""

    def unready(self) -> str:
        """Why this process does not do its work; a stand-by is ready, for it can take over."""
        if not self.leading:
            return ""
        if not self.filled:
            return "the store is not filled yet"
        return "" if self.informer.healthy else "the watches are down"


async def _first(work: Coroutine[Any, Any, None], *endings: asyncio.Future[Any]) -> bool:
    """Do this work unless one of these comes first. Returns whether it was done."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task, *endings], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return True
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return False


def _verdict(stopping: asyncio.Future[Any], done: Iterable[asyncio.Future[Any]]) -> int:
    for task in done:
        if task is stopping:
            continue
        error = task.exception()
        if isinstance(error, LeaseLostError):
            logger.error("%s; ending, for two must never work", error)
        else:
            logger.error("a part of the operator ended", exc_info=error)
        return 1
    logger.info("told to stop")
    return 0


async def main(settings: OperatorSettings) -> int:
    """Run the operator until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gateway = Gateway(await KubernetesTransport.connect(), settings.qps, settings.burst)
    try:
        return await Operator(settings, gateway).run(stop)
    finally:
        await gateway.close()
