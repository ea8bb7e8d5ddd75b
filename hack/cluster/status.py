"""What runs of a cluster, as lines to print, and whether all of it is ready."""

from pathlib import Path

from hack.cluster import existing, node
from hack.cluster.api import answers
from hack.cluster.state import State

Lines = list[tuple[str, str]]


def of_existing(kubeconfig: Path) -> tuple[bool, Lines]:
    """Status of the cluster that the user named."""
    said = existing.ready(kubeconfig) if kubeconfig.exists() else "run `up` first: it checks the cluster and writes a kubeconfig"
    return said is True, [("existing cluster", _word(said))]


def of_local(directory: Path) -> tuple[bool, Lines]:
    """Status of the cluster that was started from this directory."""
    state = State.load(directory)
    if state is None:
        return False, [("cluster", "not started")]
    lines = _components(state, directory)
    api = answers(state.url, directory / "pki")
    lines.append(("API server", "ready" if api else "does not answer"))
    if state.kind == "control-plane":
        return api and state.alive, lines
    said = node.ready(directory / "kubeconfig") if api else "unknown: the API server does not answer"
    lines.append((f"node {state.name}", _word(said)))
    report = node.report(directory)
    whole = not report.get("failed") and set(report.get("restarts", ())) <= set(report.get("running", ()))
    return said is True and state.alive and whole, lines


def _components(state: State, directory: Path) -> Lines:
    if state.kind == "control-plane" or not state.alive:
        return [(name, "running" if process.alive else "ended") for name, process in state.processes.items()]
    report = node.report(directory)
    restarts = report.get("restarts", {})
    names = [*report.get("running", ()), *(name for name in restarts if name not in report.get("running", ()))]
    return [(name, _run(name in report["running"], restarts.get(name, 0))) for name in names]


def _run(running: bool, restarts: int) -> str:
    times = f", started again {restarts} time{'s' if restarts > 1 else ''}" if restarts else ""
    return f"{'running' if running else 'ended'}{times}"


def _word(said: bool | str) -> str:
    return "Ready" if said is True else f"not ready: {said}" if said else "not ready"
