"""Prometheus is asked for numbers by name: what is sent, what is believed of an answer, and how little may go wrong."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stationkeeper.control.controllers import prometheus
from stationkeeper.control.controllers.prometheus import (
    Inquirer,
    NoAnswerError,
    Prometheus,
    PrometheusError,
    number,
    read_prometheus,
)
from stationkeeper.control.controllers.reconcile import Reconciler
from stationkeeper.control.kube.gateway import Gateway
from tests.support import world
from tests.support.site import MODEL, Site

Object = dict[str, Any]
STEP = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LATE = 'sum(rate(late{namespace="${namespace}", pod=~"${model}-r${candidate}-.+"}[${seconds}s])) / stable_${stable}'
SUM = 'label_replace(bookings, "a", "$1", "b", "(.+)")'


def said(value: Any, kind: str = "vector", status: str = "success") -> Object:
    """An answer of Prometheus' HTTP API, with one element of this value."""
    pair = [1767614400.123, value]
    return {
        "status": status,
        "data": {"resultType": kind, "result": [{"metric": {}, "value": pair}] if kind == "vector" else pair},
    }


class Server:
    """A Prometheus of this machine that says what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[str], Any] = lambda _query: said("0.02")
        self.status = 200
        self.delay = 0.0
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> "Server":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def _handle(self, request: web.Request) -> web.Response:
        self.asked.append((f"{request.method} {request.path}", dict(request.query)))
        await asyncio.sleep(self.delay)
        body = self.answer(request.query.get("query", ""))
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        return web.Response(
            body=body if isinstance(body, bytes) else json.dumps(body).encode(), status=self.status, headers=headers
        )

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def inquirer(self, path: str = "") -> Inquirer:
        queries = {"late": {"query": LATE}, "bookings": {"query": SUM}}
        return Inquirer(Prometheus.model_validate({"url": f"http://127.0.0.1:{self.port}{path}", "queries": queries}))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = await Server().start()
    yield running
    await running.stop()


def at_a_step(*names: str) -> Object:
    model = world.model()
    queries = [{"name": name, "max": 0.05} for name in names]
    model["spec"]["serving"]["rollout"] = {"strategy": "Canary", "analysis": {"queries": queries}}
    model["status"] = {"serving": {"number": 3}, "candidate": {"number": 4, "stepSince": "2026-01-05T12:00:00Z"}}
    return model


async def test_a_name_becomes_a_query_and_its_answer_a_number(server):
    answers = await server.inquirer().ask(at_a_step("late", "bookings"), STEP + timedelta(seconds=95.7))
    assert {name: (answer.value, answer.problem) for name, answer in answers.items()} == {
        "late": (0.02, ""),
        "bookings": (0.02, ""),
    }
    assert sorted(server.asked, key=lambda request: request[1]["query"]) == [
        ("GET /api/v1/query", {"query": SUM, "timeout": "3s"}),
        (
            "GET /api/v1/query",
            {"query": 'sum(rate(late{namespace="ops", pod=~"flights-r4-.+"}[95s])) / stable_3', "timeout": "3s"},
        ),
    ]


@pytest.mark.parametrize("path", ["/prometheus", "/prometheus/"])
async def test_it_may_lie_under_a_path(server, path):
    await server.inquirer(path).ask(at_a_step("bookings"), STEP)
    assert [request for request, _ in server.asked] == ["GET /prometheus/api/v1/query"]


async def test_a_step_has_lasted_a_second_at_least(server):
    await server.inquirer().ask(at_a_step("late"), STEP)
    assert "[1s]" in server.asked[0][1]["query"], "no range of nothing, which PromQL refuses"


def without(part: str) -> Object:
    model = at_a_step("late")
    del model["status"][part]
    return model


def named(name: str) -> Object:
    model = at_a_step("late")
    model["metadata"]["name"] = name
    return model


NOT_ASKED = [
    ("no query is named", at_a_step()),
    ("no canary is under way", without("candidate")),
    ("nothing serves", without("serving")),
    ("a name that could be more than a name", named('x"} or vector(0) #')),
    ("a name that a regular expression would read", named("x.*")),
    ("an object that is only just created", {"metadata": {}, "spec": {}}),
]


@pytest.mark.parametrize("model", [row[1] for row in NOT_ASKED], ids=[row[0] for row in NOT_ASKED])
async def test_nothing_is_asked_when(server, model):
    assert await server.inquirer().ask(model, STEP) == {}
    assert server.asked == []


GOOD = [(said("0.02"), 0.02), (said("-3"), -3.0), (said("1e-7"), 1e-7), (said("7", "scalar"), 7.0), (said("0"), 0.0)]


@pytest.mark.parametrize(("answer", "value"), GOOD)
def test_one_number_is_believed(answer, value):
    assert number(200, json.dumps(answer).encode()) == value


EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}
TWO = copy.deepcopy(said("1"))
TWO["data"]["result"] *= 2
REFUSED = {"status": "error", "errorType": "bad_data", "error": "1:5: parse error: secret words"}
NONE: list[tuple[Any, str]] = [
    (EMPTY, "it gives no series"),
    (TWO, "it gives 2 series; one is wanted"),
    (said("NaN"), "it gives nan"),
    (said("+Inf"), "it gives inf"),
    (said("many"), "not in the form"),
    ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "no number but a row of them"),
    ({"status": "success", "data": {"resultType": "string", "result": [1, "7"]}}, "no number but a row of them"),
    (REFUSED, "Prometheus refuses it (bad_data)"),
    ({"status": "error", "errorType": "<b>bad</b>"}, "Prometheus refuses it (400)"),
    ({"status": "success"}, "not in the form"),
    ([], "not in the form"),
    (None, "not in the form"),
    (b"", "not in the form"),
    (b"<html>", "not in the form"),
    (b"\xff\xfe{", "not in the form"),
    (b"[" * 60_000, "not in the form"),
]


@pytest.mark.parametrize(("answer", "words"), NONE, ids=[str(row[0])[:50] for row in NONE])
def test_anything_else_is_no_answer(answer, words):
    with pytest.raises(NoAnswerError) as caught:
        number(400, answer if isinstance(answer, bytes) else json.dumps(answer).encode())
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


async def problem_of(inquirer: Inquirer, name: str = "late") -> str:
    (answer,) = (await inquirer.ask(at_a_step(name), STEP)).values()
    assert answer.value is None
    return answer.problem


async def test_a_name_that_the_configuration_does_not_have(server):
    assert await problem_of(server.inquirer(), "rumours") == "the operator's configuration has no such query"
    assert await problem_of(Inquirer(None)) == "the operator's configuration has no such query"
    assert server.asked == []


async def test_a_prometheus_that_is_away(server):
    inquirer = server.inquirer()
    await server.stop()
    assert await problem_of(inquirer) == "Prometheus cannot be asked (ClientConnectorError)"
    await server.start()


async def test_a_prometheus_that_thinks_too_long(server, monkeypatch):
    monkeypatch.setattr(prometheus, "_SECONDS", 0.05)
    server.delay = 0.5
    assert "does not answer within" in await problem_of(server.inquirer())


async def test_a_prometheus_that_says_too_much(server, monkeypatch):
    monkeypatch.setattr(prometheus, "_BYTES", 100)
    server.answer = lambda _query: said("1" + " " * 200)
    assert "more than 100 bytes" in await problem_of(server.inquirer())


async def test_nobody_is_followed_elsewhere(server):
    server.status = 302
    server.answer = lambda _query: b""
    assert "not in the form of Prometheus' API (status 302)" in await problem_of(server.inquirer())
    assert len(server.asked) == 1


# -- the file ----------------------------------------------------------------------------------------------------------


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "prometheus.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_the_file_is_read(tmp_path):
    text = "prometheus: {url: 'http://prometheus:9090', queries: {late: {query: 'late[${seconds}s]', description: Late.}}}"
    assert read_prometheus(written(tmp_path, text)).queries["late"].query == "late[${seconds}s]"
    assert read_prometheus(written(tmp_path, "prometheus: {url: 'https://prometheus/p'}")).queries == {}


BAD_FILES = [
    ("", "prometheus: "),
    ("[]", "prometheus: "),
    ("[1]", "has no attribute"),
    ("prometheus: {queries: {}}", "prometheus.url"),
    ("prometheus: {url: 'prometheus:9090'}", "prometheus.url"),
    ("prometheus: {url: 'http://p?query=1'}", "prometheus.url"),
    ("prometheus: {url: 'http://p', queries: {Late: {query: '1'}}}", "prometheus.queries.Late"),
    ("prometheus: {url: 'http://p', queries: {late: {query: ''}}}", "prometheus.queries.late.query"),
    (
        "prometheus: {url: 'http://p', queries: {late: {query: 'x{a=\"${pod}\"}'}}}",
        "places that nothing fills: pod; there are namespace, model",
    ),
    ("prometheus: {url: 'http://u:secret@p', queries: {late: '1'}}", "prometheus.queries.late"),
]


@pytest.mark.parametrize(("text", "told"), BAD_FILES)
def test_a_bad_file_is_told_by_its_field(tmp_path, text, told):
    with pytest.raises(PrometheusError) as caught:
        read_prometheus(written(tmp_path, text))
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


# -- a whole canary ----------------------------------------------------------------------------------------------------


async def canary(server: Server) -> Site:
    """Revision 2 answers beside revision 1, by a server of the team's own: Prometheus is all the evidence there is."""
    model = world.model()
    model["spec"]["serving"] |= {
        "container": {"image": "team/server:1"},
        "rollout": {
            "strategy": "Canary",
            "steps": [{"weight": 50, "hold": "1m"}],
            "analysis": {"queries": [{"name": "late", "max": 0.05}], "deadline": "10m"},
        },
    }
    site = Site(model=model)
    settings = replace(world.SETTINGS, queries=frozenset({"late", "bookings"}))
    gateway = Gateway(site.api, rate=1e9, burst=10**9)
    site.reconciler = Reconciler(
        site.store, gateway, site.recorder, settings, site.notifier, lambda: site.now, inquirer=server.inquirer()
    )
    await site.fill()
    await site.serve()
    site.api.change(MODEL, lambda model: model["metadata"].update(annotations={"stationkeeper.dev/retrain": "please"}))
    site.advance(hours=7)
    await site.look()
    site.train("second")
    await site.look()
    site.make_ready()
    await site.look()
    assert site.model["status"]["candidate"]["step"] == 0
    return site


async def test_a_canary_is_promoted_on_numbers_of_prometheus(server):
    site = await canary(server)
    server.answer = lambda _query: EMPTY
    site.advance(seconds=70)
    await site.look()
    assert site.model["status"]["candidate"]["step"] == 0, "no number, no step"
    server.answer = lambda _query: said("0.01")
    site.advance(seconds=5)
    await site.look()
    assert any('pod=~"flights-r2-.+"}[75s])) / stable_1' in asked["query"] for _, asked in server.asked)
    site.make_ready()
    await site.look()
    assert site.model["status"]["serving"]["number"] == 2
    decision = site.model["status"]["decisions"][-1]
    assert (decision["kind"], decision["queries"]) == ("Promoted", [{"name": "late", "value": 0.01, "max": 0.05}])


async def test_a_canary_is_taken_back_on_a_number_past_its_bound(server):
    site = await canary(server)
    server.answer = lambda _query: said("0.5")
    site.advance(seconds=5)
    await site.look()
    assert "candidate" not in site.model["status"]
    assert site.model["status"]["serving"]["number"] == 1
    assert "the query late gives 0.5; at most 0.05 is allowed" in site.model["status"]["quarantine"][-1]["reason"]
