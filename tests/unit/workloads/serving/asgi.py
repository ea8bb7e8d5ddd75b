"""Calls an ASGI application without a server."""

import json
from dataclasses import dataclass
from typing import Any

from stationkeeper.workloads.serving.app import App


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


async def call(
    app: App,
    method: str,
    path: str,
    body: bytes | list[bytes] = b"",
    headers: dict[str, str] | None = None,
    client: tuple[str, int] | None = ("10.0.0.1", 1000),
) -> Answer | None:
    """The application's answer; None when it gave none. A list of bodies comes in as many parts, None means: gone."""
    parts = list(body) if isinstance(body, list) else [body]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not parts or parts[0] is None:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
        "client": client,
    }
    await app(scope, receive, send)
    if not sent:
        return None
    start, *rest = sent
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message["body"] for message in rest),
    )
