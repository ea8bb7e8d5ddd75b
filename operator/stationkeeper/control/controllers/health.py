"""`/healthz`, `/readyz` and `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector


class HealthServer:
    """Answers probes. `alive` and `ready` return what is wrong, or nothing."""

    def __init__(self, port: int, alive: Callable[[], str], ready: Callable[[], str], statistics: Collector) -> None:
        self._port, self._alive, self._ready = port, alive, ready
        self._statistics = CollectorRegistry()
        self._statistics.register(statistics)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on all addresses of the pod."""
        app = web.Application()
        app.router.add_get("/healthz", _probe(self._alive))
        app.router.add_get("/readyz", _probe(self._ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", self._port).start()  # noqa: S104  probes come from outside the pod

    async def _metrics(self, _: web.Request) -> web.Response:
        # In a thread: the statuses of thousands of Models take a while, and the Lease must not wait for them.
        parts = [await asyncio.to_thread(generate_latest, registry) for registry in (REGISTRY, self._statistics)]
        return web.Response(body=b"".join(parts), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()


def _probe(ask: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        problem = ask()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    return answer
