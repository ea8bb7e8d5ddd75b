"""A real server on loopback: it lives before it is ready, drains without a failed request, and leaves captured rows behind."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import DigestMismatch, StoreUnavailable
from stationkeeper.workloads.serving import server
from stationkeeper.workloads.serving.process import Process
from tests.unit.workloads.serving.published import Published, inputs, published
from tests.unit.workloads.serving.test_capture import stored

INFER = "/v2/models/flights/infer"
BODY = json.dumps({"inputs": inputs()}).encode()


@asynccontextmanager
async def running(revision: Published, **options: Any) -> AsyncIterator[tuple[Process, asyncio.Task[None], httpx.AsyncClient]]:
    listener = socket.create_server(("127.0.0.1", 0))
    process = Process(revision.config, lambda: revision.store, listener=listener, **options)
    task = asyncio.create_task(process.run())
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=address, timeout=10) as client:
        try:
            yield process, task, client
        finally:
            process.stop()
            process.stop()
            await asyncio.wait({task}, timeout=20)


async def until_ready(client: httpx.AsyncClient) -> None:
    await until(lambda: client.get("/v2/health/ready"))


async def until(look: Callable[[], Awaitable[httpx.Response]]) -> None:
    """Ask until the answer is 200."""
    deadline = asyncio.get_running_loop().time() + 20
    while (await look()).status_code != 200:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_sigterm_drains_without_a_failed_request_and_flushes_capture() -> None:
    revision = published().fresh(flush_interval="5s")
    answers: list[httpx.Response] = []

    async def client_of_a_service(client: httpx.AsyncClient) -> None:
        """Keeps its connection while it may, and goes to another pod once this one is not ready."""
        while (await client.get("/v2/health/ready")).status_code == 200:
            answers.append(await client.post(INFER, content=BODY))
            if answers[-1].headers.get("connection") == "close":
                answers.append(await client.post(INFER, content=BODY))  # a new connection is still taken

    async with running(revision) as (_process, task, client):
        await until_ready(client)
        clients = [asyncio.create_task(client_of_a_service(client)) for _ in range(4)]
        deadline = asyncio.get_running_loop().time() + 20
        while len(answers) < 20:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*clients), 10)
        during = await client.post(INFER, content=BODY)
        assert (during.status_code, during.headers["connection"]) == (200, "close")
        await asyncio.wait_for(task, 20)
        assert {answer.status_code for answer in answers} == {200}
        with pytest.raises(httpx.ConnectError):
            await client.get("/v2/health/live")
    rows, total = stored(revision.store)
    sent = {answer.json()["id"] for answer in [*answers, during]}
    assert set(rows["request_id"]) == sent
    assert total.rows == rows.height == len(sent)


async def test_a_request_in_flight_at_the_end_is_answered() -> None:
    revision = published().fresh(flush_interval="5s")
    async with running(revision) as (process, task, client):
        await until_ready(client)
        more = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield BODY[:10]
            await more.wait()
            yield BODY[10:]

        request = asyncio.create_task(client.post(INFER, content=slowly()))
        await asyncio.sleep(0.2)
        process.stop()
        await asyncio.sleep(0.8)  # the drain is over, the listener is closed
        more.set()
        assert (await asyncio.wait_for(request, 10)).status_code == 200
        await asyncio.wait_for(task, 20)
    assert stored(revision.store)[0].height == 1


async def test_the_second_signal_hurries() -> None:
    revision = published().fresh(flush_interval="5s")
    slow = Published(
        revision.store, revision.manifest, revision.digest, revision.config.model_copy(update={"drain_seconds": 60.0})
    )
    async with running(slow) as (process, task, client):
        await until_ready(client)
        process.stop()
        await asyncio.sleep(0.1)
        assert not task.done()
        process.stop()
        await asyncio.wait_for(task, 10)


async def test_probes_are_answered_while_the_store_is_away_and_an_end_is_heeded() -> None:
    revision = published().fresh()

    def away(_operation: str, _key: str) -> None:
        raise StoreUnavailable("connection refused")

    revision.store.before = away
    async with running(revision, waits=(60.0,)) as (process, task, client):
        await asyncio.sleep(0.1)
        assert (await client.get("/v2/health/live")).status_code == 200
        assert (await client.get("/v2/health/ready")).status_code == 503
        process.stop()
        await asyncio.wait_for(task, 10)


async def test_a_revision_that_cannot_be_served_ends_the_process_with_its_reason() -> None:
    revision = published().fresh()
    key = keys.manifest(revision.digest)
    revision.store.objects[key] += b" "
    async with running(revision) as (_, task, _client):
        with pytest.raises(DigestMismatch):
            await asyncio.wait_for(task, 10)


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\nx: " + b"a" * 400_000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 60_000, b"GET /" + b"a" * 400_000],
    ids=["long header", "many headers", "long path"],
)
async def test_heads_without_end_are_refused(head: bytes) -> None:
    async with running(published().fresh()) as (_process, _, client):
        await until_ready(client)
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        try:
            writer.write(head)
            await writer.drain()
            answer = await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            answer = b"HTTP/1.1 400 "  # it was closed before everything was sent
        finally:
            writer.close()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert (await client.get("/v2/health/live")).status_code == 200


async def test_a_head_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    async with running(published().fresh()) as (_process, _, client):
        await until_ready(client)
        for start in (b"", b"GET / HT"):
            reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
            writer.write(start)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()


async def test_an_oversized_body_gets_its_413_over_the_wire() -> None:
    async with running(published().fresh()) as (_process, _, client):
        await until_ready(client)
        answer = await client.post(INFER, content=b" " * (17 * 2**20))
        assert (answer.status_code, list(answer.json())) == (413, ["error"])
        assert (await client.post(INFER, content=BODY)).status_code == 200


async def test_answers_do_not_wait_for_acknowledgements() -> None:
    async with running(published().fresh()) as (process, _, client):
        await until_ready(client)
        (connection,) = process._server.server_state.connections
        peer = connection.transport.get_extra_info("socket")
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
