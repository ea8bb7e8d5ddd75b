"""A whole node in namespaces of its own: bring it up and take it down. Ending one process ends all."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hack.cluster import host
from hack.cluster.api import DEFAULT_SERVICE_ACCOUNT, answers, resolves
from hack.cluster.components import DOMAIN, Credentials
from hack.cluster.image import pause_archive
from hack.cluster.init import addresses
from hack.cluster.network import Ranges, choose, link_name
from hack.cluster.nodeconfig import COREDNS_ROLE, Node
from hack.cluster.paths import REPOSITORY, cache
from hack.cluster.process import Identity, wait_reaped
from hack.cluster.say import ClusterError, say, tail, wait
from hack.cluster.state import State, clear, rotate_logs, running
from hack.cluster.tools import tool

_TOO_OFTEN = 3
_PROGRAMS = ("etcd", "kube-apiserver", "coredns", "kubectl")
_UNSHARE = ("unshare", "--pid", "--fork", "--mount", "--net", "--uts", "--ipc", "--kill-child", "--mount-proc")
# The node mounts its own over these, and could not see a state kept there.
_HIDDEN = (Path("/run"), Path("/var/log"), *host.MOUNT_POINTS)


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
    if any(directory.is_relative_to(hidden) for hidden in _HIDDEN):
        raise ClusterError(f"the node cannot see {directory}; choose a --dir outside of {', '.join(map(str, _HIDDEN))}")
    for program in _PROGRAMS:
        tool(program)
    host.install_packages()
    state = running(directory, "node")
    if state is None or "init" not in state.processes:
        down(name, directory)  # what a crash or a failed start left
        state = _start(name, directory)
    else:
        say(f"node {name} runs already; checking it")
    return _finish(state, directory)


def _start(name: str, directory: Path) -> State:
    ranges = choose(name, host.routes())
    if Path(f"/sys/class/net/{ranges.host_link}").exists():
        raise ClusterError(
            f"the link {ranges.host_link} of a cluster named {name} exists: that runs from another --dir, or end it"
        )
    node = Node(name, directory, ranges)
    rotate_logs(directory)
    # Before the node starts: its first process and we would else make them at the same time, and neither fit the other.
    Credentials.create(directory / "pki", addresses(ranges))
    shutil.copyfile(pause_archive(cache() / "images" / "pause.tar"), directory / "pause.tar")
    host.load_bridge_module()
    host.make_mount_points()
    host.make_cgroups(node.cgroup)
    say(f"machine: node {name} in its own pid, mount, network, uts and ipc namespaces; its state and logs: {directory}")
    outer = _unshare(node)
    state = State(name, "node", addresses(ranges).url, {"unshare": outer}, ranges.block, ranges.host_link)
    state.save(directory)
    log = directory / "logs" / "init.log"
    wait("waiting for the node's namespaces", lambda: _inside(outer.pid) is not None, 60, log=log)
    inside = _inside(outer.pid)
    if inside is None:
        raise ClusterError(f"the node's first process ended at once:\n{tail(log)}")
    host.connect(ranges, inside)
    state.processes["init"] = Identity.of(inside)  # written last: a state that has it is connected
    state.save(directory)
    return state


def _unshare(node: Node) -> Identity:
    init = [sys.executable, "-m", "hack.cluster.init", f"--name={node.name}", f"--directory={node.directory}"]
    init += [f"--link={node.ranges.host_link}", f"--block={node.ranges.block}"]
    with (node.directory / "logs" / "init.log").open("ab") as output:
        process = subprocess.Popen(
            [*_UNSHARE, *init],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        )
    identity = Identity.of(process.pid)
    process.returncode = 0  # it outlives us on purpose: do not warn that it was not waited for
    return identity


def _inside(pid: int) -> int | None:
    """The first process inside the namespaces, as the machine numbers it: `unshare`'s only child, once it has left ours."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        ours = Path("/proc/self/ns/net").readlink()
        return next((int(child) for child in children if Path(f"/proc/{child}/ns/net").readlink() != ours), None)
    except OSError:
        return None


