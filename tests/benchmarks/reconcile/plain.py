"""A bare client of the API server, no more than a connection pool, and an eye on what is there."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from stationkeeper.api.meta import LABEL_MODEL
from stationkeeper.control.kube.kinds import kind_of

Object = dict[str, Any]
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_BUFFER = 2**21  # bytes of one watch event


class Client:
    """Requests without any logic."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    async def connect(cls, kubeconfig: Path) -> "Client":
        settings = Configuration()
        await config.load_kube_config(str(kubeconfig), client_configuration=settings)
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        context.load_cert_chain(settings.cert_file, settings.key_file)
        connector = aiohttp.TCPConnector(ssl=context)
        return cls(aiohttp.ClientSession(settings.host, connector=connector, read_bufsize=_BUFFER))

    async def create(self, obj: Object) -> Object:
        """Create an object that must not exist. Returns it as it is now."""
        body = await self._send("POST", kind_of(obj).path(obj["metadata"]["namespace"]), json.dumps(obj), "application/json")
        found: Object = json.loads(body)
        return found

    async def merge(self, obj: Object, patch: Object, subresource: str | None = None) -> None:
        """Change an object."""
        path = kind_of(obj).path(obj["metadata"]["namespace"], obj["metadata"]["name"], subresource)
        await self._send("PATCH", path, json.dumps(patch), _MERGE)

    async def apply(self, kind: str, namespace: str, name: str, text: str) -> None:
        """Apply an object as the operator does; a Model's is its status."""
        path = kind_of(kind).path(namespace, name, "status" if kind == "Model" else None)
        await self._send("PATCH", f"{path}?fieldManager=stationkeeper&force=true", text, _APPLY)

    async def _send(self, method: str, path: str, text: str, content_type: str) -> bytes:
        async with self._session.request(method, path, data=text, headers={"Content-Type": content_type}) as answer:
            body = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {body[:500]!r}")
            return body

    async def watch(self, kind: str, namespace: str, see: Callable[[Object], None]) -> None:
        """Tell of every object of a kind as it is written, in a namespace that has none yet."""
        version = "0"
        while True:  # the API server ends the watches of those who read too slowly
            query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "3600"}
            timeout = aiohttp.ClientTimeout(total=None)
            async with self._session.get(kind_of(kind).path(namespace), params=query, timeout=timeout) as answer:
                async for line in answer.content:
                    obj = json.loads(line)["object"]
                    version = obj["metadata"]["resourceVersion"]
                    see({**obj, "kind": kind})

    async def close(self) -> None:
        """Release the connections."""
        await self._session.close()


class Observer:
    """Sees all objects of a namespace, whoever wrote them: the one clock of both sides."""

    KINDS = ("Model", "Job", "ModelRevision", "Deployment", "Service", "CronJob")

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self.namespace = client, namespace
        self.objects: dict[str, dict[str, Object]] = {}  # by Model, by kind
        self._there: Callable[[Mapping[str, Object]], bool] = lambda _: False
        self._missing: set[str] = set()
        self._done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._watches = [asyncio.ensure_future(self._client.watch(kind, self.namespace, self._see)) for kind in self.KINDS]
        for watch in self._watches:
            watch.add_done_callback(self._ended)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    def _ended(self, watch: "asyncio.Task[None]") -> None:
        if not watch.cancelled() and not self._done.done():
            self._done.set_exception(watch.exception() or RuntimeError("a watch has ended"))

    def expect(self, names: list[str], there: Callable[[Mapping[str, Object]], bool]) -> "asyncio.Future[float]":
        """When this is so for each of these Models, by `time.perf_counter`."""
        self._there, self._missing = there, set(names)
        self._done = asyncio.get_running_loop().create_future()
        return self._done

    def _see(self, obj: Object) -> None:
        labels = obj["metadata"].get("labels") or {}
        name = obj["metadata"]["name"] if obj["kind"] == "Model" else labels[LABEL_MODEL]
        mine = self.objects.setdefault(name, {})
        mine[obj["kind"]] = obj
        if name in self._missing and self._there(mine):
            self._missing.discard(name)
            if not self._missing:
                self._done.set_result(time.perf_counter())
