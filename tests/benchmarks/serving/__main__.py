"""One-row requests over kept-alive loopback connections: `python -m tests.benchmarks.serving`.

The server runs in a process of its own with the ONNX model of the unit tests, capture on, a store in memory. The client is a
bare socket loop, so that it costs less than what it measures; both still share the machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import time
from multiprocessing.connection import Connection
from typing import Any

from tests.unit.workloads.serving.published import inputs, published


def serve(listener: socket.socket, form: str, ending: Connection) -> None:
    """The server's process. Reports its own processor time and memory at the end."""
    from stationkeeper.workloads.serving.process import Process

    revision = published(form)

    async def process() -> Process:
        made = Process(revision.config, lambda: revision.store, listener=listener)
        await made.run()
        return made

    made = asyncio.run(process())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    text = made.metrics.render().decode().splitlines()
    captured = [
        line for line in text if line.startswith("stationkeeper_capture") and "_created" not in line and not line.endswith(" 0.0")
    ]
    ending.send((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, captured))


async def connection(port: int, request: bytes, until: float, took: list[float], failed: list[str]) -> None:
    """Ask one request after the other on one connection, and open another when the server closes it."""
    while time.perf_counter() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        closes = False
        while not closes and time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            took.append(time.perf_counter() - began)
            if not head.startswith(b"HTTP/1.1 200"):
                failed.append(head.decode())
            closes = b"connection: close" in head
        writer.close()


async def ready(port: int) -> None:
    """Wait for the model."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        if answer.startswith(b"HTTP/1.1 200"):
            return
        await asyncio.sleep(0.05)


async def load(port: int, connections: int, seconds: float, rows: int) -> dict[str, Any]:
    """Figures of one run."""
    data: dict[str, list[Any]] = {"distance": [500.0], "hour": [17], "carrier": ["AA"], "night": [False]}
    body = json.dumps({"inputs": inputs(**{name: values * rows for name, values in data.items()})}).encode()
    request = b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    took: list[float] = []
    failed: list[str] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(connection(port, request, until, took, failed) for _ in range(connections)))
    took.sort()
    return {
        "connections": connections,
        "rows": rows,
        "requestsPerSecond": round(len(took) / seconds),
        "p50ms": round(took[len(took) // 2] * 1000, 3),
        "p99ms": round(took[len(took) * 99 // 100] * 1000, 3),
        "failed": len(failed),
    }


def main() -> None:
    """Run the benchmark and print a line of JSON for each load."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serving", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each run")
    parser.add_argument("--format", choices=("onnx", "skops"), default="onnx")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    mine, its = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=serve, args=(listener, options.format, its))
    server.start()
    port = listener.getsockname()[1]
    asyncio.run(ready(port))
    for connections, rows in ((1, 1), (8, 1), (8, 100)):
        print(json.dumps(asyncio.run(load(port, connections, options.seconds, rows))))
    server.terminate()
    seconds, megabytes, captured = mine.recv()
    print(json.dumps({"serverCpuSeconds": round(seconds, 1), "serverPeakMiB": round(megabytes), "capture": captured}))
    server.join()


if __name__ == "__main__":
    main()
