"""The operator as a whole, on an API server in memory and a clock that jumps: begin, work, lose, end."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from stationkeeper.control.controllers import operator as operators
from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.controllers.operator import Operator
from stationkeeper.control.controllers.settings import parse
from stationkeeper.control.kube.errors import ForbiddenError, NotFoundError, ThrottledError, UnavailableError
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.planning import Event
from tests.support import world
from tests.support.clock import now, timeless
from tests.support.memory_api import MemoryApi

FLIGHTS = Key("Model", "ops", "flights")
LEASE = ("leases", "default", "stationkeeper-operator")


class Api(MemoryApi):
    """Some requests take a while."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: Callable[[str], float] = lambda _request: 0.0
        self.times: list[tuple[float, str]] = []

    async def send(self, method: str, path: str, *rest: Any) -> Any:
        request = f"{method} {path.split('/namespaces/')[-1]}"
        await asyncio.sleep(self.takes(request))
        answer = await super().send(method, path, *rest)
        self.times.append((now(), request))
        return answer

    def holder(self) -> str:
        return self.objects[LEASE]["spec"]["holderIdentity"]


class Silent:
    """In the place of what needs sockets and threads."""

    def __init__(self, *_: Any) -> None:
        self.healthy = True

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def run(self) -> None:
        await asyncio.Event().wait()

    def restart(self) -> None:
        self.restarts = getattr(self, "restarts", 0) + 1


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    monkeypatch.setattr(operators, "HealthServer", Silent)
    monkeypatch.setattr(operators, "Informer", Silent)


class Process:
    """An operator that runs."""

    def __init__(self, api: Api, *flags: str) -> None:
        self.api, self.stop = api, asyncio.Event()
        self.operator = Operator(parse(["--identity=me", "--lease-namespace=default", *flags]), Gateway(api, rate=1e9))
        self.running = asyncio.ensure_future(self.operator.run(self.stop))

    async def end(self) -> int:
        """Tell it to stop, and wait."""
        self.stop.set()
        return await self.running


def api(*models: str) -> Api:
    made = Api()
    for name in models or ("flights",):
        made.create(world.model(name), "models")
    return made


def refuse(part: str, error: Exception) -> Callable[[str], None]:
    def hook(request: str) -> None:
        if part in request:
            raise error

    return hook


@timeless
async def test_it_leads_lists_and_works_until_it_is_told_to_stop():
    process = Process(api("flights", "trains"))
    await asyncio.sleep(1)
    assert len(process.api.all("jobs")) == 2
    assert process.api.holder() == "me"
    assert (process.operator.unready(), process.operator.unhealthy()) == ("", "")
    assert await process.end() == 0
    assert process.api.holder() == "", "the next one need not wait"


@timeless
async def test_a_kind_that_the_cluster_has_not_got_is_not_missed_and_noticed_when_it_comes_and_goes():
    shared = api()
    shared.lacks.add("httproutes")
    process = Process(shared, "--no-leader-election", "--resync=10m")
    await asyncio.sleep(5)
    operator = process.operator
    assert (operator.unready(), operator.store.knows("HTTPRoute"), len(shared.all("jobs"))) == ("", False, 1)
    restarts = getattr(operator.informer, "restarts", 0)
    shared.lacks.clear()
    await asyncio.sleep(31)
    assert operator.store.knows("HTTPRoute")
    assert operator.informer.restarts == restarts + 1, "it is watched from now on"
    shared.lacks.add("httproutes")
    await asyncio.sleep(601)
    assert not operator.store.knows("HTTPRoute")
    assert operator.unready() == ""
    assert await process.end() == 0


@timeless
async def test_without_the_right_to_list_routes_everything_else_goes_on():
    shared = api()
    shared.before = refuse("httproutes", ForbiddenError("no", 403))
    process = Process(shared, "--no-leader-election")
    await asyncio.sleep(40)
    assert (process.operator.unready(), len(shared.all("jobs"))) == ("", 1)
    assert not process.operator.store.knows("HTTPRoute")
    assert await process.end() == 0


@timeless
async def test_a_stand_by_does_nothing_and_is_ready():
    shared = api()
    leading = Process(shared, "--no-leader-election")
    await asyncio.sleep(1)
    await leading.end()
    shared.create({"kind": "Lease", **lease("somebody")}, "leases")
    shared.log.clear()
    process = Process(shared)
    await asyncio.sleep(10)
    assert process.operator.unready() == ""
    assert {request.split("/")[0] for request in shared.log} == {"GET leases"}
    assert await process.end() == 0
    assert shared.holder() == "somebody"


