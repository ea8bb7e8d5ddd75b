"""The life of a serving process: listen, load, serve, drain, flush."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from stationkeeper.api.jobs import ServeConfig
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.serving.app import App
from stationkeeper.workloads.serving.capture import Recording
from stationkeeper.workloads.serving.loading import WAITS, Stopped, load
from stationkeeper.workloads.serving.metrics import Metrics
from stationkeeper.workloads.serving.server import listen, server
from stationkeeper.workloads.serving.state import State

log = logging.getLogger(__name__)

T = TypeVar("T")

# With a drain of 10 s they stay below the pod's grace period of 40 s.
IN_FLIGHT_SECONDS: Final = 8
_THREAD_SECONDS: Final = 4.0
FLUSH_SECONDS: Final = 12.0
_HURRIED_FLUSH: Final = 2.0


class Process:
    """One serving pod. `run` returns when it was told to end, and raises what kept it from serving."""

    def __init__(
        self,
        config: ServeConfig,
        open_store: Callable[[], Store],
        *,
        listener: socket.socket | None = None,
        waits: tuple[float, ...] = WAITS,
    ) -> None:
        self.config = config
        self.state = State()
        self.metrics = Metrics()
        revision, model = config.revision, config.model
        self.app = App(model.name, revision.number, revision.digest, self.state, self.metrics, uid=model.uid)
        self._open_store = open_store
        self._listener = listener
        self._waits = waits
        self._server = server(self.app, IN_FLIGHT_SECONDS)
        self._told = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """End after the drain; the second time, at once."""
        if self._told.is_set():
            self._hurry.set()
            self._server.force_exit = True
        self._told.set()

    async def run(self) -> None:
        """Serve until `stop`, or SIGTERM or SIGINT.

        Raises:
            ArtifactError, StoreError: when the revision cannot be loaded; see `loading.load`.
            OSError: when the port is taken.
        """
        listener = self._listener or listen(self.config.port)
        recording: Recording | None = None
        with _signals(self.stop):
            serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
            try:
                recording = await self._load()
                if recording is not None:
                    await self._until_told(serving)
                    await self._drain()
            finally:
                await self._end(serving, recording)

    async def _load(self) -> Recording | None:
        """Load while health checks are already answered; None when told to end meanwhile."""
        halt = threading.Event()
        loading = _in_thread(lambda: load(self.config, self._open_store, halt, self._waits))
        told = asyncio.create_task(self._told.wait())
        both: list[asyncio.Future[Any]] = [loading, told]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        halt.set()
        if not loading.done():
            loading.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody asks for it any more
            return None
        try:
            served = loading.result()
        except Stopped:
            return None
        except Exception as error:
            self.state.problem = f"the model cannot be served: {error}"
            raise
        recording = Recording(served, self.config.capture, self._open_store(), self.metrics)
        recording.start()
        self.metrics.serve(self.config.model.name, self.config.revision.number, served.digest, served.manifest.classes)
        self.state.recorder, self.state.served = recording, served
        return recording

    async def _until_told(self, serving: asyncio.Task[None]) -> None:
        told = asyncio.create_task(self._told.wait())
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if serving.done():
            raise RuntimeError("the HTTP server ended by itself") from serving.exception()

    async def _drain(self) -> None:
        """Keep answering until endpoints and balancers have forgotten this pod; every answer closes its connection."""
        self.state.draining = True
        self.metrics.draining.set(1)
        log.info(
            "told to end: answering for another %.0f s, with every connection closed after its answer", self.config.drain_seconds
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self.config.drain_seconds)

    async def _end(self, serving: asyncio.Task[None], recording: Recording | None) -> None:
        self._server.should_exit = True
        await asyncio.wait({serving})
        # What is still being predicted must be remembered before capture is closed.
        await asyncio.wait({_in_thread(self.app.inference.close)}, timeout=0.1 if self._hurry.is_set() else _THREAD_SECONDS)
        if recording is not None:
            seconds = _HURRIED_FLUSH if self._hurry.is_set() else FLUSH_SECONDS
            whole = await _in_thread(lambda: recording.close(seconds))
            log.info("captured rows are written" if whole else "some captured rows could not be written and are lost")
        log.info("ended")


@contextlib.contextmanager
def _signals(handle: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run in a daemon thread: one that hangs on a dead store must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        outcome: tuple[T | None, BaseException | None]
        try:
            outcome = work(), None
        except BaseException as error:
            outcome = None, error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(deliver, *outcome)

    threading.Thread(target=run, name="load", daemon=True).start()
    return future
