"""A real API server, etcd and controller manager; no nodes, so tests play the kubelet."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.control_plane import ControlPlane, free_ports
from hack.cluster.paths import REPOSITORY
from hack.cluster.tools import tool

Object = dict[str, Any]


class Cluster:
    """kubectl, and what tests need of it."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._kubectl = str(tool("kubectl"))

    def run(self, *arguments: str, body: Object | None = None) -> subprocess.CompletedProcess[str]:
        command = [self._kubectl, f"--kubeconfig={self.kubeconfig}", *arguments]
        text = json.dumps(body) if body is not None else None
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)

    def __call__(self, *arguments: str, body: Object | None = None) -> str:
        done = self.run(*arguments, body=body)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, obj: Object) -> Object:
        found: Object = json.loads(self("create", "-f", "-", "-o", "json", "--field-manager=test", body=obj))
        return found

    def get(self, kind: str, namespace: str, name: str) -> Object:
        text = self("-n", namespace, "get", kind, name, "-o", "json", "--show-managed-fields", "--ignore-not-found")
        return json.loads(text) if text.strip() else {}

    def list(self, kind: str, namespace: str) -> list[Object]:
        items: list[Object] = json.loads(self("-n", namespace, "get", kind, "-o", "json"))["items"]
        return items

    def set_status(self, kind: str, namespace: str, name: str, status: Object) -> None:
        self("-n", namespace, "patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))

    def wait(self, what: str, ready: Callable[[], Any], seconds: float = 30) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.1)
        return found


class Operator:
    """The operator as a process of its own, which tests may kill."""

    def __init__(self, kubeconfig: Path, log: Path, *flags: str) -> None:
        self._kubeconfig, self.log, self._flags = kubeconfig, log, flags
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Operator":
        command = [sys.executable, "-m", "stationkeeper.control.controllers.main", "--log-format=text", "--drain=1s"]
        command += [f"--health-port={self.port}", "--workloads-image=stationkeeper/workloads:test", *self._flags]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, env=os.environ | {"KUBECONFIG": str(self._kubeconfig)}, stdout=output, stderr=output, cwd=REPOSITORY
            )
        return self

    def wait_ready(self, seconds: float = 40) -> "Operator":
        deadline = time.monotonic() + seconds
        while not self.answers("/readyz"):
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)
        return self

    def answers(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.read().decode() or "ok"
        except OSError:
            return ""

    def requests(self) -> dict[str, float]:
        """Requests so far by verb and kind, but for the Lease's and the lists'."""
        found = {}
        for line in self.answers("/metrics").splitlines():
            if line.startswith("stationkeeper_api_requests_total") and "Lease" not in line and 'verb="list"' not in line:
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # the first run builds the programs, which takes minutes
        plane = ControlPlane.start(tmp_path_factory.mktemp("control-plane"))
    with plane:
        yield plane


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> Cluster:
    found = Cluster(control_plane.kubeconfig)
    found("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    found("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    return found


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"t{abs(hash(request.node.nodeid)) % 10**8}"
    cluster("create", "namespace", name)
    yield name
    cluster("delete", "namespace", name, "--wait=false")


@pytest.fixture
def operator(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    running = Operator(cluster.kubeconfig, tmp_path / "operator.log", "--no-leader-election", f"--namespace={namespace}")
    yield running.start().wait_ready()
    running.stop()
