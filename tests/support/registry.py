"""An image registry: manifests by tag and by digest, blobs, and tokens for whoever may have them."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "let-me-in"


class FakeRegistry:
    """Its state, which tests change; `log` lists what was asked, as `(method, path, authorization)`."""

    def __init__(self) -> None:
        self.host = ""
        self.tags: dict[str, bytes] = {}  # manifests by `name:tag`
        self.manifests: dict[str, bytes] = {}  # by digest, also of tags that have moved on
        self.blobs: dict[str, Callable[[], bytes]] = {}  # configurations and layers by digest
        self.auth: str | None = None  # None, "bearer" or "basic"
        self.user: str | None = None  # `user:password` that the token service, or the registry itself, wants; None: anybody
        self.tells_digest = True
        self.knows_head = True
        self.realm: str | None = None  # in place of its own token service
        self.token: object = TOKEN
        self.failing: int | None = None  # status that everything is answered with
        self.log: list[tuple[str, str, str | None]] = []

    def push(self, image: str, manifest: bytes) -> str:
        """Put a manifest under `name:tag`; returns its digest."""
        self.tags[image] = self.manifests[digest(manifest)] = manifest
        return digest(manifest)

    def answer(self, method: str, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        self.log.append((method, path, authorization))
        if self.failing:
            return self.failing, {"Location": "http://127.0.0.1:1/elsewhere"}, b""
        basic = f"Basic {base64.b64encode((self.user or '').encode()).decode()}"
        url = urlsplit(path)
        if url.path == "/token":
            asked = parse_qs(url.query)
            assert asked["service"] == ["the registry"]
            assert asked["scope"] == ["repository:ops/trainer:pull"]
            if self.user and authorization != basic:
                return 401, {}, b""
            return 200, {}, json.dumps({"token": self.token}).encode()
        if self.auth and authorization != (basic if self.auth == "basic" else f"Bearer {TOKEN}"):
            return 401, {"WWW-Authenticate": self._challenge()}, b""
        place, _, wanted = url.path.removeprefix("/v2/").rpartition("/")
        name, _, kind = place.rpartition("/")
        if kind == "blobs" and wanted in self.blobs:
            return 200, {}, self.blobs[wanted]()
        manifest = self.manifests.get(wanted) or self.tags.get(f"{name}:{wanted}")
        if manifest is None:
            return 404, {}, b"{}"
        if method == "HEAD" and not self.knows_head:
            return 405, {}, b""
        kinds = {"Content-Type": json.loads(manifest)["mediaType"]} if b"mediaType" in manifest else {}
        return 200, kinds | ({"Docker-Content-Digest": digest(manifest)} if self.tells_digest else {}), manifest

    def _challenge(self) -> str:
        if self.auth == "basic":
            return 'Basic realm="the registry"'
        realm = self.realm or f"http://{self.host}/token"
        return f'Bearer realm="{realm}",service="the registry",scope="repository:ops/trainer:pull"'


def digest(manifest: bytes) -> str:
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


@contextmanager
def serving(address: str = "127.0.0.1") -> Iterator[FakeRegistry]:
    """The registry, on a port of its own of one of the machine's addresses, until the block ends."""
    fake = FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            status, headers, body = fake.answer(self.command, self.path, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = _do  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Tests read `FakeRegistry.log`."""

    server = ThreadingHTTPServer((address, 0), Handler)
    fake.host = f"{address}:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