def lease(holder: str) -> dict[str, Any]:
    meta = {"name": LEASE[2], "namespace": LEASE[1]}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": meta,
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60},
    }


@timeless
async def test_it_waits_for_its_kinds_to_be_there(caplog):
    shared = api()
    shared.before = refuse("driftpolicies", NotFoundError("the server could not find the requested resource", 404))
    process = Process(shared)
    await asyncio.sleep(60)
    assert process.operator.unready() == "the store is not filled yet"
    assert shared.all("jobs") == []
    assert 5 <= shared.log.count("GET driftpolicies") <= 12, "less and less often"
    assert caplog.text.count("cannot list yet") == 1, "once"
    shared.before = lambda _: None
    await asyncio.sleep(15)
    assert process.operator.unready() == ""
    assert len(shared.all("jobs")) == 1
    assert await process.end() == 0


@timeless
async def test_it_may_be_stopped_while_it_waits_for_its_kinds():
    shared = api()
    shared.before = refuse("models", NotFoundError("no such kind", 404))
    process = Process(shared)
    await asyncio.sleep(5)
    assert await process.end() == 0
    assert shared.holder() == ""


@timeless
async def test_a_lost_lease_ends_the_process_at_once():
    process = Process(api())
    await asyncio.sleep(1)
    process.api.change(LEASE, lambda found: found["spec"].update(holderIdentity="another"))
    process.api.log.clear()
    assert await process.running == 1
    assert now() < 5
    assert process.api.holder() == "another"
    assert not [request for request in process.api.writes() if "leases" not in request]


@timeless
async def test_a_lease_that_is_lost_while_the_lists_take_long_ends_the_process_too():
    process = Process(api())
    process.api.takes = lambda request: 100.0 if request == "GET /apis/stationkeeper.dev/v1alpha1/models" else 0.0
    await asyncio.sleep(5)
    process.api.change(LEASE, lambda found: found["spec"].update(holderIdentity="another"))
    assert await process.running == 1
    assert now() < 10
    assert process.api.all("jobs") == []


@timeless
async def test_what_is_being_done_is_finished_and_nothing_more_is_begun():
    process = Process(api("flights", "trains"), "--workers=1")
    process.api.takes = lambda request: 3.0 if "/status" in request else 0.0
    await asyncio.sleep(1)
    holder = []
    process.api.after = lambda request: holder.append(process.api.holder()) if "jobs" in request else None
    assert await process.end() == 0
    assert 3 <= now() < 4
    assert [job["metadata"]["labels"]["stationkeeper.dev/model"] for job in process.api.all("jobs")] == ["flights"]
    assert holder == ["me"], "while it still leads"
    assert len(process.api.all("events")) == 2, "and people are told"


@timeless
async def test_what_hangs_is_not_waited_for_long():
    process = Process(api())
    process.api.takes = lambda request: 1000.0 if "/status" in request else 0.0
    await asyncio.sleep(1)
    assert await process.end() == 0
    assert now() <= 12
    assert process.api.all("jobs") == []


@timeless
async def test_a_lease_that_is_lost_while_the_last_work_is_finished_ends_it():
    process = Process(api())
    process.api.takes = lambda request: 8.0 if "/status" in request else 0.0
    await asyncio.sleep(1)
    process.stop.set()
    await asyncio.sleep(0.1)
    process.api.change(LEASE, lambda found: found["spec"].update(holderIdentity="another"))
    await process.running
    assert now() < 5
    assert process.api.all("jobs") == [], "somebody else leads"


@timeless
async def test_a_part_that_ends_ends_the_process(monkeypatch, caplog):
    async def broken(_: Any) -> None:
        await asyncio.sleep(5)
        raise KeyError("a bug")

    monkeypatch.setattr(Silent, "run", broken)
    process = Process(api())
    assert await process.running == 1
    assert process.operator.unhealthy() == "a worker has ended"
    assert "a part of the operator ended" in caplog.text
    assert process.api.holder() == ""


FAILURES = [
    ("no answer", UnavailableError("no answer"), 0.4, 0.6, logging.WARNING, "tried again in"),
    ("a busy server", ThrottledError("busy", 30.0), 30, 30, logging.WARNING, "tried again in 30 s: busy"),
    ("a refusal", ForbiddenError("quota", 403), 0.4, 0.6, logging.ERROR, "refused by the API server"),
    ("a bug", KeyError("oh"), 0.4, 0.6, logging.ERROR, "a bug: this key could not be reconciled"),
    ("a hanging request", None, 60, 61, logging.WARNING, "the deadline passed"),
]


