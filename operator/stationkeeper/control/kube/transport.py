"""How bytes get to the API server: a small protocol, so that tests need no cluster, and the real one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

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


class KubernetesTransport:
    """Over the Kubernetes client's own connection pool, certificates and credentials."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls) -> "KubernetesTransport":
        """With the service account inside a cluster, else with KUBECONFIG (or its default place)."""
        settings = Configuration()
        settings.retries = False  # the work queue tries again, with a backoff for each key
        if in_cluster():
            config.load_incluster_config(client_configuration=settings)
        else:
            await config.load_kube_config(client_configuration=settings)
        return cls(ApiClient(settings))

    async def send(
        self, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str, seconds: float
    ) -> Answer:
        """Send one request with the client's credentials."""
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": "stationkeeper"}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            answer = await self._client.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeout)
            return Answer(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"{method} {path}: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Release the connections."""
        await self._client.close()
