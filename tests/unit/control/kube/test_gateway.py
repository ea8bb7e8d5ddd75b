"""Each verb as the one request that it makes, and what is made of the answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from stationkeeper.control.kube.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    ThrottledError,
    UnavailableError,
)
from stationkeeper.control.kube.gateway import REQUESTS, Gateway, RateLimiter
from stationkeeper.control.kube.kinds import LEASE, kind_of
from stationkeeper.control.kube.transport import Answer
from tests.support.clock import now, timeless

MODEL, POD = kind_of("Model"), kind_of("Pod")
HERE = "/apis/stationkeeper.dev/v1alpha1/namespaces/ops/models/flights"


def obj(**metadata: Any) -> dict[str, Any]:
    meta = {"name": "flights", "namespace": "ops", **metadata}
    return {"apiVersion": "stationkeeper.dev/v1alpha1", "kind": "Model", "metadata": meta, "spec": {"replicas": 1}}


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, body if isinstance(body, bytes) else json.dumps(body).encode())


@dataclass
class Script:
    """A transport that gives these answers, one after the other, and remembers what it was asked."""

    answers: list[Answer | Exception]
    asked: list[tuple[str, str, dict[str, str], Any, str]] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    closed: bool = False

    async def send(
        self, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str, seconds: float
    ) -> Answer:
        self.asked.append((method, path, dict(query), body, content_type))
        self.deadlines.append(seconds)
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        self.closed = True


APPLY, JSON = "application/apply-patch+yaml", "application/json"
OURS = {"fieldManager": "stationkeeper", "force": "true"}
STATUS = {
    "apiVersion": "stationkeeper.dev/v1alpha1",
    "kind": "Model",
    "metadata": {"name": "flights", "namespace": "ops", "resourceVersion": "7", "uid": "u"},
    "status": {"url": "x"},
}
SIZED = {
    "apiVersion": "stationkeeper.dev/v1alpha1",
    "kind": "Model",
    "metadata": {"name": "flights", "namespace": "ops", "uid": "u"},
    "spec": {"replicas": 3},
}
UID = {"propagationPolicy": "Background", "preconditions": {"uid": "u"}}
VERBS = [
    ("get", lambda g: g.get(MODEL, "ops", "flights"), ("GET", HERE, {}, None, JSON)),
    ("apply", lambda g: g.apply(obj()), ("PATCH", HERE, OURS, obj(), APPLY)),
    (
        "scale, as the owner of that field alone",
        lambda g: g.scale(obj(uid="u", labels={"a": "b"}), 3),
        ("PATCH", HERE, {"fieldManager": "stationkeeper-replicas", "force": "true"}, SIZED, APPLY),
    ),
    (
        "status, of just the version that was seen",
        lambda g: g.apply_status(obj(resourceVersion="7", uid="u", labels={"a": "b"}), {"url": "x"}),
        ("PATCH", f"{HERE}/status", OURS, STATUS, APPLY),
    ),
    ("create", lambda g: g.create(obj()), ("POST", HERE.rpartition("/")[0], {"fieldManager": "stationkeeper"}, obj(), JSON)),
    ("replace", lambda g: g.replace(obj(resourceVersion="7")), ("PUT", HERE, {}, obj(resourceVersion="7"), JSON)),
    ("delete just this one", lambda g: g.delete(MODEL, "ops", "flights", "u"), ("DELETE", HERE, {}, UID, JSON)),
]


@pytest.mark.parametrize(("name", "call", "request_"), VERBS, ids=[case[0] for case in VERBS])
async def test_a_verb_is_one_request_with_a_deadline(name, call, request_):
    script = Script([answer({"kind": "Model"})])
    await call(Gateway(script, seconds=3))
    assert script.asked == [request_]
    assert script.deadlines == [3]


async def test_what_is_not_there_is_none_and_its_deletion_is_done():
    gateway = Gateway(Script([answer({}, 404), answer({}, 404)]))
    assert await gateway.get(MODEL, "ops", "flights") is None
    await gateway.delete(MODEL, "ops", "flights", "u")


BAD = [
    ("a refusal says why", answer({"message": "spec.x: no"}, 403), ForbiddenError, "get " + HERE + ": spec.x: no"),
    ("a conflict", answer({"message": "modified"}, 409), ConflictError, "modified"),
    ("a proxy's error page", answer(b"<html>bad gateway</html>", 502), UnavailableError, "<html>bad gateway</html>"),
    ("an error without a message", answer({"kind": "Status"}, 500), UnavailableError, '{"kind": "Status"}'),
    ("an error that is a list", answer([1], 500), UnavailableError, "[1]"),
    ("a login page in the answer's place", answer(b"<html>log in</html>"), UnavailableError, "the answer is not JSON"),
    ("half an answer", answer(b'{"kind": "Mod'), UnavailableError, "the answer is not JSON"),
    ("no text at all", answer(b"\xff\xfe"), UnavailableError, "the answer is not JSON"),
    ("JSON that is no object", answer([]), UnavailableError, "the answer is not an object"),
    ("an error as long as a book", answer({"message": "x" * 5000}, 403), ForbiddenError, "x" * 1000),
    ("no answer", UnavailableError("no answer"), UnavailableError, "no answer"),
]


@pytest.mark.parametrize(("name", "given", "kind", "told"), BAD, ids=[case[0] for case in BAD])
async def test_a_bad_answer_is_a_typed_error_that_tells(name, given, kind, told):
    with pytest.raises(kind) as caught:
        await Gateway(Script([given])).get(MODEL, "ops", "flights")
    assert told in str(caught.value)
    assert len(str(caught.value)) < 1200


async def test_a_busy_server_is_believed():
    with pytest.raises(ThrottledError) as caught:
        await Gateway(Script([answer({"message": "busy"}, 429, Retry_After="9")])).apply(obj())
    assert caught.value.retry_after == 9


def page(*names: str, more: str = "", version: str = "5") -> Answer:
    meta = {"resourceVersion": version, **({"continue": more} if more else {})}
    return answer({"metadata": meta, "items": [{"metadata": {"name": name}} for name in names]})


async def test_a_list_is_all_its_pages_of_what_is_ours():
    script = Script([page("a", "b", more="next"), page("c")])
    found = await Gateway(script).list(POD, "ops")
    assert [(item["kind"], item["apiVersion"], item["metadata"]["name"]) for item in found.items] == [
        ("Pod", "v1", "a"),
        ("Pod", "v1", "b"),
        ("Pod", "v1", "c"),
    ]
    assert found.resource_version == "5"
    first = {"limit": "500", "labelSelector": "app.kubernetes.io/managed-by=stationkeeper"}
    assert [asked[2] for asked in script.asked] == [first, {**first, "continue": "next"}]


async def test_a_list_that_took_too_long_begins_again_and_counts_nothing_twice():
    script = Script(
        [page("a", more="next"), answer({"message": "too old"}, 410), page("a", more="other"), page("b", version="9")]
    )
    found = await Gateway(script).list(MODEL)
    assert [item["metadata"]["name"] for item in found.items] == ["a", "b"]
    assert [asked[2].get("continue") for asked in script.asked] == [None, "next", None, "other"]


async def test_a_list_that_always_takes_too_long_is_an_error():
    script = Script([page("a", more="next"), answer({}, 410)] * 3)
    with pytest.raises(GoneError):
        await Gateway(script).list(MODEL)
    assert script.answers == []


async def test_an_empty_list_may_lack_its_items():
    found = await Gateway(Script([answer({"metadata": {}, "items": None})])).list(MODEL)
    assert (found.items, found.resource_version) == ([], "0")


def test_the_limiter_lets_a_burst_through_and_then_a_rate():
    clock = [0.0]
    limiter = RateLimiter(rate=10, burst=2, clock=lambda: clock[0])
    assert [round(limiter.delay(), 3) for _ in range(4)] == [0, 0, 0.1, 0.2]
    clock[0] = 0.2  # the debt is paid
    assert round(limiter.delay(), 3) == 0.1
    clock[0] = 1000.0  # a long rest fills no more than a burst
    assert [round(limiter.delay(), 3) for _ in range(3)] == [0, 0, 0.1]


@timeless
async def test_requests_wait_for_the_limiter_and_the_lease_does_not():
    script = Script([answer({}) for _ in range(4)])
    gateway = Gateway(script, rate=0.5, burst=1)
    await gateway.get(MODEL, "ops", "a")
    await gateway.get(MODEL, "ops", "b")
    assert 1.5 < now() <= 2.0, "by the real clock the limiter may have got a little back"
    before = now()
    await gateway.get(LEASE, "system", "x")
    assert now() == before


async def test_requests_are_counted_by_what_became_of_them():
    def counted(code: str) -> float:
        return REQUESTS.labels("get", "Model", code)._value.get()

    before = [counted(code) for code in ("200", "404", "none")]
    gateway = Gateway(Script([answer({}), answer({}, 404), UnavailableError("no answer")]))
    await gateway.get(MODEL, "ops", "a")
    await gateway.get(MODEL, "ops", "a")
    with pytest.raises(UnavailableError):
        await gateway.get(MODEL, "ops", "a")
    assert [counted(code) for code in ("200", "404", "none")] == [value + 1 for value in before]


async def test_closing_releases_the_connections():
    script = Script([])
    await Gateway(script).close()
    assert script.closed
