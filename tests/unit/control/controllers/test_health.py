"""Probes and metrics over HTTP."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from hack.cluster.control_plane import free_ports
from stationkeeper.control.controllers.health import HealthServer
from stationkeeper.control.controllers.statistics import ModelStatistics
from stationkeeper.control.kube.store import Store
from tests.support.world import World


class Served:
    """A health server, what is wrong with it, and what it answers."""

    def __init__(self) -> None:
        self.alive, self.ready, self.store = "", "", Store()
        (port,) = free_ports(1)
        self.server = HealthServer(port, lambda: self.alive, lambda: self.ready, ModelStatistics(self.store))
        self.url = f"http://127.0.0.1:{port}"

    async def __call__(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    found = Served()
    await found.server.start()
    yield found
    await found.server.stop()


async def test_probes_say_what_is_wrong(served):
    assert await served("/healthz") == (200, "ok")
    assert await served("/readyz") == (200, "ok")
    served.alive, served.ready = "a worker has ended", "the watches are down"
    assert await served("/healthz") == (503, "a worker has ended")
    assert await served("/readyz") == (503, "the watches are down")


async def test_metrics_are_of_the_process_and_of_the_models(served):
    world = World()
    world.serve_first()
    served.store.put({**world.model, "metadata": {**world.model["metadata"], "resourceVersion": "1"}})
    status, text = await served("/metrics")
    assert status == 200
    for name in ("process_cpu_seconds_total", "stationkeeper_model_serving_revision"):
        assert f"\n{name}" in text


async def test_a_server_that_never_started_is_stopped_too():
    await Served().server.stop()
