"""What is written down of a running cluster: enough to find it again, to end it, and to end nothing else."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from hack.cluster.process import Identity
from hack.cluster.say import ClusterError, say

Kind = Literal["node", "control-plane"]

# All that a cluster keeps in its directory and that ends with it. Named one by one: the directory may be any the user gave,
# and what we did not write is not ours to remove.
_CONTENTS = (
    *("etcd", "pki", "containerd", "cni", "cni-addresses", "kubelet", "pod-logs", "volume-plugins"),
    *("containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "Corefile", "resolv.conf", "pause.tar", "init.json", "kubeconfig"),
    "init.json.partial",
    *("kubelet.kubeconfig", "kube-proxy.kubeconfig", "coredns.kubeconfig", "kube-scheduler.kubeconfig"),
    *("kube-controller-manager.kubeconfig", "cluster.json.partial", "cluster.json", "loaded"),  # loaded: what `hack.images` did
)


@dataclass(frozen=True)
class State:
    """A cluster that was started."""

    name: str
    kind: Kind
    url: str
    processes: dict[str, Identity] = field(default_factory=dict)  # those that hold it, outside of its namespaces
    block: int = 0  # a node's address ranges
    link: str = ""  # a node's link, the machine's end

    @classmethod
    def load(cls, directory: Path) -> "State | None":
        """What was written, if anything was."""
        path = directory / "cluster.json"
        if not path.exists():
            return None
        said = json.loads(path.read_text(encoding="utf-8"))
        said["processes"] = {name: Identity(**process) for name, process in said["processes"].items()}
        return cls(**said)

    def save(self, directory: Path) -> None:
        """Write it, whole or not at all."""
        partial = directory / "cluster.json.partial"
        partial.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        partial.rename(directory / "cluster.json")

    @property
    def alive(self) -> bool:
        """Whether all that holds it still runs."""
        return bool(self.processes) and all(process.alive for process in self.processes.values())


def running(directory: Path, kind: Kind) -> State | None:
    """The cluster that runs from this directory, if one does.

    Raises:
        ClusterError: when one of the other kind does.
    """
    state = State.load(directory)
    if state and state.kind != kind:
        raise ClusterError(
            f"{directory} holds a {state.kind} named {state.name}; end it with `down --name {state.name}`, or choose another --name"
        )
    return state if state and state.alive else None


def clear(directory: Path) -> None:
    """Remove what a cluster kept in its directory; its logs stay."""
    for name in _CONTENTS:
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def rotate_logs(directory: Path) -> Path:
    """An empty directory for logs; the logs of the time before stay beside it."""
    logs, previous = directory / "logs", directory / "logs.previous"
    if logs.is_dir():
        shutil.rmtree(previous, ignore_errors=True)
        logs.rename(previous)
    logs.mkdir(parents=True)
    return logs


@contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file: the second of two calls waits for the first, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another call is {what}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
