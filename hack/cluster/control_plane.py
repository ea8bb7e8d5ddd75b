"""A control plane without nodes: etcd, kube-apiserver, kube-controller-manager on free loopback ports, for any user.

with ControlPlane.start(directory) as plane:
    plane.kubeconfig, plane.url
"""

import os
import shutil
import socket
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from hack.cluster import components
from hack.cluster.api import DEFAULT_SERVICE_ACCOUNT, answers
from hack.cluster.components import Addresses, Credentials
from hack.cluster.process import Component
from hack.cluster.say import ClusterError, say, wait
from hack.cluster.tools import tool

_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")


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
        return (Path(assets) / program).resolve()
    return tool(program)


@dataclass
class ControlPlane:
    """A running control plane."""

    directory: Path
    url: str
    kubeconfig: Path
    running: list[Component] = field(default_factory=list)

    @classmethod
    def start(cls, directory: Path, *, tied: bool = True, seconds: float = 180) -> "ControlPlane":
        """Bring a new one up in `directory`. `tied`: it dies with the thread that calls this; else only by `stop`.

        Raises:
            ClusterError: when a program ends or does not become ready; the message has the end of its log.
        """
        directory = directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        programs = {name: asset(name) for name in _PROGRAMS}
        for _ in range(2):
            try:
                return cls._start(directory, programs, tied=tied, seconds=seconds)
            except ClusterError as error:
                # A port that was free when we chose it may be taken before the program listens.
                if "address already in use" not in str(error):
                    raise
                say("a chosen port was taken meanwhile; trying others")
        return cls._start(directory, programs, tied=tied, seconds=seconds)

    @classmethod
    def _start(cls, directory: Path, programs: dict[str, Path], *, tied: bool, seconds: float) -> "ControlPlane":
        for stale in ("etcd", "pki", "logs"):  # a new control plane on new ports: nothing of an old one fits
            shutil.rmtree(directory / stale, ignore_errors=True)
        port, etcd_port, peer_port = free_ports(3)
        addresses = Addresses("127.0.0.1", port, etcd_port, peer_port, "10.96.0.0/16", "10.96.0.1")
        credentials = Credentials.create(directory / "pki", addresses)
        kubeconfig = credentials.authority.kubeconfig(directory / "kubeconfig", addresses.url, "admin", ["system:masters"])
        plane = cls(directory, addresses.url, kubeconfig)
        try:
            plane._run(programs, addresses, credentials, tied=tied, seconds=seconds)
        except BaseException:
            plane.stop()
            raise
        return plane

    def _run(
        self, programs: dict[str, Path], addresses: Addresses, credentials: Credentials, *, tied: bool, seconds: float
    ) -> None:
        logs = self.directory / "logs"
        manager = credentials.authority.kubeconfig(
            self.directory / "kube-controller-manager.kubeconfig", self.url, "system:kube-controller-manager"
        )
        plugins = self.directory / "volume-plugins"
        flags = {
            "etcd": components.etcd(self.directory / "etcd", addresses, credentials),
            "kube-apiserver": components.kube_apiserver(addresses, credentials),
            "kube-controller-manager": components.kube_controller_manager(manager, credentials, plugins),
        }
        ready = {
            "kube-apiserver": "/readyz",
            # Pods cannot be made before it is there, and a test that makes one should not have to know.
            "kube-controller-manager": DEFAULT_SERVICE_ACCOUNT,
        }
        for name, program in programs.items():
            component = Component.start(name, program, flags[name], logs, tied=tied)
            self.running.append(component)
            if path := ready.get(name):
                asked = partial(answers, self.url, self.directory / "pki", path)
                wait(f"waiting for {name}", asked, seconds, check=self.check, log=component.log)

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
