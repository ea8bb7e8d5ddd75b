"""The ASGI application: routing, health, metadata, metrics. Inference itself is in `inference`."""

import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import orjson

from stationkeeper import __version__
from stationkeeper.workloads.serving import answers, metrics, routes
from stationkeeper.workloads.serving.connections import Connections
from stationkeeper.workloads.serving.inference import Disconnected, Inference, Reply
from stationkeeper.workloads.serving.metrics import Metrics
from stationkeeper.workloads.serving.routes import Route
from stationkeeper.workloads.serving.state import State

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")
_PLAIN: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")  # a header is ASCII; the rest of an id is escaped


@dataclass(slots=True)
class App:
    """One revision of one model over HTTP."""

    model: str
    revision: int
    digest: str
    state: State
    metrics: Metrics
    connections: Connections = field(default_factory=Connections)
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    uid: str = ""  # of the Model
    inference: Inference = field(init=False)
    _routes: dict[str, Route] = field(init=False)
    _identity: list[Header] = field(init=False)

    def __post_init__(self) -> None:
        self.inference = Inference(self.state, self.metrics, self.uid)
        self._routes = routes.table(self.model, str(self.revision))
        self._identity = [
            (b"x-stationkeeper-revision", str(self.revision).encode()),
            (b"x-stationkeeper-digest", self.digest.encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else uuid4().hex
        route = self._routes.get(scope["path"], Route.NOTHING)
        try:
            if route is Route.INFER and scope["method"] == "POST":
                reply = await self._infer(headers, request_id, receive)
            else:
                reply = self._read(route, scope["method"])
        except Disconnected:
            return
        except Exception:
            log.exception("request %s to %s failed", request_id, scope["path"])
            reply = Reply(500, answers.error("internal error; the pod's log has the request id"), close=True)
        await self._send(scope, send, reply, reply.request_id or request_id)

    async def _infer(self, headers: dict[bytes, bytes], request_id: str, receive: Receive) -> Reply:
        started, arrived = self.monotonic(), self.wall()
        code = "499"
        self.metrics.in_flight.inc()
        try:
            reply = await self.inference.answer(headers, request_id, arrived, receive)
            code = str(reply.status)
        except Disconnected:
            raise
        except Exception:
            code = "500"
            raise
        finally:
            self.metrics.in_flight.dec()
            self.metrics.requests.labels(code).inc()
            self.metrics.latency.observe(self.monotonic() - started)
        return reply

    def _read(self, route: Route, method: str) -> Reply:
        if route is Route.NOTHING:
            known = f"/v2/models/{self.model}/infer"
            return Reply(404, answers.error(f"no such path; this pod serves {known}, version {self.revision}"), close=True)
        allowed = routes.allowed(route)
        if method not in allowed:
            allow = ", ".join(allowed)
            # A body that nobody read may follow: the connection cannot be used again.
            return Reply(405, answers.error(f"use {allow}"), close=True, headers=((b"allow", allow.encode()),))
        match route:
            case Route.LIVE:
                return Reply(200, b'{"live":true}')
            case Route.READY:
                return self._ready({})
            case Route.MODEL_READY:
                return self._ready({"name": self.model})
            case Route.METRICS:
                return Reply(200, self.metrics.render(), content_type=metrics.CONTENT_TYPE.encode())
            case Route.MODEL:
                served = self.state.served
                return Reply(200, served.renderer.metadata()) if served else Reply(503, answers.error(self.state.problem))
            case _:
                return Reply(200, orjson.dumps({"name": "stationkeeper", "version": __version__, "extensions": []}))

    def _ready(self, base: dict[str, Any]) -> Reply:
        why = self.state.not_ready
        document = base | {"ready": why is None} | ({"error": why} if why else {})
        return Reply(503 if why else 200, orjson.dumps(document))

    async def _send(self, scope: Scope, send: Send, reply: Reply, request_id: str) -> None:
        headers: list[Header] = [
            (b"content-type", reply.content_type),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-request-id", request_id.encode() if request_id.isascii() else quote(request_id, safe=_PLAIN).encode()),
            *self._identity,
            *reply.headers,
        ]
        client = tuple(scope.get("client") or ()) or None
        if reply.close or self.state.draining:
            self.connections.closed(client)
            headers.append((b"connection", b"close"))
        elif self.connections.expired(client, self.monotonic()):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})