def _finish(state: State, directory: Path) -> Path:
    """Wait for each part in turn; every step may be repeated."""
    ranges = Ranges(state.block, state.link)
    credentials = Credentials.create(directory / "pki", addresses(ranges))
    logs = directory / "logs"

    before = report(directory).get("restarts", {})

    def check() -> None:
        _raise_if_failed(state, directory, before)

    def started() -> bool:
        return "kubelet" in report(directory).get("running", ())

    def api() -> bool:
        return answers(state.url, directory / "pki")

    def account() -> bool:
        return answers(state.url, directory / "pki", DEFAULT_SERVICE_ACCOUNT)

    def dns() -> bool:
        return resolves(ranges.node, f"kubernetes.default.svc.{DOMAIN}")

    wait("waiting for the node's programs", started, 300, check=check, log=logs / "init.log")
    wait("waiting for kube-apiserver", api, 180, check=check, log=logs / "kube-apiserver.log")
    kubeconfig = credentials.authority.kubeconfig(directory / "kubeconfig", state.url, "admin", ["system:masters"])
    kubectl(kubeconfig, "apply", "--server-side", "-f", "-", text=COREDNS_ROLE)
    wait("waiting for the node to be Ready", lambda: ready(kubeconfig), 180, check=check, log=logs / "kubelet.log")
    wait("waiting for cluster DNS", dns, 120, check=check, log=logs / "coredns.log")
    wait("waiting for the default service account", account, 120, check=check, log=logs / "kube-controller-manager.log")
    return kubeconfig


def report(directory: Path) -> dict[str, Any]:
    """What the node's first process last told: `failed`, `running`, `restarts`."""
    path = directory / "init.json"
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return said


def _raise_if_failed(state: State, directory: Path, before: dict[str, int]) -> None:
    """Raise when the node ended, or a component ends again and again; `before`: how often when this call began."""
    said = report(directory)
    if said.get("failed"):
        raise ClusterError(f"the node failed: {said['failed']}")
    if not state.alive:
        raise ClusterError(f"the node's first process ended:\n{tail(directory / 'logs' / 'init.log')}")
    for name, times in said.get("restarts", {}).items():
        if times >= before.get(name, 0) + _TOO_OFTEN:
            log = directory / "logs" / f"{name}.log"
            raise ClusterError(f"{name} ends again and again; `down` clears the node away; the end of {log}:\n{tail(log)}")


def kubectl(kubeconfig: Path, *args: str, text: str | None = None) -> str:
    """Run kubectl and return what it printed.

    Raises:
        ClusterError: when it fails.
    """
    command = [str(tool("kubectl")), f"--kubeconfig={kubeconfig}", *args]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(args)} failed: {done.stderr.strip()}")
    return done.stdout


def ready(kubeconfig: Path) -> bool | str:
    """True when the node says that it is Ready, else its word for why not."""
    path = "jsonpath={range .items[*].status.conditions[?(@.type=='Ready')]}{.status} {.message}{end}"
    try:
        said = kubectl(kubeconfig, "get", "nodes", "-o", path)
    except ClusterError as error:
        return str(error)[-100:]
    return True if said.startswith("True") else said[:100] or "not registered yet"


def load(directory: Path, archives: list[Path]) -> None:
    """Import docker-archives into the node's containerd.

    Raises:
        ClusterError: when no node runs, or an archive cannot be imported.
    """
    state = running(directory, "node")
    if state is None:
        raise ClusterError("no node of this name runs; bring it up first: python -m hack.cluster up")
    for archive in archives:
        if not archive.is_file():
            raise ClusterError(f"there is no image archive at {archive}")
        say(f"loading {archive.name} into the node")
        enter = ["nsenter", "-t", str(state.processes["init"].pid), "-m", "-n", "-p", "-u", "-i"]
        socket = Node(state.name, directory, Ranges(state.block, state.link)).containerd_socket
        say(host.run(*enter, "ctr", "-a", socket, "-n", "k8s.io", "images", "import", str(archive.resolve())).strip())


def down(name: str, directory: Path) -> None:
    """End the node and remove all that it had outside the cache. Safe to call twice, and after a crash."""
    state = State.load(directory)
    if state:
        _end(state)
        host.disconnect(state.link)
    elif host.connected(link_name(name)):
        return  # a cluster of this name runs from another directory: its cgroups are not ours
    group = Node(name, directory, Ranges(0, "")).cgroup
    if host.remove_cgroups(group):
        wait("waiting for the node's last processes", lambda: not host.remove_cgroups(group), 60)
    clear(directory)
    if state:
        wait_reaped(state.processes.values())


def _end(state: State) -> None:
    outer = state.processes["unshare"]
    inner = state.processes.get("init")
    if inner is None and outer.alive and (pid := _inside(outer.pid)):
        inner = Identity.of(pid)
    outer.end()
    if inner:
        inner.end()  # the outer one's end kills it; it is gone only when everything in its pid namespace is
