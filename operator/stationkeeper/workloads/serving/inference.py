"""One inference request: read the body, validate, predict, render, remember."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from stationkeeper.api.meta import HEADER_REPLAY
from stationkeeper.workloads.artifacts.columns import ColumnError
from stationkeeper.workloads.artifacts.outputs import kept
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.serving import answers
from stationkeeper.workloads.serving.metrics import Metrics
from stationkeeper.workloads.serving.protocol import MAX_BODY_BYTES, InferRequest, ProtocolError, SchemaError, parse
from stationkeeper.workloads.serving.state import Served, State

log = logging.getLogger(__name__)

_REPLAY: Final = HEADER_REPLAY.encode()

Headers = Mapping[bytes, bytes]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

INLINE_BYTES: Final = 32 * 1024  # a larger body goes to the thread, so that health and small requests do not wait for it
BODY_SECONDS: Final = 30.0
DISCARD_SECONDS: Final = 5.0
_MAX_HELD: Final = 2 * MAX_BODY_BYTES  # bodies in flight; beyond it the pod says 503 instead of running out of memory
_MAX_DISCARDED: Final = 4 * MAX_BODY_BYTES


class Disconnected(Exception):  # noqa: N818 - the name says what is so
    """The client has gone; nobody waits for an answer."""


class _UnreadError(ProtocolError):
    """Refused before the body was read to its end, so the connection cannot be used again."""

    at_end = False  # it happens that it was the last part


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP."""

    status: int
    body: bytes
    close: bool = False  # the connection cannot be used again
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    request_id: str | None = None  # where the body of the request names one


class Inference:
    """Answers inference requests: small ones on the event loop, large ones one after the other in a thread."""

    def __init__(self, state: State, metrics: Metrics, uid: str = "") -> None:
        self._state = state
        self._uid = uid.encode()  # of the Model
        self._metrics = metrics
        self._held = 0  # bytes of bodies in flight
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    async def answer(self, headers: Headers, request_id: str, arrived: float, receive: Receive) -> Reply:
        """Read a request's body and answer it.

        Raises:
            Disconnected: when the client has gone before the body was read.
        """
        body = bytearray()
        try:
            served = self._acceptable(headers)
            await self._receive(body, receive)
            answer = partial(self.respond, replayed=self._is_replayed(headers))
            if len(body) <= INLINE_BYTES:
                return answer(served, body, request_id, arrived)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, answer, served, body, request_id, arrived)
        except _UnreadError as refusal:
            if not refusal.at_end:
                await _discard(headers, receive)
            return self._refusal(refusal, close=True)
        finally:
            self._held -= len(body)

    def respond(
        self, served: Served, body: bytes | bytearray, request_id: str, arrived: float, *, replayed: bool = False
    ) -> Reply:
        """Answer a body. Whatever is in it, this returns a reply. A request that is `replayed` is answered and not captured."""
        try:
            request = parse(body, served.contract)
        except SchemaError as refusal:
            if (recorder := self._state.recorder) and not replayed:
                recorder.refused(arrived, refusal.missing, refusal.mismatched, refusal.rows, refusal.told)
            return self._refusal(refusal, cause="schema")
        except ProtocolError as refusal:
            return self._refusal(refusal)
        request_id = request.id or request_id
        try:
            predictions = served.predictor.predict(request.columns)
            text = served.renderer.response(request_id, predictions, request.outputs)
        except ColumnError as error:  # a model that was made elsewhere may take less than a request may hold
            return self._refusal(ProtocolError(f"inputs: {error}"))
        except Exception:  # a model can fail in any way; the pod goes on with the next request
            log.exception("the model failed on request %s of %d rows", request_id, request.rows)
            self._metrics.errors.labels("model").inc()
            return Reply(500, answers.error(f"the model failed on this request; see the log, id {request_id}"))
        self._metrics.answered(request.rows, predictions)
        if not replayed:
            self._remember(served, request, request_id, arrived, predictions, len(body))
        return Reply(200, text, request_id=request_id)

    def _remember(
        self, served: Served, request: InferRequest, request_id: str, arrived: float, predictions: Predictions, size: int
    ) -> None:
        if recorder := self._state.recorder:
            outputs = kept(served.manifest, predictions)
            recorder.answered(request_id, arrived, request.columns, outputs, request.extra, size, request.told)

    def _is_replayed(self, headers: Headers) -> bool:
        """Whether it repeats a request that another revision has captured, for a comparison. Clients do not know the UID."""
        return bool(self._uid) and headers.get(_REPLAY) == self._uid

    def _acceptable(self, headers: Headers) -> Served:
        """The revision to ask, when the head of the request allows it."""
        served = self._state.served
        if served is None:
            raise _UnreadError(self._state.problem, 503)
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _UnreadError("content-encoding: compressed bodies are not supported; send plain JSON")
        if b"inference-header-content-length" in headers:
            raise _UnreadError("binary tensors are not supported; send the data as JSON")
        if _declared(headers) > MAX_BODY_BYTES:
            raise _too_large()
        return served

    async def _receive(self, body: bytearray, receive: Receive) -> None:
        more = True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    more = message.get("more_body", False)
                    self._take(body, message.get("body", b""))
        except TimeoutError:
            late = _UnreadError(f"the body did not arrive within {BODY_SECONDS:.0f} seconds", 408)
            late.at_end = True  # nothing comes, so there is nothing to wait for
            raise late from None
        except _UnreadError as refusal:
            refusal.at_end = not more
            raise

    def _take(self, body: bytearray, chunk: bytes) -> None:
        if len(body) + len(chunk) > MAX_BODY_BYTES:
            raise _too_large()
        if self._held + len(chunk) > _MAX_HELD:
            raise _UnreadError("too many large requests at once; try again", 503)
        body += chunk
        self._held += len(chunk)

    def _refusal(self, refusal: ProtocolError, *, close: bool = False, cause: str = "invalid") -> Reply:
        busy = refusal.status == 503
        self._metrics.errors.labels("unavailable" if busy else cause).inc()
        headers = ((b"retry-after", b"1"),) if busy else ()
        return Reply(refusal.status, answers.error(str(refusal)), close=close, headers=headers)

    def close(self) -> None:
        """Wait for the request in the thread, if any."""
        self._thread.shutdown(wait=True)


def _declared(headers: Headers) -> int:
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() and len(text) < 20 else 0


def _too_large() -> _UnreadError:
    return _UnreadError(f"the body is over the limit of {MAX_BODY_BYTES} bytes; send fewer rows a request", 413)


async def _discard(headers: Headers, receive: Receive) -> None:
    """Read what the client still sends: closing on unread bytes resets the connection, and the answer would be lost."""
    if b"expect" in headers:
        return  # it waits for our word before it sends
    left = _MAX_DISCARDED
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
