"""Everything that the operator's administrator can set: flags, each with an environment variable."""

import argparse
import math
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from stationkeeper.api.base import parse_duration
from stationkeeper.control.controllers.leader import NAME as LEASE_NAME
from stationkeeper.control.controllers.prometheus import Prometheus, PrometheusError, read_prometheus
from stationkeeper.control.controllers.receivers import Receiver, ReceiversError, read_receivers
from stationkeeper.control.controllers.workloads import TemplatesError, read_templates
from stationkeeper.control.resources.templates import WorkloadTemplate


@dataclass(frozen=True)
class OperatorSettings:
    """How this operator runs."""

    namespaces: tuple[str, ...]  # empty: the whole cluster
    workloads_image: str
    image_pull_policy: str
    drain_seconds: float
    leader_election: bool
    lease_namespace: str
    lease_name: str
    identity: str
    workers: int
    resync_seconds: float
    qps: float
    burst: int
    health_port: int
    log_format: str
    log_level: str
    receivers: dict[str, Receiver] = field(default_factory=dict)
    workloads: dict[str, WorkloadTemplate] = field(default_factory=dict)
    prometheus: Prometheus | None = None


def parse(arguments: Sequence[str] | None = None) -> OperatorSettings:
    """Read flags and environment; a bad value ends the program with a message that names it."""
    args = _parser().parse_args(arguments)
    return OperatorSettings(
        namespaces=_names(args.namespace or [os.environ.get("STATIONKEEPER_NAMESPACE", "")]),
        workloads_image=args.workloads_image,
        image_pull_policy=args.image_pull_policy,
        drain_seconds=args.drain,
        leader_election=args.leader_election,
        lease_namespace=args.lease_namespace,
        lease_name=args.lease_name,
        identity=args.identity,
        workers=args.workers,
        resync_seconds=args.resync,
        qps=args.qps,
        burst=args.burst,
        health_port=args.health_port,
        log_format=args.log_format,
        log_level=args.log_level,
        receivers=args.receivers,
        workloads=args.workload_templates,
        prometheus=args.prometheus,
    )


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def _seconds(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _some_seconds(text: str) -> float:
    if (seconds := _seconds(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too short; at least 1s")
    return seconds


def _count(least: int, most: int) -> Callable[[str], int]:
    def parse_count(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse_count


def _one_of(*words: str) -> Callable[[str], str]:
    """Argparse's own `choices` would not look at what comes from the environment."""

    def parse_word(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}")
        return text

    return parse_word


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return rate


def _truth(parser: argparse.ArgumentParser, variable: str, default: str) -> bool:
    text = os.environ.get(variable, default).lower()
    if text not in ("true", "1", "false", "0"):
        parser.error(f"{variable}: {text!r} is neither true nor false")
    return text in ("true", "1")


def _receivers(path: str) -> dict[str, Receiver]:
    try:
        return read_receivers(path) if path else {}
    except ReceiversError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _prometheus(path: str) -> Prometheus | None:
    try:
        return read_prometheus(path) if path else None
    except PrometheusError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _templates(path: str) -> dict[str, WorkloadTemplate]:
    try:
        return read_templates(path) if path else {}
    except TemplatesError as error:
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

    parser.add_argument("--namespace", action="append", help="watch only this namespace (repeatable, or a comma-separated list)")
    add("workloads-image", "stationkeeper/workloads:0.1.0", "image of training, serving and checks")
    add(
        "image-pull-policy",
        "IfNotPresent",
        "pull policy of that image: Always, IfNotPresent or Never",
        type=_one_of("Always", "IfNotPresent", "Never"),
    )
    add("drain", "30s", "time between the switch to a new revision and the end of the old pods", type=_seconds)
    add("lease-namespace", os.environ.get("POD_NAMESPACE", "default"), "namespace of the leader's Lease")
    add("lease-name", LEASE_NAME, "name of the leader's Lease: operators that share it work one at a time")
    add("identity", os.environ.get("POD_NAME", f"{socket.gethostname()}-{os.getpid()}"), "name of this process in the Lease")
    add("workers", 16, "reconciles at the same time", type=_count(1, 1000))
    add("resync", "10m", "list everything anew this often", type=_some_seconds)
    add("qps", 400, "requests a second to the API server", type=_rate)
    add("burst", 800, "requests to the API server at once", type=_count(1, 1_000_000))
    add("health-port", 8081, "port of /healthz, /readyz and /metrics", type=_count(0, 65535))
    add("receivers", "", "YAML file of receivers that spec.notify may name", type=_receivers)
    add("workload-templates", "", "YAML file of templates that spec.training.workload may name", type=_templates)
    add(
        "prometheus", "", "YAML file of a Prometheus and of the queries that the analysis of a rollout may name", type=_prometheus
    )
    add("log-format", "json", "form of the log: json or text", type=_one_of("json", "text"))
    add(
        "log-level",
        "info",
        "how much is logged: debug, info, warning or error",
        type=_one_of("debug", "info", "warning", "error"),
    )
    election = _truth(parser, "STATIONKEEPER_LEADER_ELECTION", "true")
    parser.add_argument(
        "--leader-election", action=argparse.BooleanOptionalAction, default=election, help="of several operators, let one work"
    )
    return parser
