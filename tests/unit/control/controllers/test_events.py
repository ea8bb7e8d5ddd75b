"""Events for people: each told once in a while, behind the work, whatever the API server thinks of them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from stationkeeper.control.controllers import events
from stationkeeper.control.controllers.events import Recorder
from stationkeeper.control.kube.errors import UnavailableError
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.planning import Event
from tests.support.clock import now, timeless
from tests.support.memory_api import MemoryApi

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SERVING = Event("Normal", "Serving", "revision 1 serves")


def model(name: str = "flights") -> dict:
    meta = {"name": name, "namespace": "ops", "uid": f"uid-{name}", "resourceVersion": "7"}
    return {"apiVersion": "stationkeeper.dev/v1alpha1", "kind": "Model", "metadata": meta}


class Told:
    """A recorder, the API server that it writes to, and a clock."""

    def __init__(self, busy: bool = False) -> None:
        self.api, self.busy, self.start = MemoryApi(), busy, START
        self.recorder = Recorder(Gateway(self.api, rate=1e9), "me", lambda: self.busy, self.clock)
        self.writing = asyncio.ensure_future(self.recorder.run())

    def clock(self) -> datetime:
        return self.start + timedelta(seconds=now())

    def record(self, *told: Event, name: str = "flights") -> None:
        for event in told:
            self.recorder.record(model(name), event)

    async def notes(self) -> list[str]:
        await self.recorder.written()
        return [event["note"] for event in sorted(self.api.all("events"), key=lambda e: int(e["metadata"]["resourceVersion"]))]


@timeless
async def test_an_event_regards_its_object():
    told = Told()
    told.record(SERVING)
    assert await told.notes() == ["revision 1 serves"]
    written = told.api.all("events")[0]
    assert written["metadata"]["namespace"] == "ops"
    assert written["metadata"]["name"].startswith("flights.")
    assert (written["type"], written["reason"], written["eventTime"]) == ("Normal", "Serving", "2026-01-05T12:00:00.000000Z")
    assert written["regarding"] == {
        "apiVersion": "stationkeeper.dev/v1alpha1",
        "kind": "Model",
        "name": "flights",
        "namespace": "ops",
        "uid": "uid-flights",
        "resourceVersion": "7",
    }


@timeless
async def test_the_same_is_told_once_in_ten_minutes():
    told, when = Told(), []
    for _ in range(6):
        told.record(SERVING)
        when.append(len(await told.notes()))
        await asyncio.sleep(250)
    assert when == [1, 1, 1, 2, 2, 2], "at 0 and at 750 seconds"


@timeless
async def test_another_reason_message_or_object_is_another_event():
    told = Told()
    told.record(SERVING, Event("Normal", "Other", SERVING.message), Event("Normal", "Serving", "revision 2 serves"))
    told.record(SERVING, name="trains")
    assert len(await told.notes()) == 4, "written in the same instant, under names of their own"


@timeless
async def test_the_work_does_not_wait_for_events():
    told = Told()
    told.writing.cancel()
    told.record(SERVING)
    assert told.api.log == []


@timeless
async def test_while_there_is_work_events_are_written_a_few_at_a_time():
    told = Told(busy=True)
    told.record(*(Event("Normal", "Serving", f"revision {number} serves") for number in range(20)))
    await asyncio.sleep(1.05)
    assert len(told.api.log) == 10
    told.busy = False
    before = now()
    assert len(await told.notes()) == 20
    assert now() - before <= 0.1


@timeless
async def test_an_event_that_cannot_be_written_is_lost_and_may_be_told_again(caplog):
    told = Told()

    def refuse(_: str) -> None:
        raise UnavailableError("no answer")

    told.api.before = refuse
    told.record(SERVING)
    assert await told.notes() == []
    assert "an event (Serving) could not be written: no answer" in caplog.text
    told.api.before = lambda _: None
    told.record(SERVING)
    assert await told.notes() == ["revision 1 serves"]


@timeless
async def test_events_without_number_do_not_fill_the_memory(monkeypatch, caplog):
    monkeypatch.setattr(events, "_WAITING", 10)
    monkeypatch.setattr(events, "_REMEMBERED", 5)
    told = Told()
    told.record(*(Event("Normal", "Serving", f"revision {number} serves") for number in range(50)))
    assert len(told.recorder._told) <= 5
    assert "too many wait" in caplog.text
    assert len(await told.notes()) == 10


LONG = [
    ("a long message is cut", "x" * 5000, "x" * 1000),
    ("by its bytes, and not within a letter", "aé" * 1000, "aé" * 333 + "a"),
]


@pytest.mark.parametrize(("name", "message", "note"), LONG, ids=[case[0] for case in LONG])
@timeless
async def test_a_note_is_as_long_as_the_api_server_takes(name, message, note):
    told = Told()
    told.record(Event("Warning", "ApplyRefused", message))
    found = await told.notes()
    assert found == [note]
    assert len(found[0].encode()) <= 1024


@pytest.mark.parametrize("name", ["a" * 253, "a" * 199 + "-" + "b" * 50, "a" * 199 + "." + "b" * 50])
@timeless
async def test_a_name_is_one_that_the_api_server_takes(name):
    told = Told()
    told.record(SERVING, name=name)
    await told.notes()
    made = told.api.all("events")[0]["metadata"]["name"]
    assert len(made) <= 253
    assert all(part and part[-1].isalnum() for part in made.split("."))
