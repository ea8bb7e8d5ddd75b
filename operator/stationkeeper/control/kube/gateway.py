"""The one way to the API server: few verbs, a deadline on each, a rate limit over all, typed errors, metrics."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Histogram

from stationkeeper.api.meta import FIELD_MANAGER, FIELD_MANAGER_REPLICAS
from stationkeeper.control.kube.errors import GoneError, NotFoundError, UnavailableError, from_status
from stationkeeper.control.kube.kinds import LEASE, Kind, kind_of
from stationkeeper.control.kube.transport import Transport

Object = dict[str, Any]
REQUESTS = Counter("stationkeeper_api_requests", "Requests to the API server.", ["verb", "kind", "code"])
LATENCY = Histogram("stationkeeper_api_request_seconds", "How long requests to the API server took.", ["verb"])
_PAGE = 500
_LIST_TRIES = 3
_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"


class RateLimiter:
    """A token bucket: `burst` requests at once, `rate` a second on the long run."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, float(burst), clock
        self._tokens, self._at = float(burst), clock()

    def delay(self) -> float:
        """Take one token; returns the seconds to wait before using it."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)


@dataclass(frozen=True)
class Listing:
    """All objects of a kind, and the moment they are from."""

    items: list[Object]
    resource_version: str


class Gateway:
    """Requests to the API server."""

    def __init__(self, transport: Transport, rate: float = 400, burst: int = 800, seconds: float = 10) -> None:
        self._transport = transport
        self._limiter = RateLimiter(rate, burst)
        self._seconds = seconds

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object as it is now, or None."""
        try:
            return await self._send("get", kind, "GET", kind.path(namespace, name))
        except NotFoundError:
            return None

    async def list(self, kind: Kind, namespace: str | None = None) -> Listing:
        """All objects of a kind that its selector names, page by page; from the start again when that took too long."""
        for _ in range(_LIST_TRIES - 1):
            with contextlib.suppress(GoneError):
                return await self._list(kind, namespace)
        return await self._list(kind, namespace)

    async def _list(self, kind: Kind, namespace: str | None) -> Listing:
        items: list[Object] = []
        query = {"limit": str(_PAGE)} | ({"labelSelector": kind.selector} if kind.selector else {})
        while True:
            page = await self._send("list", kind, "GET", kind.path(namespace), query)
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page.get("items") or []]
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return Listing(items, meta.get("resourceVersion", "0"))
            query["continue"] = meta["continue"]

    async def apply(self, obj: Object) -> Object:
        """Apply a complete object server-side, as the owner of its fields. Returns it as it is now."""
        return await self._apply(obj, FIELD_MANAGER)

    async def scale(self, obj: Object, replicas: int) -> Object:
        """Say how many pods an object has, as the owner of nothing else: an autoscaler can take that field over and keep it."""
        meta = {key: obj["metadata"][key] for key in ("name", "namespace", "uid")}
        sized = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta, "spec": {"replicas": replicas}}
        return await self._apply(sized, FIELD_MANAGER_REPLICAS)

    async def _apply(self, obj: Object, manager: str) -> Object:
        kind, meta = kind_of(obj), obj["metadata"]
        query = {"fieldManager": manager, "force": "true"}
        return await self._send("apply", kind, "PATCH", kind.path(meta["namespace"], meta["name"]), query, obj, _APPLY)

    async def apply_status(self, obj: Object, status: Object) -> Object:
        """Apply the whole status of an object as it was seen.

        Raises:
            ConflictError: when it has changed since.
        """
        kind, meta = kind_of(obj), obj["metadata"]
        identity = {key: meta[key] for key in ("name", "namespace", "resourceVersion", "uid") if key in meta}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": identity, "status": status}
        path = kind.path(meta["namespace"], meta["name"], "status")
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._send("status", kind, "PATCH", path, query, body, _APPLY)

    async def create(self, obj: Object) -> Object:
        """Create an object that must not exist."""
        kind = kind_of(obj)
        query = {"fieldManager": FIELD_MANAGER}
        return await self._send("create", kind, "POST", kind.path(obj["metadata"]["namespace"]), query, obj)

    async def replace(self, obj: Object) -> Object:
        """Replace an object; its resourceVersion must be the one that was read."""
        kind, meta = kind_of(obj), obj["metadata"]
        return await self._send("replace", kind, "PUT", kind.path(meta["namespace"], meta["name"]), {}, obj)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete just the object with this UID and, in the background, what it controls. Gone already is done."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._send("delete", kind, "DELETE", kind.path(namespace, name), {}, body)
        except NotFoundError:
            return

    async def close(self) -> None:
        """Release the connections."""
        await self._transport.close()

    async def _send(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = _JSON,
    ) -> Object:
        # The Lease goes first: a leader must not lose it because it has much to do.
        if kind is not LEASE and (delay := self._limiter.delay()):
            await asyncio.sleep(delay)
        started = time.monotonic()
        code = "none"
        try:
            answer = await self._transport.send(method, path, query or {}, body, content_type, self._seconds)
            code = str(answer.status)
        finally:
            REQUESTS.labels(verb, kind.kind, code).inc()
            LATENCY.labels(verb).observe(time.monotonic() - started)
        if answer.status >= 400:
            raise from_status(answer.status, f"{verb} {path}: {_message(answer.body)}", answer.headers.get("Retry-After"))
        return _object(answer.body, f"{verb} {path}")


def _object(body: bytes, what: str) -> Object:
    """The JSON object of an answer; a proxy's page in its place is no answer."""
    try:
        found = json.loads(body)
    except ValueError as error:
        raise UnavailableError(f"{what}: the answer is not JSON: {body[:100]!r}") from error
    if not isinstance(found, dict):
        raise UnavailableError(f"{what}: the answer is not an object: {body[:100]!r}")
    return found


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])[:1000]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
