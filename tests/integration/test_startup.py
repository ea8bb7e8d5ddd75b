"""An operator that comes too early, and one that was not there: what it did not see is made good."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from hack.cluster.control_plane import ControlPlane
from hack.cluster.paths import REPOSITORY
from tests.integration.conftest import Cluster, Operator
from tests.integration.test_operator import apply_model, bring_up, job, make_ready, pods_of, serving, trainings

pytestmark = pytest.mark.integration


class Wire:
    """The wire between the operator and the API server, which tests cut."""

    def __init__(self, host: str, port: int) -> None:
        self._far = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._cut = False
        self._lines: list[tuple[socket.socket, socket.socket, threading.Event]] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> None:
        """End every connection, and take no new one until `mend`."""
        self._cut = True
        self._hang_up()

    def mend(self) -> None:
        self._cut = False

    def silence(self) -> None:
        """Every connection that there is stays open and carries nothing any more; new ones are as they should be."""
        for _, _, silent in self._lines:
            silent.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._hang_up()
        for thread in self._threads:
            thread.join(10)
        for end in (self._listener, *(end for line in self._lines for end in line[:2])):
            end.close()

    def _hang_up(self) -> None:
        for near, far, _ in self._lines:
            _end(near)
            _end(far)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            far, silent = socket.create_connection(self._far), threading.Event()
            self._lines.append((near, far, silent))
            for pair in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=_pump, args=(*pair, silent)))
                self._threads[-1].start()


def _pump(source: socket.socket, sink: socket.socket, silent: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if not silent.is_set():
                sink.sendall(data)
    _end(sink)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Early:
    """An operator that was started in a cluster without our kinds, and then got them."""

    operator: Operator
    log: str  # up to the moment when the kinds came
    healthy: str
    ready: str


def tries(operator: Operator) -> float:
    """How often it has asked for Models that the API server did not know."""
    lines = operator.answers("/metrics").splitlines()
    unknown = [line for line in lines if 'verb="list"' in line and 'kind="Model"' in line and 'code="404"' in line]
    return float(unknown[0].rpartition(" ")[2]) if unknown else 0.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane that knows nothing of us at first."""
    with ControlPlane.start(tmp_path_factory.mktemp("startup")) as plane:
        yield Cluster(plane.kubeconfig)


@pytest.fixture(scope="module")
def early(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Early]:
    cluster("create", "namespace", "early")
    log = tmp_path_factory.mktemp("early") / "log"
    operator = Operator(cluster.kubeconfig, log, "--no-leader-election", "--namespace=early").start()
    try:
        cluster.wait("three tries", lambda: tries(operator) >= 3)
        found = Early(operator, log.read_text(), operator.answers("/healthz"), operator.answers("/readyz"))
        cluster("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        operator.wait_ready()
        yield found
    finally:
        operator.stop()


def uid(cluster: Cluster, kind: str, namespace: str, name: str) -> str:
    return str(cluster.get(kind, namespace, name).get("metadata", {}).get("uid", ""))


# -- too early ---------------------------------------------------------------------------------------------------------


def test_an_operator_without_its_kinds_lives_and_says_that_it_is_not_ready(early):
    assert early.healthy
    assert not early.ready


def test_it_says_what_it_waits_for_and_calls_it_no_fault(early):
    (said, *_) = [line for line in early.log.splitlines() if "cannot list yet" in line]
    assert "/apis/stationkeeper.dev/v1alpha1/namespaces/early/models" in said
    assert "Traceback" not in early.log
    assert "ERROR" not in early.log


def test_it_says_so_once(early):
    assert early.log.count("cannot list yet") == 1


def test_it_works_once_the_kinds_are_there(cluster, early):
    apply_model(cluster, "early")
    assert job(cluster, "early")
    assert "watching early" in early.operator.log.read_text()


# -- not there ---------------------------------------------------------------------------------------------------------


def test_what_happened_while_the_operator_was_down_is_made_good(cluster, early, namespace, tmp_path):
    operator = Operator(cluster.kubeconfig, tmp_path / "log", "--no-leader-election", f"--namespace={namespace}")
    operator.start().wait_ready()
    try:
        bring_up(cluster, namespace)
        operator.kill()
        (deployment,) = cluster.list("deployments", namespace)
        name, before = deployment["metadata"]["name"], deployment["metadata"]["uid"]
        cluster("-n", namespace, "delete", f"deployment/{name}", "service/flights", "--wait=true")
        operator.start().wait_ready()
        cluster.wait("the Deployment is back", lambda: uid(cluster, "deployment", namespace, name) not in ("", before))
        cluster.wait("its pods", lambda: len(pods_of(cluster, namespace, 1)) == 2)
        make_ready(cluster, namespace, 1)
        cluster.wait("the Service is back", lambda: uid(cluster, "service", namespace, "flights"))
        assert serving(cluster, namespace) == 1
        assert len(trainings(cluster, namespace)) == 1, "nothing was trained again for it"
    finally:
        operator.stop()


@pytest.fixture
def wire(cluster: Cluster) -> Iterator[Wire]:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    address = urlsplit(config["clusters"][0]["cluster"]["server"])
    made = Wire(str(address.hostname), int(address.port or 443))
    yield made
    made.close()


@pytest.fixture
def wired(cluster: Cluster, early: Early, wire: Wire, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    """An operator behind the wire that lists everything anew every two seconds."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    operator = Operator(path, tmp_path / "log", "--no-leader-election", f"--namespace={namespace}", "--resync=2s")
    yield operator.start().wait_ready()
    operator.stop()


def test_what_happened_while_the_wire_was_cut_is_made_good(cluster, namespace, wire, wired):
    bring_up(cluster, namespace)
    wire.cut()
    before = uid(cluster, "service", namespace, "flights")
    cluster("-n", namespace, "delete", "service", "flights", "--wait=true")
    assert not uid(cluster, "service", namespace, "flights")
    wire.mend()
    cluster.wait("the Service is back", lambda: uid(cluster, "service", namespace, "flights") not in ("", before))
    wired.wait_ready()


def test_a_watch_that_has_gone_silent_hides_nothing_for_long(cluster, namespace, wire, wired):
    bring_up(cluster, namespace)
    wire.silence()
    before = uid(cluster, "service", namespace, "flights")
    cluster("-n", namespace, "delete", "service", "flights", "--wait=true")
    # A request on a silent connection takes ten seconds to be given up; the next one makes a new connection.
    cluster.wait("the Service is back", lambda: uid(cluster, "service", namespace, "flights") not in ("", before), 60)
