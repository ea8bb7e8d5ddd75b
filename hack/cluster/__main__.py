"""`python -m hack.cluster`: a Kubernetes cluster for this project."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from hack.cluster import existing, node, paths, tools
from hack.cluster.control_plane import ControlPlane
from hack.cluster.say import ClusterError, say, tail

EPILOG = """\
With USE_EXISTING_CLUSTER=1 the cluster of KUBECONFIG (and CONTEXT) is used instead, and nothing is started or ended.
Images then go there by IMAGE_LOAD='kind load image-archive' (any command that takes an archive) or REGISTRY=host/path.
"""


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hack.cluster", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="stationkeeper", help="name of the cluster (default: %(default)s)")
    parser.add_argument("--dir", type=Path, help="where its state is kept (default: in the cache, by name)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    build = verbs.add_parser("tools", help="build the pinned programs into the cache and print their paths")
    build.add_argument("names", nargs="*", help="programs (default: all)")
    start = verbs.add_parser("up", help="bring the cluster up, or go on where the last call ended")
    start.add_argument(
        "--control-plane-only", action="store_true", help="no node: API server and controllers in the foreground, no root"
    )
    verbs.add_parser("down", help="end it and leave nothing behind but its logs")
    verbs.add_parser("status", help="say whether it is Ready (exit code 0) or not (1)")
    load = verbs.add_parser("load", help="load images (docker-archives) into it")
    load.add_argument("archives", nargs="+", type=Path, metavar="IMAGE.tar")
    verbs.add_parser("kubeconfig", help="print the path of its kubeconfig")
    logs = verbs.add_parser("logs", help="print the end of a component's log, or the paths of all")
    logs.add_argument("component", nargs="?")
    return parser


def main() -> int:
    """Run one verb; errors are one message and exit code 1."""
    args = _arguments().parse_args()
    directory = (args.dir or paths.cluster_directory(args.name)).resolve()
    try:
        return _run(args, directory)
    except ClusterError as error:
        say(f"error: {error}")
        return 1


def _run(args: argparse.Namespace, directory: Path) -> int:
    match args.verb:
        case "tools":
            for name in args.names or [program for module in tools.MODULES for program in module.programs]:
                print(tools.tool(name))
        case "up" if args.control_plane_only:
            return _control_plane(directory)
        case "up":
            kubeconfig = existing.up(directory) if existing.wanted() else node.up(args.name, directory)
            print(f"export KUBECONFIG={kubeconfig}")
        case "down":
            if not existing.wanted():
                node.down(args.name, directory)
        case "status":
            return _status(directory)
        case "load":
            existing.load(args.archives) if existing.wanted() else node.load(directory, args.archives)
        case "kubeconfig":
            print(directory / "kubeconfig")
        case "logs":
            _logs(directory, args.component)
    return 0


def _control_plane(directory: Path) -> int:
    with ControlPlane.start(directory) as plane:
        print(f"export KUBECONFIG={plane.kubeconfig}", flush=True)
        say("a control plane without nodes; end it with Ctrl-C")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            say("ending")
    return 0


def _status(directory: Path) -> int:
    state = node.State.load(directory)
    alive = existing.wanted() or (state is not None and state.alive)
    said = node.node_ready(directory / "kubeconfig") if alive else "not running"
    print("Ready" if said is True else f"not ready: {said}")
    return 0 if said is True else 1


def _logs(directory: Path, component: str | None) -> None:
    logs = directory / "logs"
    if component:
        print(tail(logs / f"{component}.log", 100))
    elif logs.is_dir():
        for path in sorted(logs.glob("*.log")):
            print(path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.SubprocessError as failure:
        say(f"error: {failure}")
        sys.exit(1)
