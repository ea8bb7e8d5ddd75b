"""What watch events do to the store and the queue; and Kopf kept in its place."""

import asyncio
import threading
from typing import Any

import kopf
import pytest

from stationkeeper.control.controllers import informer as informing
from stationkeeper.control.controllers.informer import Informer
from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.kube.kinds import WATCHED, kind_of
from stationkeeper.control.kube.store import Store

FLIGHTS = Key("Model", "ops", "flights")
OURS = {"app.kubernetes.io/managed-by": "stationkeeper", "stationkeeper.dev/model": "flights"}


class Seen:
    """An informer, and what it asked to be looked at."""

    def __init__(self) -> None:
        self.store, self.looks = Store(), []
        self.informer = Informer(self.store, lambda key, seconds: self.looks.append((key, seconds)), ["ops"])

    def __call__(self, event: str | None, kind: str, version: int, **meta: Any) -> list[tuple[Key, float]]:
        self.looks.clear()
        identity = {"name": "flights", "namespace": "ops", "uid": "u", "resourceVersion": str(version)}
        self.informer.see(kind_of(kind), event, {"metadata": {**identity, **meta}})
        return list(self.looks)

    def known(self, kind: str) -> dict[str, Any] | None:
        return self.store.get(kind, "ops", "flights")


def test_an_object_is_kept_and_looked_at():
    seen = Seen()
    assert seen("ADDED", "Model", 1) == [(FLIGHTS, 0.0)]
    assert seen("MODIFIED", "Model", 2) == [(FLIGHTS, 0.0)]
    assert seen.known("Model")["apiVersion"] == "stationkeeper.dev/v1alpha1"
    assert seen("DELETED", "Model", 3) == [(FLIGHTS, 0.0)]
    assert seen.known("Model") is None


def test_what_the_first_list_of_a_watch_shows_is_no_news_when_it_is_known():
    seen = Seen()
    assert seen(None, "Model", 1) == [(FLIGHTS, 0.0)]
    assert seen(None, "Model", 1) == []


def test_our_own_write_is_no_news():
    seen = Seen()
    seen("ADDED", "Job", 1, labels=OURS)
    seen.store.put({**seen.known("Job"), "metadata": {**seen.known("Job")["metadata"], "resourceVersion": "2"}})
    assert seen("MODIFIED", "Job", 2, labels=OURS) == []
    assert seen("MODIFIED", "Job", 3, labels=OURS) == [(FLIGHTS, 0.0)]


def test_a_deletion_is_news_though_its_version_be_known():
    seen = Seen()
    seen("ADDED", "Job", 1, labels=OURS)
    assert seen("DELETED", "Job", 1, labels=OURS) == [(FLIGHTS, 0.0)]


def test_a_child_that_loses_the_label_it_is_watched_by_is_made_again_and_believed_again():
    seen = Seen()
    seen("ADDED", "Job", 1, labels=OURS)
    assert seen("DELETED", "Job", 2, labels=OURS) == [(FLIGHTS, 0.0)], "so a watch with a selector tells it"
    assert seen("ADDED", "Job", 3, labels=OURS) == [(FLIGHTS, 0.0)]
    assert seen.known("Job") is not None


@pytest.mark.parametrize("labels", [None, {}, {"app.kubernetes.io/managed-by": "helm", "stationkeeper.dev/model": "flights"}])
def test_what_is_somebody_elses_is_neither_kept_nor_looked_at(labels):
    seen = Seen()
    assert seen("ADDED", "Service", 1, labels=labels) == []
    assert seen.known("Service") is None


class Kopf:
    """In the place of `kopf.operator`: each call does the next of these."""

    def __init__(self, *acts: Any) -> None:
        self.acts, self.given, self.threads = list(acts), [], []

    async def __call__(self, **given: Any) -> None:
        self.given.append(given)
        self.threads.append(threading.current_thread())
        given["ready_flag"].set()
        act = self.acts.pop(0)
        if isinstance(act, Exception):
            raise act
        if act == "watch":
            await asyncio.get_running_loop().run_in_executor(None, given["stop_flag"].wait)


@pytest.fixture
def short_waits(monkeypatch):
    """Watches are started again without delay; what was waited is listed."""
    waits, sleep = [], asyncio.sleep

    async def sleeping(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(informing.asyncio, "sleep", sleeping)
    return waits


async def until(holds: Any) -> None:
    """Let the other thread come so far."""
    while not holds():
        await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.001)