@pytest.mark.parametrize(("name", "error", "least", "most", "level", "told"), FAILURES, ids=[case[0] for case in FAILURES])
@timeless
async def test_a_failure_is_told_and_tried_again(name, error, least, most, level, told, caplog):
    shared = api()
    failed: list[float] = []

    def fail(request: str) -> None:
        if "/status" in request and not failed:
            failed.append(now())
            raise error

    if error:
        shared.before = fail
    else:
        shared.takes = lambda request: 1000.0 if "/status" in request and now() < 1 else 0.0
    process = Process(shared)
    await asyncio.sleep(100)
    made = next(at for at, request in shared.times if request.startswith("PATCH ops/jobs"))
    assert least <= made - (failed[0] if failed else 0) <= most
    record = next(record for record in caplog.records if told in record.getMessage())
    assert (record.levelno, record.key) == (level, "model/ops/flights")
    assert await process.end() == 0


@timeless
async def test_a_key_that_fails_does_not_hold_up_the_others():
    shared = api("flights", "trains")
    shared.before = refuse("models/flights/status", UnavailableError("no answer"))
    process = Process(shared, "--workers=1")
    await asyncio.sleep(300)
    assert [job["metadata"]["labels"]["stationkeeper.dev/model"] for job in shared.all("jobs")] == ["trains"]
    assert process.api.log.count("PATCH models/flights/status") < 15, "less and less often"
    assert await process.end() == 0


@timeless
async def test_what_was_planned_from_something_old_is_planned_again_at_once():
    shared = api()
    process = Process(shared)
    edits: list[str] = []

    def edit(request: str) -> None:
        if "/status" in request and not edits:
            edits.append(request)
            shared.change(("models", "ops", "flights"), lambda model: model["metadata"].update(labels={"new": "x"}))

    shared.before = edit
    await asyncio.sleep(0.2)
    assert len(shared.all("jobs")) == 1
    assert await process.end() == 0


@timeless
async def test_each_resync_finds_what_no_watch_has_told():
    process = Process(api(), "--resync=60s")
    await asyncio.sleep(1)
    (job,) = process.api.all("jobs")
    process.api.remove(("jobs", "ops", job["metadata"]["name"]))
    process.api.create(world.model("trains"), "models")
    process.api.before = refuse("GET jobs", UnavailableError("no answer"))
    await asyncio.sleep(65)
    assert process.api.all("jobs") == [], "that resync failed"
    process.api.before = lambda _: None
    await asyncio.sleep(60)
    names = [made["metadata"]["labels"]["stationkeeper.dev/model"] for made in process.api.all("jobs")]
    assert sorted(names) == ["flights", "trains"]
    assert await process.end() == 0


@timeless
async def test_only_its_own_namespaces_are_listed():
    shared = api()
    shared.create({**world.model(), "metadata": {**world.model()["metadata"], "namespace": "science"}}, "models")
    process = Process(shared, "--namespace=ops,ml", "--no-leader-election")
    await asyncio.sleep(1)
    assert [job["metadata"]["namespace"] for job in shared.all("jobs")] == ["ops"]
    assert {request.split("/")[0] for _, request in shared.times if "models" in request} == {"GET ops", "GET ml", "PATCH ops"}
    assert LEASE not in shared.objects
    assert await process.end() == 0


@timeless
async def test_it_is_not_ready_while_the_watches_are_down():
    process = Process(api())
    await asyncio.sleep(1)
    process.operator.informer.healthy = False  # type: ignore[misc]
    assert process.operator.unready() == "the watches are down"
    assert await process.end() == 0


@timeless
async def test_events_wait_while_there_is_work():
    process = Process(api())
    await asyncio.sleep(1)
    process.api.takes = lambda request: 5.0 if "/jobs" in request or "/status" in request else 0.0
    process.api.change(("models", "ops", "flights"), lambda model: model["spec"]["retraining"].update(cooldown="2h"))
    process.operator.store.put(process.api.objects["models", "ops", "flights"])
    process.operator.queue.add(FLIGHTS)
    await asyncio.sleep(0.01)
    written = len(process.api.all("events"))
    for number in range(100):
        process.operator.recorder.record(world.model(), Event("Normal", "Test", str(number)))
    await asyncio.sleep(1)
    assert 5 <= len(process.api.all("events")) - written <= 11
    assert await process.end() == 0
