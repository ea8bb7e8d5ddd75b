"""The local cluster: a second one beside any other serves pods as a real one does, and leaves nothing behind when it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hack.cluster.host import install_packages
from hack.cluster.image import write_archive
from hack.cluster.paths import REPOSITORY
from hack.cluster.process import Identity
from hack.cluster.state import State
from hack.cluster.tools import tool
from tests.e2e.place import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a node needs root"),
]

NAME = "lifecycle"
IMAGE = "stationkeeper/lifecycle:dev"
APPLETS = ("sh", "cat", "echo", "httpd", "id", "nslookup", "wget")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: web
    image: stationkeeper/lifecycle:dev
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo hello > /www/index.html; echo started; exec httpd -f -p 8080 -h /www"]
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 64Mi}}
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: www, mountPath: /www}]
  volumes: [{name: www, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: tick, image: "stationkeeper/lifecycle:dev", imagePullPolicy: IfNotPresent, command: [echo, tick]}]
"""
KERNEL_SETTINGS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")


@dataclass(frozen=True)
class Cluster:
    """A cluster under test, and what the machine was like before it."""

    directory: Path
    name: str
    before: dict[str, list[str]]
    said: str = ""  # by the first `up`, on stderr

    def run(self, *args: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """One call of the tool, as a user makes it."""
        verb, *rest = args
        environment = {key: value for key, value in os.environ.items() if key != "USE_EXISTING_CLUSTER"}
        command = [sys.executable, "-m", "hack.cluster", verb, f"--name={self.name}", f"--dir={self.directory}", *rest]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=2400, check=False)
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    def kubectl(self, *args: str, text: str | None = None) -> str:
        """Ask the cluster."""
        command = [str(tool("kubectl")), f"--kubeconfig={self.directory / 'kubeconfig'}", *args]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self) -> dict[str, Identity]:
        """The processes that hold it."""
        said = json.loads((self.directory / "cluster.json").read_text())["processes"]
        return {name: Identity(**process) for name, process in said.items()}


def machine(name: str) -> dict[str, list[str]]:
    """What a cluster could leave behind on this machine; of cgroups and kept directories, what bears its name."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/*") if path.is_dir()]
    cgroups += [str(path) for path in Path("/sys/fs/cgroup").glob("*") if path.is_dir()]
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
    return {
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "routes": sorted(subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()),
        "network namespaces": subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout.splitlines(),
        "mounts": sorted(line.split(" ", 4)[4] for line in mounts),
        "iptables": sorted(re.sub(r"\[\d+:\d+\]", "", line) for line in rules.splitlines() if not line.startswith("#")),
        "cgroups": sorted(path for path in cgroups if name in path or "kubepods" in path),
        "kernel settings": [(Path("/proc/sys") / setting).read_text() for setting in KERNEL_SETTINGS],
        "node directories": sorted(str(path) for place in ("kubelet", "cni") for path in Path("/var/lib", place).rglob("*")),
    }


def namespaces(pid: int) -> set[str]:
    """The namespaces of a process that it does not share with us."""
    kinds = ("pid", "mnt", "net", "uts", "ipc")
    theirs = {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}
    return theirs - {os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}


def inhabitants(spaces: set[str]) -> list[str]:
    """Every process of the machine that is in one of these namespaces."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in spaces for link in (process / "ns").iterdir()):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended while we looked
    return found


def fetch(url: str) -> str:
    """What a URL answers, asked without a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A whole node, beside any other that runs here, with one pod that serves."""
    install_packages()  # they stay, as `up` says; and without iproute2 there is nothing to compare by
    before = machine(NAME)
    cluster = Cluster(tmp_path_factory.mktemp("node"), NAME, before)
    try:
        said = cluster.run("up")
        assert said.stdout == f"export KUBECONFIG={cluster.directory / 'kubeconfig'}\n"
        cluster.run("load", str(busybox(cluster.directory)))
        cluster.kubectl("apply", "-f", "-", text=POD)
        cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=180s")
        yield replace(cluster, said=said.stderr)
    finally:
        cluster.run("down")


def busybox(directory: Path) -> Path:
    """An image for tests, of the machine's own static busybox."""
    program = Path("/bin/busybox")
    if not program.exists():
        pytest.skip("needs busybox (Debian: busybox-static)")
    path = directory / "busybox.tar"
    write_archive(
        path,
        IMAGE,
        {"bin/busybox": program.read_bytes()},
        ["/bin/busybox"],
        links=dict.fromkeys((f"bin/{name}" for name in APPLETS), "busybox"),
    )
    return path


def test_up_says_what_it_does_to_the_machine_and_status_what_runs(node: Cluster) -> None:
    link = (set(machine(NAME)["links"]) - set(node.before["links"])).pop()
    assert f"machine: cgroup /stationkeeper-{NAME}" in node.said
    assert f"machine: link {link}" in node.said
    assert "in its own pid, mount, network, uts and ipc namespaces" in node.said
    status = node.run("status")
    assert re.search(rf"node {NAME} +Ready", status.stdout)
    assert re.search(r"kubelet +running", status.stdout)


