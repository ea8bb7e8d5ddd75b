"""Telling people: at least once, patiently, at a receiver's own rate. The receivers are HTTP servers of this machine."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web

from stationkeeper.api.status import Notice
from stationkeeper.control.controllers import receivers
from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.controllers.notify import Notifier
from stationkeeper.control.controllers.receivers import Message, Receiver, ReceiversError, read_receivers

KEY = Key("Model", "ops", "flights")
AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def message(identity: str = "one", severity: str = "Warning", reason: str = "DriftDetected") -> Message:
    notice = Notice(id=identity, at=AT, severity=severity, reason=reason, message="2 of 3 windows breached: temp (PSI 11 > 7.5)")
    return Message("ops", "flights", "model-uid", notice)


class Inbox:
    """An HTTP server that remembers what it was told, and may refuse."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, object]] = []
        self.status = 200
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        if self.status == 200:
            self.got.append((request.path, request.content_type, json.loads(await request.read())))
        return web.Response(status=self.status)


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    found = Inbox()
    app = web.Application()
    app.router.add_post("/{path:.*}", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


class Told:
    """A notifier with a clock of its own."""

    def __init__(self, *receivers: Receiver) -> None:
        self.now = 0.0
        self.keys: list[Key] = []
        self.notifier = Notifier({r.name: r for r in receivers}, self.keys.append, lambda: self.now)
        self.names = [r.name for r in receivers]

    async def tell(self, *messages: Message, after: float = 0) -> None:
        self.now += after
        self.notifier.submit(KEY, self.names, messages)
        await self.notifier.step()


async def test_a_cloud_event_carries_an_id_by_which_a_repetition_is_known(inbox):
    told = Told(Receiver(name="audit", cloud_events=f"http://{inbox.url}/events"))
    await told.tell(message())
    path, kind, body = inbox.got[0]
    assert (path, kind) == ("/events", "application/cloudevents+json")
    assert {name: body[name] for name in ("specversion", "id", "type", "subject", "time")} == {
        "specversion": "1.0",
        "id": "one",
        "type": "dev.stationkeeper.model.DriftDetected",
        "subject": "ops/flights",
        "time": "2026-01-05T12:00:00Z",
    }
    assert "temp (PSI 11" in body["data"]["message"]


async def test_alertmanager_is_told_an_alert(inbox):
    await Told(Receiver(name="oncall", alertmanager=f"http://{inbox.url}")).tell(message())
    path, _, (alert,) = inbox.got[0]
    assert path == "/api/v2/alerts"
    assert alert["labels"] == {
        "alertname": "StationkeeperDriftDetected",
        "namespace": "ops",
        "model": "flights",
        "severity": "warning",
    }


async def test_any_service_of_apprise_is_told_what_happened_and_where_to_look(inbox):
    await Told(Receiver(name="team", url=f"json://{inbox.url}/hook")).tell(message())
    _, _, body = inbox.got[0]
    assert body["title"] == "ops/flights: DriftDetected"
    assert body["type"] == "warning"
    assert "kubectl -n ops describe model flights" in body["message"]


async def test_a_notice_is_told_once_to_each_and_its_model_hears_of_it(inbox):
    told = Told(
        Receiver(name="audit", cloud_events=f"http://{inbox.url}/a"), Receiver(name="team", cloud_events=f"http://{inbox.url}/b")
    )
    await told.tell(message())
    await told.tell(message(), after=60)
    assert sorted(path for path, _, _ in inbox.got) == ["/a", "/b"]
    assert told.keys == [KEY]
    assert told.notifier.delivered(["one", "two"]) == {"one"}


async def test_a_receiver_that_is_down_is_asked_again_and_nobody_else_waits_for_it(inbox):
    down = Receiver(name="down", cloud_events="http://127.0.0.1:9/nobody")
    told = Told(down, Receiver(name="audit", cloud_events=f"http://{inbox.url}/a"))
    await told.tell(message())
    assert len(inbox.got) == 1
    assert not told.notifier.delivered(["one"]), "not all have heard it"
    inbox.got.clear()
    await told.tell(message(), after=4)
    assert not inbox.got, "who has heard it is not told again"


async def test_a_service_that_fails_in_a_way_of_its_own_is_asked_again_and_nobody_else_waits_for_it(inbox, monkeypatch, caplog):
    async def broken(url: str, message: Message) -> None:
        raise AttributeError("a plug-in's bug")

    monkeypatch.setattr(receivers, "_apprise", broken)
    told = Told(Receiver(name="team", url="json://localhost/"), Receiver(name="audit", cloud_events=f"http://{inbox.url}/a"))
    await told.tell(message())
    assert [path for path, _, _ in inbox.got] == ["/a"]
    assert "receiver team could not be told" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr(receivers, "_apprise", lambda url, message: asyncio.sleep(0))
    await told.tell(after=60)
    assert told.keys == [KEY]


async def test_what_was_refused_is_told_when_the_receiver_is_well_again(inbox):
    told = Told(Receiver(name="audit", cloud_events=f"http://{inbox.url}/a"))
    inbox.status = 503
    await told.tell(message())
    inbox.status = 200
    await told.tell(after=4.9)
    assert not inbox.got
    await told.tell(after=0.2)
    assert [body["id"] for _, _, body in inbox.got] == ["one"]


async def test_after_a_day_a_receiver_is_given_up(inbox):
    told = Told(Receiver(name="audit", cloud_events=f"http://{inbox.url}/a"))
    inbox.status = 500
    await told.tell(message())
    for _ in range(200):
        await told.tell(after=600)
    assert told.notifier.delivered(["one"]) == {"one"}, "it does not stay in the status for ever"


async def test_a_receiver_hears_no_more_than_it_asked_for(inbox):
    told = Told(Receiver(name="audit", cloud_events=f"http://{inbox.url}/a", per_hour=2))
    await told.tell(*(message(str(i)) for i in range(3)))
    assert len(inbox.got) == 2
    await told.tell(after=3601)
    assert [body["id"] for _, _, body in inbox.got] == ["0", "1", "2"]


async def test_a_receiver_for_warnings_hears_no_news(inbox):
    told = Told(Receiver(name="oncall", cloud_events=f"http://{inbox.url}/a", severity="Warning"))
    await told.tell(message("news", severity="Info"), message("bad"))
    assert [body["id"] for _, _, body in inbox.got] == ["bad"]
    assert told.notifier.delivered(["news", "bad"]) == {"news", "bad"}


WRONG = [
    ("receivers: [{name: team}]", "exactly one of"),
    ("receivers: [{name: team, url: 'slack://x', cloudEvents: 'http://y'}]", "exactly one of"),
    ("receivers: [{name: team, url: 'nonsense://secret-token'}]", "no address that Apprise knows"),
    ("receivers: [{name: Team, cloudEvents: 'http://y'}]", "name"),
    ("receivers: [{name: team, cloudEvents: 'http://y', perHour: 0}]", "perHour"),
    ("receivers: [{name: a, cloudEvents: 'http://y'}, {name: a, cloudEvents: 'http://z'}]", "twice"),
    ("receivers: {name", "expected"),
    ("- just a list", "list"),
]


@pytest.mark.parametrize(("text", "says"), WRONG, ids=[text[:50] for text, _ in WRONG])
def test_a_wrong_file_of_receivers_names_the_fault_and_no_secret(tmp_path, text, says):
    path = tmp_path / "receivers.yaml"
    path.write_text(text)
    with pytest.raises(ReceiversError) as caught:
        read_receivers(str(path))
    assert says in str(caught.value)
    assert "secret-token" not in str(caught.value)
