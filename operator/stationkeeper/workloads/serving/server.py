"""The HTTP side of the server: the listening socket, and uvicorn with bounds that it does not have itself."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 75  # longer than clients keep idle connections, so that they close first
BACKLOG: Final = 2048


class Bounded(HttpToolsProtocol):
    """A connection whose request heads are bounded in size and in the time they take to arrive."""

    _in_head = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is awaited from here on."""
        super().connection_made(transport)
        # asyncio does this itself only where the listening socket names its protocol, which `create_server` does not do.
        # Without it, head and body of an answer, written apart, wait 40 ms for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._disarm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._in_head = False
        self._disarm()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Some bytes have come."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response(f"the head of the request is over the limit of {MAX_HEAD_BYTES} bytes")
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process around it drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def server(app: Any, graceful_seconds: int) -> Server:
    """A server for an ASGI application. `graceful_seconds`: how long requests in flight may take at the end."""
    return Server(
        uvicorn.Config(
            app,
            http=Bounded,
            ws="none",
            loop="asyncio",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=graceful_seconds,
        )
    )


def listen(port: int) -> socket.socket:
    """A socket that listens on every address, of both families where the machine has them.

    Raises:
        OSError: when the port is taken.
    """
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # a machine with IPv6 compiled in and switched off
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)