async def test_watches_that_end_or_fail_are_started_again_more_and_more_slowly(monkeypatch, short_waits, caplog):
    fake = Kopf("end", ValueError("the API server is away"), "end", "watch")
    monkeypatch.setattr(kopf, "operator", fake)
    informer = Seen().informer
    running = asyncio.ensure_future(informer.run())
    await until(lambda: len(fake.given) == 4 and informer.healthy)
    assert short_waits == [2, 4, 8]
    assert "the API server is away" in caplog.text
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not informer.healthy


async def test_a_kind_that_the_cluster_got_later_is_watched_without_delay(monkeypatch, short_waits, caplog):
    fake, seen = Kopf("watch", "watch"), Seen()
    monkeypatch.setattr(kopf, "operator", fake)
    running = asyncio.ensure_future(seen.informer.run())
    await until(lambda: len(fake.given) == 1 and seen.informer.healthy)
    seen.store.replace("HTTPRoute", [], "1")
    seen.informer.restart()
    await until(lambda: len(fake.given) == 2 and seen.informer.healthy)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    watched = [{handler.id for handler in given["registry"]._watching.get_all_handlers()} for given in fake.given]
    assert ["HTTPRoute" in ids for ids in watched] == [False, True]
    assert {"Model", "Pod"} <= watched[0]
    assert short_waits == []
    assert "started again" not in caplog.text


def test_watches_that_do_not_run_need_no_restart():
    Seen().informer.restart()


async def test_kopf_has_a_thread_of_its_own_that_ends_with_us(monkeypatch):
    fake = Kopf("watch")
    monkeypatch.setattr(kopf, "operator", fake)
    informer = Seen().informer
    running = asyncio.ensure_future(informer.run())
    await until(lambda: informer.healthy)
    assert fake.threads[0] is not threading.current_thread(), "it would take our signals, and our tasks with it"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await until(lambda: not fake.threads[0].is_alive())


async def test_events_come_over_to_our_thread_in_their_order(monkeypatch):
    seen, threads = Seen(), []
    monkeypatch.setattr(seen.informer, "see", lambda kind, event, raw: threads.append((threading.current_thread(), event)))
    handler = seen.informer._handler(kind_of("Model"), asyncio.get_running_loop())

    def elsewhere() -> None:
        for event in ("ADDED", "MODIFIED", "DELETED"):
            asyncio.run(handler(event={"type": event, "object": {}}, memo=None))

    await asyncio.get_running_loop().run_in_executor(None, elsewhere)
    await until(lambda: len(threads) == 3)
    assert threads == [(threading.current_thread(), event) for event in ("ADDED", "MODIFIED", "DELETED")]


def test_kopf_writes_nothing_kills_nothing_and_watches_what_is_ours():
    settings = informing._settings()
    assert settings.process.ultimate_exiting_timeout is None
    assert settings.persistence.finalizer == "stationkeeper.dev/never-set"
    assert settings.posting.enabled is False
    selectors = settings.watching.label_selectors
    assert {kind.kind for kind in WATCHED if (kind.api_version, kind.plural) in selectors} == {
        "Deployment",
        "Service",
        "CronJob",
        "Job",
        "Pod",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    }
    assert ("gateway.networking.k8s.io/v1", "httproutes") in selectors


def test_kopf_compares_nothing_and_remembers_nothing():
    settings = informing._settings()
    body = kopf.Body(
        {"metadata": {"name": "a", "annotations": {"kopf.zalando.org/last-handled-configuration": "{}"}}, "spec": {}}
    )
    patch = kopf.Patch()
    assert settings.persistence.diffbase_storage.fetch(body=body) is None
    assert settings.persistence.diffbase_storage.build(body=body, extra_fields=[]) == {}
    settings.persistence.diffbase_storage.store(body=body, patch=patch, essence={})
    settings.persistence.progress_storage.store(key="x", record={}, body=body, patch=patch)
    settings.persistence.progress_storage.touch(body=body, patch=patch, value="now")
    settings.persistence.progress_storage.purge(key="x", body=body, patch=patch)
    assert settings.persistence.progress_storage.clear(essence={"a": 1}) == {"a": 1}
    assert not patch
