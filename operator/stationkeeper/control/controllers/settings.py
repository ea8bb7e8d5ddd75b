"""Everything that the operator's administrator can set: flags, each with an environment variable."""

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from stationkeeper.api.base import parse_duration
from stationkeeper.control.controllers.receivers import Receiver, ReceiversError, read_receivers


@dataclass(frozen=True)
class OperatorSettings:
    """How this operator runs."""

    namespaces: tuple[str, ...]  # empty: the whole cluster
    workloads_image: str
    image_pull_policy: str
    drain_seconds: float
    leader_election: bool
    lease_namespace: str
    identity: str
    workers: int
    resync_seconds: float
    qps: float
    burst: int
    health_port: int
    log_format: str
    log_level: str
    receivers: dict[str, Receiver] = field(default_factory=dict)


def parse(arguments: Sequence[str] | None = None) -> OperatorSettings:
    """Read flags and environment; a bad value ends the program with a message that names it."""
    args = _parser().parse_args(arguments)
    return OperatorSettings(
        namespaces=tuple(name for value in args.namespace or [] for name in value.split(",") if name),
        workloads_image=args.workloads_image,
        image_pull_policy=args.image_pull_policy,
        drain_seconds=args.drain,
        leader_election=args.leader_election,
        lease_namespace=args.lease_namespace,
        identity=args.identity,
        workers=args.workers,
        resync_seconds=args.resync,
        qps=args.qps,
        burst=args.burst,
        health_port=args.health_port,
        log_format=args.log_format,
        log_level=args.log_level,
        receivers=args.receivers,
    )


def _seconds(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _receivers(path: str) -> dict[str, Receiver]:
    try:
        return read_receivers(path) if path else {}
    except ReceiversError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stationkeeper-operator",
        description="Keeps machine-learning models on station. Every flag can be set by STATIONKEEPER_<FLAG> too.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(flag: str, default: object, text: str, **more: object) -> None:
        variable = f"STATIONKEEPER_{flag.upper().replace('-', '_')}"
        value = os.environ.get(variable, default)
        parser.add_argument(f"--{flag}", default=value, help=text, **more)  # type: ignore[arg-type]

    environment = os.environ.get("STATIONKEEPER_NAMESPACE")
    namespaces = [environment] if environment else None
    parser.add_argument(
        "--namespace",
        action="append",
        default=namespaces,
        help="watch only this namespace (repeatable, or a comma-separated list)",
    )
    add("workloads-image", "stationkeeper/workloads:0.1.0", "image of training, serving and checks")
    add("image-pull-policy", "IfNotPresent", "pull policy of that image", choices=["Always", "IfNotPresent", "Never"])
    add("drain", "30s", "time between the switch to a new revision and the end of the old pods", type=_seconds)
    add("lease-namespace", os.environ.get("POD_NAMESPACE", "default"), "namespace of the leader's Lease")
    add("identity", os.environ.get("POD_NAME", f"{socket.gethostname()}-{os.getpid()}"), "name of this process in the Lease")
    add("workers", 16, "reconciles at the same time", type=int)
    add("resync", "10m", "list everything anew this often", type=_seconds)
    add("qps", 400, "requests a second to the API server", type=float)
    add("burst", 800, "requests to the API server at once", type=int)
    add("health-port", 8081, "port of /healthz, /readyz and /metrics", type=int)
    add("receivers", "", "YAML file of receivers that spec.notify may name", type=_receivers)
    add("log-format", "json", "form of the log", choices=["json", "text"])
    add("log-level", "info", "how much is logged", choices=["debug", "info", "warning", "error"])
    election = os.environ.get("STATIONKEEPER_LEADER_ELECTION", "true") not in ("false", "0")
    parser.add_argument(
        "--leader-election", action=argparse.BooleanOptionalAction, default=election, help="of several operators, let one work"
    )
    return parser
