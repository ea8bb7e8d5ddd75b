"""`/healthz`, `/readyz` and `/metrics`."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


class HealthServer:
    """Answers probes. `alive` and `ready` return what is wrong, or nothing."""

    def __init__(self, port: int, alive: Callable[[], str], ready: Callable[[], str]) -> None:
        self._port, self._alive, self._ready = port, alive, ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on all addresses of the pod."""
        app = web.Application()
        app.router.add_get("/healthz", lambda _: _probe(self._alive()))
        app.router.add_get("/readyz", lambda _: _probe(self._ready()))
        app.router.add_get("/metrics", _metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", self._port).start()  # noqa: S104  probes come from outside the pod

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()


async def _probe(problem: str) -> web.Response:
    return web.Response(text=problem or "ok", status=503 if problem else 200)


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
