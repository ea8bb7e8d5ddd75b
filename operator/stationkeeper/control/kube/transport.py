"""How bytes get to the API server: a small protocol, so that tests need no cluster, and the real one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from stationkeeper.control.kube.errors import UnavailableError


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request and returns its answer, whatever its status."""

    async def send(
        self, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str, seconds: float
    ) -> Answer:
        """Send it. Raises UnavailableError when there is no answer within `seconds`."""
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


def in_cluster() -> bool:
    """Whether this process has a service account of its own and was given no kubeconfig."""
    return "KUBECONFIG" not in os.environ and Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()


def _proxy(url: str) -> str | None:
    """The proxy that the environment (HTTPS_PROXY, NO_PROXY) names for this address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


class KubernetesTransport:
    """Over the Kubernetes client's own connection pool, certificates and credentials."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls) -> "KubernetesTransport":
        """With the service account inside a cluster, else with KUBECONFIG (or its default place)."""
        settings = Configuration()
        # None, not False: the client takes False for the number 0 and then tries for ever, past every deadline of ours. The
        # work queue tries again, with a backoff for each key.
        settings.retries = None
        if in_cluster():
            config.load_incluster_config(client_configuration=settings)
        else:
            await config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
        # Else threads read the environment and ~/.netrc for each request, and a password found there collides with our token.
        settings.client_session_kwargs = {"trust_env": False}
        settings.connection_pool_maxsize = 0  # no limit but the number of workers: the Lease must not wait for a connection
        settings.proxy = settings.proxy or _proxy(settings.host)
        return cls(ApiClient(settings))

    async def send(
        self, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str, seconds: float
    ) -> Answer:
        """Send one request with the client's credentials."""
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": "stationkeeper"}
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
            answer = await self._client.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeout)
            return Answer(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientError, config.ConfigException, TimeoutError, OSError) as error:
            raise UnavailableError(f"{method} {path}: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Release the connections."""
        await self._client.close()
