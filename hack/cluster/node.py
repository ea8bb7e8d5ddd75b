"""A whole node in namespaces of its own: bring it up, load images into it, take it down. Ending one process ends all."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.cluster import host
from hack.cluster.components import Credentials
from hack.cluster.control_plane import ready
from hack.cluster.image import pause_archive
from hack.cluster.init import addresses
from hack.cluster.network import Ranges, choose
from hack.cluster.nodeconfig import COREDNS_ROLE, Node
from hack.cluster.paths import REPOSITORY, cache
from hack.cluster.process import kill, started_at
from hack.cluster.say import ClusterError, Progress, say, tail, wait
from hack.cluster.tools import tool

_KEPT = {"logs", "cluster.json"}


@dataclass(frozen=True)
class State:
    """What is known of a running node: enough to end it and nothing else."""

    name: str
    pid: int  # of `unshare`, outside
    start: str  # with the pid its identity
    block: int
    link: str

    @classmethod
    def load(cls, directory: Path) -> "State | None":
        """The state that was written, if any."""
        path = directory / "cluster.json"
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def save(self, directory: Path) -> None:
        """Write it, whole or not at all."""
        partial = directory / "cluster.json.partial"
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.rename(directory / "cluster.json")

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return started_at(self.pid) == self.start

    @property
    def ranges(self) -> Ranges:
        """The node's address ranges."""
        return Ranges(self.block, self.link)


def up(name: str, directory: Path) -> Path:
    """Bring the node up, or go on where an earlier call ended. Returns the kubeconfig.

    Raises:
        ClusterError: when something failed; the message has the end of that component's log.
    """
    if os.geteuid() != 0:
        raise ClusterError(
            "a node needs root (namespaces, mounts, links): run it with sudo, use --control-plane-only, "
            "or name a cluster by USE_EXISTING_CLUSTER=1"
        )
    for program in ("etcd", "kube-apiserver", "kubelet", "coredns"):
        tool(program)
    host.install_packages()
    directory.mkdir(parents=True, exist_ok=True)
    state = State.load(directory)
    if state is None or not state.alive:
        down(name, directory)
        state = _start(name, directory)
    return _finish(state, directory)


def _start(name: str, directory: Path) -> State:
    ranges = choose(name, host.routes())
    node = Node(name, directory, ranges)
    shutil.copyfile(pause_archive(cache() / "images" / "pause.tar"), directory / "pause.tar")
    host.make_cgroups(node.cgroup)
    say(f"machine: node {name} in its own pid, mount, network, uts and ipc namespaces")
    init = [sys.executable, "-m", "hack.cluster.init", f"--name={name}", f"--directory={directory}"]
    init += [f"--link={ranges.host_link}", f"--block={ranges.block}"]
    unshare = ["unshare", "--pid", "--fork", "--mount", "--net", "--uts", "--ipc", "--kill-child", "--mount-proc"]
    logs = directory / "logs"
    logs.mkdir(exist_ok=True)
    with (logs / "init.log").open("ab") as output:
        process = subprocess.Popen(
            [*unshare, *init],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
    state = State(name, process.pid, started_at(process.pid) or "", ranges.block, ranges.host_link)
    state.save(directory)
    wait("waiting for the node's namespaces", lambda: _inside(state.pid) is not None, 30)
    inside = _inside(state.pid)
    assert inside is not None
    host.connect(ranges, inside)
    return state


def _inside(pid: int) -> int | None:
    """The first process inside the namespaces, as the machine numbers it: `unshare`'s only child, once it has left ours."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        ours = Path("/proc/self/ns/net").readlink()
        return next((int(child) for child in children if Path(f"/proc/{child}/ns/net").readlink() != ours), None)
    except OSError:
        return None


def _finish(state: State, directory: Path) -> Path:
    address = addresses(state.ranges)
    credentials = Credentials.create(directory / "pki", address)
    wait("waiting for the node's programs", lambda: _started(state, directory), 240)
    wait("waiting for kube-apiserver", lambda: ready(address.url, credentials), 120)
    kubeconfig = credentials.authority.kubeconfig(directory / "kubeconfig", address.url, "admin", ["system:masters"])
    _kubectl(kubeconfig, "apply", "--server-side", "-f", "-", text=COREDNS_ROLE)
    wait("waiting for the node to be Ready", lambda: node_ready(kubeconfig), 180)
    wait(
        "waiting for the default service account",
        lambda: "default" in _kubectl(kubeconfig, "get", "serviceaccounts", "-o", "name"),
        60,
    )
    return kubeconfig


def _started(state: State, directory: Path) -> bool:
    path = directory / "init.json"
    said = json.loads(path.read_text(encoding="utf-8") or "{}") if path.exists() else {}
    if "failed" in said or not state.alive:
        raise ClusterError(
            f"the node failed: {said.get('failed', 'its first process ended')}\n{tail(directory / 'logs' / 'init.log')}"
        )
    return "started" in said


def _kubectl(kubeconfig: Path, *args: str, text: str | None = None) -> str:
    command = [str(tool("kubectl")), f"--kubeconfig={kubeconfig}", *args]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(args)} failed: {done.stderr.strip()}")
    return done.stdout


def node_ready(kubeconfig: Path) -> bool | str:
    """True when the node says that it is Ready, else its word for why not."""
    path = "jsonpath={range .items[0].status.conditions[?(@.type=='Ready')]}{.status} {.message}{end}"
    try:
        said = _kubectl(kubeconfig, "get", "nodes", "-o", path)
    except ClusterError as error:
        return str(error)[:80]
    return True if said.startswith("True") else said[:80] or "not registered yet"


def load(directory: Path, archives: list[Path]) -> None:
    """Import docker-archives into the node's containerd."""
    state = State.load(directory)
    if state is None or not state.alive:
        raise ClusterError("no cluster of this name runs; bring it up first: make cluster-up")
    inside = _inside(state.pid)
    for archive in archives:
        with Progress(f"loading {archive.name} into the node"):
            enter = ["nsenter", "-t", str(inside), "-m", "-n", "-p", "-u", "-i"]
            host.run(
                *enter, "ctr", "-a", "/run/containerd/containerd.sock", "-n", "k8s.io", "images", "import", str(archive.resolve())
            )


def down(name: str, directory: Path) -> None:
    """End the node and remove all that it had outside the cache. Safe to call twice, and after a crash."""
    state = State.load(directory)
    if state:
        kill(state.pid, state.start)
        host.disconnect(state.link)
    node = Node(name, directory, Ranges(0, ""))
    wait_left: list[Path] = []

    def gone() -> bool:
        nonlocal wait_left
        wait_left = host.remove_cgroups(node.cgroup)
        return not wait_left

    if not gone():
        wait("waiting for the node's last processes", gone, 30)
    if directory.is_dir():
        for path in directory.iterdir():
            if path.name not in _KEPT:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (directory / "cluster.json").unlink(missing_ok=True)
