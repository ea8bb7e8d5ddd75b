"""The command line: verbs, options, and the help that teaches them."""

import argparse
from pathlib import Path

DESCRIPTION = """\
A Kubernetes cluster for this project: the one you name, or a single node on this Linux machine.

  python -m hack.cluster up                    # a node with containers, Services and DNS (needs root)
  python -m hack.cluster load build/image.tar  # it has no registry: images are loaded
  eval "$(python -m hack.cluster up)"          # sets KUBECONFIG; quick when the cluster is up
  python -m hack.cluster down                  # leaves nothing behind but its logs
"""

EPILOG = """\
A cluster of your own (kind, k3d, a cloud) is used, and never started or ended, when USE_EXISTING_CLUSTER=1:
  KUBECONFIG, CONTEXT   which one; by default kubectl's own choice
  IMAGE_LOAD            how an image archive gets there, such as IMAGE_LOAD='kind load image-archive'
  REGISTRY              or where images were pushed; `load` then has nothing to do

State is kept in $XDG_CACHE_HOME/stationkeeper (~/.cache/stationkeeper). Results go to stdout, all else to stderr.
"""

_VERBS = {
    "tools": (
        "build the pinned programs into the cache and print their paths",
        "Builds the Go programs that hack/tools pins, once; needs Go 1.26 and about 16 minutes for all of them on two cores.\n"
        "A kubectl (1.35 to 1.37) or helm (3.14 or newer) on your PATH is used as it is.\n\n"
        "  python -m hack.cluster tools kubectl helm",
    ),
    "up": (
        "bring the cluster up, or go on where the last call ended",
        "Safe to repeat: what runs is checked and kept. Says in one line each thing it does to the machine outside the cache.\n"
        "Prints `export KUBECONFIG=...` when everything is ready; when something fails, the end of that component's log.\n\n"
        '  eval "$(python -m hack.cluster up)" && kubectl get nodes\n'
        "  python -m hack.cluster up --control-plane-only --name api   # no root, no containers: API and controllers",
    ),
    "down": (
        "end it and leave nothing behind but its logs",
        "Ends processes, mounts, namespaces, the link with its routes, and cgroups. Safe to repeat, and after a crash.\n"
        "With USE_EXISTING_CLUSTER=1 it does nothing.",
    ),
    "status": ("say what runs; exit code 0 when all is Ready, else 1", "One line a component, for people and for scripts."),
    "load": (
        "load images (docker-archives) into it",
        "Pods then use them by their name, with imagePullPolicy IfNotPresent:\n\n"
        "  buildah push stationkeeper/operator:dev docker-archive:operator.tar:stationkeeper/operator:dev\n"
        "  python -m hack.cluster load operator.tar",
    ),
    "kubeconfig": ("print the path of its kubeconfig", "  kubectl --kubeconfig $(python -m hack.cluster kubeconfig) get pods"),
    "logs": (
        "print the end of a component's log, or the paths of all logs",
        "  python -m hack.cluster logs            # paths\n  python -m hack.cluster logs kubelet    # its last lines",
    ),
}


def parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    top = argparse.ArgumentParser(
        prog="python -m hack.cluster",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    made = {name: _verb(verbs, name) for name in _VERBS}
    made["tools"].add_argument("names", nargs="*", metavar="NAME", help="programs such as kubectl, helm, etcd (default: all)")
    made["up"].add_argument(
        "--control-plane-only",
        action="store_true",
        help="no node: etcd, API server and controllers on loopback ports, for any user; from KUBEBUILDER_ASSETS if that is set",
    )
    made["load"].add_argument("archives", nargs="+", type=Path, metavar="IMAGE.tar", help="docker-archive")
    made["logs"].add_argument("component", nargs="?", metavar="COMPONENT", help="such as kubelet or kube-apiserver")
    made["logs"].add_argument("--lines", type=int, default=100, help="how many (default: %(default)s)")
    return top


def _verb(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str) -> argparse.ArgumentParser:
    line, text = _VERBS[name]
    verb = verbs.add_parser(
        name,
        help=line,
        description=f"{line[0].upper()}{line[1:]}.\n\n{text}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name != "tools":
        verb.add_argument("--name", help="name of the cluster, for several side by side (default: stationkeeper)")
        verb.add_argument("--dir", type=Path, help="where its state is kept (default: in the cache, by name)")
    return verb
