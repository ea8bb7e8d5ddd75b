"""Traefik as a Gateway of the cluster: a process on this machine, for the node's pods are reached from it."""

import http.client
import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster.control_plane import free_ports
from hack.cluster.paths import REPOSITORY
from hack.cluster.tools import tool
from hack.demo.kube import Kube

GATEWAY = "public"
_MODULE = REPOSITORY / "hack/tools/traefik"  # its go.mod pins the CRDs too
_CONTROLLER = "traefik.io/gateway-controller"


def install_api(kube: Kube) -> None:
    """The CRDs of the Gateway API, as the module that Traefik is built with has them."""
    command = ["go", "mod", "download", "-json", "sigs.k8s.io/gateway-api"]
    done = subprocess.run(command, cwd=_MODULE, capture_output=True, text=True, check=True, timeout=300)
    found = sorted(Path(json.loads(done.stdout)["Dir"], "config/crd/standard").glob("gateway.networking.k8s.io_*.yaml"))
    assert found, "the module has the CRDs"
    kube.apply(*found)
    kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/httproutes.gateway.networking.k8s.io")


def remove_api(kube: Kube) -> None:
    """The cluster has no Gateway API."""
    found = kube.kubectl("get", "crd", "-o", "name").split()
    ours = [name for name in found if name.endswith(".gateway.networking.k8s.io")]
    if ours:
        kube.kubectl("delete", *ours, "--wait=true")


@contextmanager
def running(kube: Kube, kubeconfig: Path, namespace: str, log: Path) -> Iterator[int]:
    """Traefik, and a Gateway of it that routes from its own namespace may use. Gives the port that it listens on."""
    (port,) = free_ports(1)
    listener = {"name": "web", "protocol": "HTTP", "port": port, "allowedRoutes": {"namespaces": {"from": "Same"}}}
    gateway_class = {"metadata": {"name": "traefik"}, "spec": {"controllerName": _CONTROLLER}}
    gateway = {"metadata": {"name": GATEWAY, "namespace": namespace}, "spec": {"gatewayClassName": "traefik"}}
    gateway["spec"] |= {"listeners": [listener]}
    for kind, obj in (("GatewayClass", gateway_class), ("Gateway", gateway)):
        text = json.dumps({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, **obj})
        kube.kubectl("apply", "--server-side", "-f", "-", text=text)
    flags = [
        f"--entrypoints.web.address=127.0.0.1:{port}",
        "--providers.kubernetesgateway=true",
        "--providers.kubernetesgateway.statusaddress.ip=127.0.0.1",
        "--log.level=INFO",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    with log.open("wb") as output:
        process = subprocess.Popen([str(tool("traefik")), *flags], env=environment, stdout=output, stderr=output)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(30)


@dataclass(frozen=True)
class Seen:
    """What the prober has counted since a moment."""

    sent: int
    revisions: Counter[str]
    failures: Counter[str]

    def minus(self, before: "Seen") -> "Seen":
        """What came since."""
        return Seen(self.sent - before.sent, self.revisions - before.revisions, self.failures - before.failures)

    def share(self, revision: int) -> float:
        """The part of the requests that a revision has answered."""
        return self.revisions[str(revision)] / max(self.sent, 1)


class Prober:
    """Asks at a constant rate over kept connections; a failure is counted, never repeated."""

    def __init__(self, port: int, path: str, bodies: list[bytes], rate: float = 20, workers: int = 4) -> None:
        self._address, self._path, self._bodies = ("127.0.0.1", port), path, bodies
        self._gap = workers / rate
        self._sent, self._revisions, self._failures = 0, Counter[str](), Counter[str]()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(workers)]

    def __enter__(self) -> "Prober":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def seen(self) -> Seen:
        with self._lock:
            return Seen(self._sent, Counter(self._revisions), Counter(self._failures))

    def _run(self, worker: int) -> None:
        connection: http.client.HTTPConnection | None = None
        position, due = worker, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._gap
            connection = self._ask(connection, self._bodies[position % len(self._bodies)])
            position += len(self._threads)
        if connection:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection | None, body: bytes) -> http.client.HTTPConnection | None:
        revision, failure = "", ""
        try:
            connection = connection or http.client.HTTPConnection(*self._address, timeout=20)
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            revision = answer.getheader("x-stationkeeper-revision") or ""
            if answer.status != 200:
                failure = f"{answer.status} {text[:100].decode(errors='replace')}"
            if answer.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            failure = f"{type(error).__name__}: {error}"
            if connection:
                connection.close()
            connection = None
        with self._lock:
            self._sent += 1
            self._revisions.update([revision] if revision else [])
            self._failures.update([failure] if failure else [])
        return connection
