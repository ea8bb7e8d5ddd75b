"""The Kubernetes client as it is used: every request once, with our deadline and our headers. The server is one of this machine."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from stationkeeper.control.kube import transport
from stationkeeper.control.kube.errors import UnavailableError
from stationkeeper.control.kube.transport import KubernetesTransport, in_cluster

JSON, APPLY = "application/json", "application/apply-patch+yaml"


class Server:
    """Remembers what it was asked, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None, bytes]] = []
        self.status = 200
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path_qs, request.headers.get("Content-Type"), await request.read()))
        if self.status == 0:
            assert request.transport is not None
            request.transport.close()  # cut off in the middle
        return web.Response(status=self.status or 200, body=b'{"kind": "Status"}', headers={"Retry-After": "3"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def client(server, tmp_path, monkeypatch) -> AsyncIterator[KubernetesTransport]:
    """As the operator connects with a kubeconfig."""
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, server.url))
    connected = await KubernetesTransport.connect()
    yield connected
    await connected.close()


def kubeconfig(directory: Path, url: str) -> str:
    named = {
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": "it", "context": {"cluster": "here", "user": "me"}}],
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "it", **named}))
    return str(path)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_request_is_sent_once_whatever_comes_back(server, client, method, status):
    server.status = status
    answer = await client.send(method, "/api/v1/pods/x", {}, None if method == "GET" else {}, JSON, 5)
    assert (answer.status, answer.headers["Retry-After"], answer.body) == (status, "3", b'{"kind": "Status"}')
    assert len(server.asked) == 1, "the work queue is who tries again"


async def test_bodies_and_queries_go_as_they_are(server, client):
    await client.send("PATCH", "/api/v1/pods/x", {"fieldManager": "me", "force": "true"}, {"a": [None, "é"]}, APPLY, 5)
    method, path, content_type, body = server.asked[0]
    assert (method, path, content_type) == ("PATCH", "/api/v1/pods/x?fieldManager=me&force=true", APPLY)
    assert json.loads(body) == {"a": [None, "é"]}


async def test_a_connection_that_is_cut_is_no_answer(server, client):
    server.status = 0
    with pytest.raises(UnavailableError, match="PATCH /api/v1/pods/x: ServerDisconnectedError"):
        await client.send("PATCH", "/api/v1/pods/x", {}, {}, APPLY, 5)


async def test_nobody_there_is_no_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, "http://127.0.0.1:1"))
    lonely = await KubernetesTransport.connect()
    with pytest.raises(UnavailableError, match="GET /x: ClientConnectorError"):
        await lonely.send("GET", "/x", {}, None, JSON, 5)
    await lonely.close()


async def test_a_deadline_that_passes_is_no_answer(client):
    with pytest.raises(UnavailableError, match="TimeoutError"):
        await client.send("GET", "/x", {}, None, JSON, 1e-9)


async def test_a_token_that_cannot_be_read_now_is_tried_again_later(server):
    def torn(_: Configuration) -> None:
        raise ConfigException("Token file exists but empty.")

    settings = Configuration(host=server.url, api_key={"BearerToken": "old"})
    settings.refresh_api_key_hook = torn
    client = KubernetesTransport(ApiClient(settings))
    with pytest.raises(UnavailableError, match="Token file exists but empty"):
        await client.send("GET", "/x", {}, None, JSON, 5)
    assert server.asked == []
    await client.close()


PROXIES = [
    ("none is named", {}, "https://10.0.0.1:443", None),
    ("one is named", {"HTTPS_PROXY": "http://proxy:3128"}, "https://10.0.0.1:443", "http://proxy:3128"),
    ("this address needs none", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.1"}, "https://10.0.0.1:443", None),
    ("for the other scheme", {"HTTP_PROXY": "http://proxy:3128"}, "https://10.0.0.1:443", None),
]


@pytest.mark.parametrize(("name", "environment", "url", "proxy"), PROXIES, ids=[case[0] for case in PROXIES])
def test_the_proxy_is_found_once(name, environment, url, proxy, monkeypatch):
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert transport._proxy(url) == proxy


async def test_no_request_reads_the_environment_or_the_netrc(server, client, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert (await client.send("GET", "/x", {}, None, JSON, 5)).status == 200


@pytest.mark.parametrize(("token", "given", "inside"), [(True, False, True), (True, True, False), (False, False, False)])
def test_a_kubeconfig_goes_before_the_service_account(token, given, inside, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda _: token)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    if given:
        monkeypatch.setenv("KUBECONFIG", "x")
    assert in_cluster() is inside
