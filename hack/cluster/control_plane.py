"""A control plane without nodes: etcd, kube-apiserver, kube-controller-manager on free loopback ports, for any user.

with ControlPlane.start(directory) as plane:
    plane.kubeconfig, plane.url
"""

import os
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from hack.cluster import components
from hack.cluster.components import Addresses, Credentials
from hack.cluster.process import Component
from hack.cluster.say import wait
from hack.cluster.tools import tool


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for handle in sockets:
            handle.bind(("127.0.0.1", 0))
        return [handle.getsockname()[1] for handle in sockets]
    finally:
        for handle in sockets:
            handle.close()


def asset(program: str) -> Path:
    """A program from KUBEBUILDER_ASSETS where that has it, else our own."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / program).exists():
        return Path(assets) / program
    return tool(program)


def ready(url: str, credentials: Credentials) -> bool:
    """Whether the API server says that it is ready."""
    context = ssl.create_default_context(cafile=str(credentials.authority.certificate))
    context.load_cert_chain(credentials.kubelet_client.certificate, credentials.kubelet_client.key)
    try:
        with urllib.request.urlopen(f"{url}/readyz", context=context, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@dataclass
class ControlPlane:
    """A running control plane."""

    directory: Path
    url: str
    kubeconfig: Path
    running: list[Component] = field(default_factory=list)

    @classmethod
    def start(cls, directory: Path, *, tied: bool = True, seconds: float = 120) -> "ControlPlane":
        """Bring it up in `directory`, which starts empty. `tied`: it dies with this process.

        Raises:
            ClusterError: when a program ends or does not become ready; the message has the end of its log.
        """
        for stale in ("etcd", "pki"):  # a new control plane on new ports: nothing of an old one fits
            shutil.rmtree(directory / stale, ignore_errors=True)
        port, etcd_port, peer_port = free_ports(3)
        addresses = Addresses("127.0.0.1", port, etcd_port, peer_port, "10.96.0.0/16", "10.96.0.1")
        credentials = Credentials.create(directory / "pki", addresses)
        kubeconfig = credentials.authority.kubeconfig(directory / "kubeconfig", addresses.url, "admin", ["system:masters"])
        plane = cls(directory, addresses.url, kubeconfig)
        programs = {name: asset(name) for name in ("etcd", "kube-apiserver", "kube-controller-manager")}
        logs = directory / "logs"
        try:
            data = directory / "etcd"
            flags = components.etcd(data, addresses, credentials)
            plane.running.append(Component.start("etcd", programs["etcd"], flags, logs, tied=tied))
            flags = components.kube_apiserver(addresses, credentials)
            plane.running.append(Component.start("kube-apiserver", programs["kube-apiserver"], flags, logs, tied=tied))
            wait("waiting for kube-apiserver", lambda: ready(plane.url, credentials), seconds, plane.check)
            manager = credentials.authority.kubeconfig(
                directory / "controller-manager.kubeconfig", addresses.url, "system:kube-controller-manager"
            )
            flags = components.kube_controller_manager(manager, credentials)
            program = programs["kube-controller-manager"]
            plane.running.append(Component.start("kube-controller-manager", program, flags, logs, tied=tied))
        except BaseException:
            plane.stop()
            raise
        return plane

    def check(self) -> None:
        """Raise when a program has ended."""
        for component in self.running:
            component.check()

    def stop(self) -> None:
        """End it: the API server before etcd, without which it never finishes its own shutdown."""
        for component in reversed(self.running):
            component.stop()
        self.running.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
