"""Asks a candidate over HTTP, one request after the other, on one connection."""

import http.client
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from stationkeeper.api.meta import HEADER_REPLAY

log = logging.getLogger(__name__)

_SECONDS: Final = 30.0  # that an answer may take
_BYTES: Final = 64 * 2**20  # that it may have
_TRIES: Final = 4
_PAUSE: Final = 0.5  # seconds before the second try; twice as long before each other
_BUSY: Final = 503


@dataclass(frozen=True)
class Answered:
    """What came of a request; without a status nobody answered."""

    status: int | None
    body: bytes
    seconds: float


class Ask(Protocol):
    """Sends a request's body and says what came of it."""

    def __call__(self, body: bytes) -> Answered:
        """Never raises for what the other side does."""
        ...


class Http:
    """The candidate's own Service. A pod that is busy or away is asked again a few times: it may be another one the next time."""

    def __init__(self, url: str, uid: str, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path
        self._headers = {"Content-Type": "application/json", HEADER_REPLAY: uid}
        self._sleep = sleep
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, body: bytes) -> Answered:
        """See `Ask`."""
        found = Answered(None, b"", 0.0)
        for attempt in range(_TRIES):
            if attempt:
                self._sleep(_PAUSE * 2 ** (attempt - 1))
            found = self._once(body)
            if found.status not in (None, _BUSY):
                return found
        return found

    def _once(self, body: bytes) -> Answered:
        began = time.monotonic()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=_SECONDS)
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read(_BYTES + 1)
            if len(text) > _BYTES or answer.will_close:
                self.close()
            return Answered(answer.status, text[:_BYTES], time.monotonic() - began)
        except (OSError, http.client.HTTPException) as error:
            log.warning("no answer from %s:%d: %s: %s", self._host, self._port, type(error).__name__, error)
            self.close()
            return Answered(None, str(error).encode(), time.monotonic() - began)

    def close(self) -> None:
        """Release the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
