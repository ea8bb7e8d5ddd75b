"""What is believed of a serving pod's metrics: three counters, since the step began, within bounds."""

from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from stationkeeper.control.controllers import scrape
from stationkeeper.control.controllers.scrape import Scraper, counted
from stationkeeper.control.kube.store import Store
from stationkeeper.workloads.serving.metrics import Metrics

STEP = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


class Pods:
    """Serving pods of this machine: all on one port, told apart by their loopback address."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> "Pods":
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "0.0.0.0", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def _answer(self, request: web.Request) -> web.Response:
        text = self.texts.get(request.host.split(":")[0])
        return web.Response(body=text) if text is not None else web.Response(status=503)

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()


@pytest.fixture
async def pods():
    running = await Pods().start()
    yield running
    await running.stop()


def pod(number: int, address: str, born: datetime = STEP - timedelta(hours=1)) -> dict:
    return {
        "metadata": {
            "name": f"pod-{address}",
            "uid": f"uid-{address}",
            "labels": {"stationkeeper.dev/revision": str(number)},
            "creationTimestamp": born.isoformat(),
        },
        "status": {"podIP": address},
    }


def metrics(ok: int, errors: int = 0, seconds: float = 0.003, ones: int = 0) -> bytes:
    """What a real serving pod tells."""
    told = Metrics()
    told.serve("flights", 1, "sha256:00", ["0", "1"])
    told.requests.labels("200").inc(ok)
    told.requests.labels("500").inc(errors)
    for _ in range(ok + errors):
        told.latency.observe(seconds)
    told.predictions.labels("0").inc(ok - ones)
    told.predictions.labels("1").inc(ones)
    return told.render()


async def test_counters_of_a_revision_are_added_up_since_the_step_began(pods):
    scraper = Scraper(pods.port)
    fleet = [pod(1, "127.0.0.1"), pod(1, "127.0.0.2"), pod(2, "127.0.0.3", born=STEP + timedelta(seconds=1))]
    pods.texts = {"127.0.0.1": metrics(1000), "127.0.0.2": metrics(500), "127.0.0.3": metrics(7, errors=1)}
    first = await scraper.measure(fleet, STEP)
    assert (first[1].requests, first[2].requests, first[2].errors) == (0, 8, 1), "what was before the step counts for nothing"
    pods.texts = {"127.0.0.1": metrics(1100, ones=30), "127.0.0.2": metrics(550), "127.0.0.3": metrics(60, errors=2)}
    second = await scraper.measure(fleet, STEP)
    assert (second[1].requests, second[2].requests, second[2].errors) == (150, 62, 2)
    assert second[1].predictions == {"0": 120, "1": 30}
    assert second[1].latency[-1] == (float("inf"), 150)
    third = await scraper.measure(fleet, STEP + timedelta(minutes=2))
    assert third[2].requests == 0, "another step begins anew"


async def test_pods_are_asked_as_the_store_keeps_them(pods):
    pods.texts = {"127.0.0.1": metrics(10)}
    store = Store()
    raw = pod(1, "127.0.0.1", born=STEP)
    store.put({**raw, "kind": "Pod", "metadata": {**raw["metadata"], "namespace": "ops", "resourceVersion": "1"}})
    assert (await Scraper(pods.port).measure(store.all("Pod"), STEP))[1].requests == 10


async def test_a_container_that_started_again_counts_from_zero(pods):
    scraper = Scraper(pods.port)
    pods.texts = {"127.0.0.1": metrics(1000)}
    await scraper.measure([pod(1, "127.0.0.1")], STEP)
    pods.texts = {"127.0.0.1": metrics(40)}
    assert (await scraper.measure([pod(1, "127.0.0.1")], STEP))[1].requests == 40


HOSTILE = [
    ("it does not answer", None),
    ("it tells no metrics", b"<html>hello</html>"),
    ("it never ends", b"x" * 600_000),
    ("numbers are none", b'stationkeeper_serving_requests_total{code="200"} many\n'),
    ("infinite", b'stationkeeper_serving_requests_total{code="200"} +Inf\n'),
    ("not text", bytes(range(256))),
]


@pytest.mark.parametrize(("name", "text"), HOSTILE, ids=[case[0] for case in HOSTILE])
async def test_a_pod_that_talks_nonsense_is_no_evidence_and_harms_no_other(pods, name, text):
    pods.texts = {"127.0.0.2": metrics(10)} | ({"127.0.0.1": text} if text is not None else {})
    fleet = [pod(1, "127.0.0.1", born=STEP), pod(2, "127.0.0.2", born=STEP)]
    assert {number: m.requests for number, m in (await Scraper(pods.port).measure(fleet, STEP)).items() if m.requests} == {2: 10}


async def test_not_every_pod_of_a_large_fleet_is_asked(pods, monkeypatch):
    monkeypatch.setattr(scrape, "_PODS", 2)
    pods.texts = {f"127.0.0.{i}": metrics(1) for i in range(1, 6)}
    fleet = [pod(1, f"127.0.0.{i}", born=STEP) for i in range(1, 6)]
    assert (await Scraper(pods.port).measure(fleet, STEP))[1].requests == 2


def test_invented_series_are_bounded():
    text = "\n".join(f'stationkeeper_serving_predictions_total{{label="{i}"}} 1' for i in range(500))
    assert len(counted(text).predictions) == 64


async def test_a_server_that_is_not_ours_is_not_asked(pods):
    pods.texts["127.0.0.1"] = b'stationkeeper_serving_requests_total{code="200"} 1000\n'
    theirs = pod(2, "127.0.0.1", born=STEP)
    theirs["status"]["initContainerStatuses"] = [{"name": "fetch-model"}]
    assert await Scraper(pods.port).measure([theirs], STEP) == {}
    assert (await Scraper(pods.port).measure([pod(2, "127.0.0.1", born=STEP)], STEP))[2].requests == 1000
