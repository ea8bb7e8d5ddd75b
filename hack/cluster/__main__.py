"""`python -m hack.cluster`: a Kubernetes cluster for this project."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from hack.cluster import background, existing, node, paths, status, tools
from hack.cluster.commands import parser
from hack.cluster.say import ClusterError, say, tail
from hack.cluster.state import State, lock


def main() -> int:
    """Run one verb; an error is one message and exit code 1."""
    args = parser().parse_args()
    try:
        return _run(args)
    except (ClusterError, ValueError, OSError, subprocess.SubprocessError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; `up` goes on from here, `down` clears it away")
        return 130


def _run(args: argparse.Namespace) -> int:
    if args.verb == "tools":
        for name in args.names or [program for module in tools.MODULES for program in module.programs]:
            print(tools.tool(name), flush=True)
        return 0
    name = args.name or "stationkeeper"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", name):
        raise ClusterError(f"--name {name}: small letters, digits and dashes, as a node's name must be")
    directory = (args.dir or paths.cluster_directory(name)).resolve()
    match args.verb:
        case "up":
            with lock(directory / ".lock", f"at work on cluster {name}"):
                print(f"export KUBECONFIG={_up(args, name, directory)}")
        case "down":
            _down(name, directory)
        case "status":
            return _status(directory)
        case "load":
            existing.load(args.archives) if existing.wanted() else node.load(directory, args.archives)
        case "kubeconfig":
            print(directory / "kubeconfig")
        case "logs":
            return _logs(directory / "logs", args.component, args.lines)
    return 0


def _up(args: argparse.Namespace, name: str, directory: Path) -> Path:
    if existing.wanted():
        return existing.up(directory)
    return background.up(name, directory) if args.control_plane_only else node.up(name, directory)


def _down(name: str, directory: Path) -> None:
    if existing.wanted():
        say("the cluster is yours (USE_EXISTING_CLUSTER): nothing is ended")
        return
    if not directory.is_dir():
        say(f"no cluster {name}: nothing to end")
        return
    with lock(directory / ".lock", f"at work on cluster {name}"):
        state = State.load(directory)
        background.down(directory) if state and state.kind == "control-plane" else node.down(name, directory)
    say(f"cluster {name} is down; its logs stay in {directory / 'logs'}")


def _status(directory: Path) -> int:
    ready, lines = status.of_existing(directory / "kubeconfig") if existing.wanted() else status.of_local(directory)
    width = max(len(component) for component, _ in lines)
    for component, said in lines:
        print(f"{component:{width}}  {said}")
    return 0 if ready else 1


def _logs(logs: Path, component: str | None, lines: int) -> int:
    if component is None:
        print("\n".join(map(str, sorted(logs.glob("*.log")))) or f"no logs in {logs}")
        return 0
    if not (logs / f"{component}.log").exists():
        raise ClusterError(f"no log of {component}; there are: {', '.join(sorted(path.stem for path in logs.glob('*.log')))}")
    print(tail(logs / f"{component}.log", lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
