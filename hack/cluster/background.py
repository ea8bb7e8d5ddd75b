"""`up --control-plane-only`: a control plane that goes on after the call, for an ordinary user."""

from pathlib import Path

from hack.cluster.control_plane import ControlPlane
from hack.cluster.process import Identity, wait_reaped
from hack.cluster.say import say
from hack.cluster.state import State, clear, running


def up(name: str, directory: Path) -> Path:
    """Start it, unless it runs. Returns the kubeconfig.

    Raises:
        ClusterError: when a program failed; the message has the end of its log.
    """
    if running(directory, "control-plane"):
        say(f"control plane {name} is up already")
        return directory / "kubeconfig"
    down(directory)  # what an earlier call left half done
    say(f"a control plane without nodes, on loopback ports; its state and logs: {directory}")
    plane = ControlPlane.start(directory, tied=False)
    processes = {}
    for component in plane.running:
        processes[component.name] = Identity.of(component.process.pid)
        component.process.returncode = 0  # it outlives us on purpose: do not warn that it was not waited for
    State(name, "control-plane", plane.url, processes).save(directory)
    return plane.kubeconfig


def down(directory: Path) -> None:
    """End it. Safe to call twice, and after a crash."""
    state = State.load(directory)
    if state:
        # Last started, first ended: with etcd gone the API server never finishes its graceful shutdown.
        for process in reversed(state.processes.values()):
            process.end(gently=10)
        wait_reaped(state.processes.values())
    clear(directory)