def test_a_pod_is_confined_and_finds_services_by_name(node: Cluster) -> None:
    script = (
        "id -u; grep Seccomp: /proc/1/status; wget -qO- http://front; nslookup front.default.svc.cluster.local | grep -c Name"
    )
    said = node.kubectl("exec", "web", "--", "sh", "-c", script.replace("grep", "busybox grep"))
    assert said.split() == ["65532", "Seccomp:", "2", "hello", "1"]


def test_the_machine_reaches_pods_and_services(node: Cluster) -> None:
    pod = node.kubectl("get", "pod", "web", "-o", "jsonpath={.status.podIP}")
    service = node.kubectl("get", "service", "front", "-o", "jsonpath={.spec.clusterIP}")
    assert fetch(f"http://{pod}:8080/") == "hello\n"
    assert fetch(f"http://{service}/") == "hello\n"


def test_logs_and_port_forward_work(node: Cluster) -> None:
    assert node.kubectl("logs", "web") == "started\n"
    command = [str(tool("kubectl")), f"--kubeconfig={node.directory / 'kubeconfig'}", "port-forward", "pod/web", ":8080"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout
        port = re.search(r":(\d+) ->", forward.stdout.readline())
        assert port
        assert fetch(f"http://127.0.0.1:{port[1]}/") == "hello\n"
        forward.terminate()


def test_a_cron_job_runs_its_pod_to_the_end(node: Cluster) -> None:
    node.kubectl("create", "job", "--from=cronjob/tick", "now")
    node.kubectl("wait", "--for=condition=Complete", "job/now", "--timeout=180s")
    assert node.kubectl("logs", "job/now") == "tick\n"


def test_up_again_keeps_what_runs(node: Cluster) -> None:
    held = node.processes()
    node.run("up")
    assert node.processes() == held
    assert fetch("http://" + node.kubectl("get", "service", "front", "-o", "jsonpath={.spec.clusterIP}")) == "hello\n"


def test_down_leaves_nothing_behind(node: Cluster) -> None:
    spaces = namespaces(node.processes()["init"].pid)
    assert len(spaces) == 5
    assert len(inhabitants(spaces)) > 8
    held = [process.pid for process in node.processes().values()]
    node.run("down")
    assert [pid for pid in held if Path("/proc", str(pid)).exists()] == []  # nor a zombie that `ps` would show
    assert inhabitants(spaces) == []
    after = machine(NAME)
    for what, before in node.before.items():
        assert after[what] == before, what
    assert {path.name for path in node.directory.iterdir()} == {"logs", ".lock", "busybox.tar"}
    assert node.run("status", ok=False).returncode == 1
    node.run("down")


def test_status_of_what_is_gone_only_reads(tmp_path: Path) -> None:
    gone = Cluster(tmp_path, "lifecycle-gone", {})
    ended = {"etcd": Identity(pid=1, start="never")}
    State(gone.name, "control-plane", "https://127.0.0.1:1", ended).save(tmp_path)
    assert gone.run("status", ok=False).returncode == 1
    # Certificates made by a look would not fit those of a cluster that is just being brought up.
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]


def test_a_killed_up_goes_on_and_a_killed_node_leaves_nothing_behind(tmp_path: Path) -> None:
    name = "lifecycle-crash"
    broken = Cluster(tmp_path, name, machine(name))
    command = [sys.executable, "-m", "hack.cluster", "up", f"--name={name}", f"--dir={tmp_path}"]
    environment = {key: value for key, value in os.environ.items() if key != "USE_EXISTING_CLUSTER"}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first:
        assert eventually((tmp_path / "cluster.json").exists)
        first.kill()
    try:
        broken.run("up")
        assert broken.run("status").returncode == 0
        spaces = namespaces(broken.processes()["init"].pid)
        os.kill(broken.processes()["init"].pid, signal.SIGKILL)
        assert eventually(lambda: inhabitants(spaces) == [])
        assert broken.run("status", ok=False).returncode == 1
    finally:
        broken.run("down")
    after = machine(name)
    for what, before in broken.before.items():
        assert after[what] == before, what


def test_a_control_plane_alone_survives_the_call_and_a_crash_of_its_parts(tmp_path: Path) -> None:
    plane = Cluster(tmp_path / "plane", "lifecycle-plane", {})
    plane.run("up", "--control-plane-only")
    try:
        assert plane.kubectl("get", "--raw", "/readyz") == "ok"
        plane.run("status")
        held = plane.processes()
        held["kube-apiserver"].end()
        assert plane.run("status", ok=False).returncode == 1
    finally:
        plane.run("down")
    assert not any(process.alive for process in held.values())
