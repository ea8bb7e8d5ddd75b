"""When a kept-alive connection has lived long enough.

A pooled connection stays on the pod it was opened to whatever a Service selects, so a promotion would mean nothing to its
client. Connections are asked to close after a maximum age, and at once while the pod drains.
"""

from collections import OrderedDict
from typing import Any, Final

MAX_AGE: Final = 20.0  # seconds
MAX_TRACKED: Final = 8192


class Connections:
    """First sight of each client address. Bounded: beyond it the longest unseen is forgotten and starts anew."""

    def __init__(self, max_age: float = MAX_AGE, limit: int = MAX_TRACKED) -> None:
        self._max_age = max_age
        self._limit = limit
        self._seen: OrderedDict[Any, float] = OrderedDict()

    def expired(self, client: Any, now: float) -> bool:
        """Whether the answer to this client closes its connection; `now` is a monotonic time in seconds."""
        if client is None:
            return False
        first = self._seen.setdefault(client, now)
        if now - first >= self._max_age:
            del self._seen[client]  # the next connection from this port is a new one
            return True
        self._seen.move_to_end(client)
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return False

    def closed(self, client: Any) -> None:
        """The connection is being closed for another reason."""
        self._seen.pop(client, None)

    def __len__(self) -> int:
        return len(self._seen)
