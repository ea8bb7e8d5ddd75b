"""What the operator costs beside a client that writes the same objects without thinking: `make bench-reconcile`.

A control plane of its own is brought up (etcd and kube-apiserver; no nodes). In each round many Models live on it twice, in
namespaces of their own: once with the operator, once with a bare client that applies the very same objects with as many
requests at a time and writes each Model's status once. The benchmark plays the people, the controllers and the kubelet:

  create   the Models are created                          -> a Job and a status for each
  publish  the training pods report a published revision   -> a ModelRevision, a Deployment and a status
  serve    the Deployments report their pods ready         -> a Service, a CronJob and a status
  edit     spec.serving.replicas of all Models changes     -> the Deployment and the status

A phase lasts from its first request until a watch has shown everything; the same watch is the clock of both sides, and which
side goes first alternates. Events for people are written behind the work, after the phase: they are counted, not timed. In the
end the operator looks at all Models again while nothing has changed, which must cost no request.

ratio = seconds of the bare client / seconds of the operator: 1.0 is as fast as a client can be.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hack.cluster.control_plane import ControlPlane
from hack.cluster.paths import REPOSITORY
from hack.cluster.say import say
from tests.benchmarks.reconcile import life, runs
from tests.benchmarks.reconcile.plain import Client, Observer
from tests.benchmarks.reconcile.runs import BareSide, OperatorSide, Run, Side, Stage
from tests.integration.conftest import Cluster

SIDES = ("operator", "bare")


@dataclass
class Resync:
    """One look at all Models while nothing has changed."""

    requests: dict[str, int]  # writes and reads of single objects: none
    list_seconds: float
    look_seconds: float
    looks: int


async def both(plane: ControlPlane, log: Path, number: int, options: argparse.Namespace) -> list[Run]:
    """One round: phase by phase one side right after the other, so that what else the machine does falls on both."""
    client = await Client.connect(plane.kubeconfig)
    try:
        async with contextlib.AsyncExitStack() as stack:
            sides: list[Side] = []
            for name in SIDES:
                namespace = f"{name}-{number}"
                await client.create(life.policy(namespace))
                observer = await stack.enter_async_context(Observer(client, namespace))
                stage = Stage(client, observer, options.models, options.workers)
                sides.append(BareSide(stage) if name == "bare" else _operated(stage, plane, log, options))
                stack.push_async_callback(sides[-1].end)
            for turn, phase in enumerate(life.PHASES, start=number):
                for side in sides if turn % 2 == 0 else reversed(sides):
                    await side.phase(phase)
        return [side.run for side in sides]
    finally:
        await client.close()


def _operated(stage: Stage, plane: ControlPlane, log: Path, options: argparse.Namespace) -> OperatorSide:
    return OperatorSide(stage, runs.start(plane.kubeconfig, log, stage.namespace, options.workers, "1h"))


def resync(kubeconfig: Path, log: Path, namespace: str, options: argparse.Namespace) -> Resync:
    """A new operator on what another has brought up: what it does after its start, over two resyncs."""
    operator = runs.start(kubeconfig, log, namespace, options.workers, "5s")
    try:
        runs.wait_quiet(operator)
        before, begun = runs.figures(operator), runs.requests(operator)
        while (after := runs.figures(operator)).resyncs < before.resyncs + 2 or after.looks < before.looks + 2 * options.models:
            time.sleep(1)
        passed = after.resyncs - before.resyncs
        return Resync(
            requests=dict(runs.requests(operator) - begun),
            list_seconds=(after.resync_seconds - before.resync_seconds) / passed,
            look_seconds=(after.look_seconds - before.look_seconds) / passed,
            looks=(after.looks - before.looks) // passed,
        )
    finally:
        operator.stop()


def measure(options: argparse.Namespace, directory: Path) -> tuple[dict[str, list[Run]], Resync]:
    """All rounds, on one control plane."""
    found: dict[str, list[Run]] = {side: [] for side in SIDES}
    with ControlPlane.start(directory) as plane:
        cluster, log = Cluster(plane.kubeconfig), directory / "operator.log"
        cluster("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        cluster("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        for namespace in (f"{side}-{number}" for side in SIDES for number in range(options.rounds)):
            cluster("create", "namespace", namespace)
            cluster("-n", namespace, "wait", "--for=create", "serviceaccount/default", "--timeout=30s")
        plane.running.pop().stop()  # the controllers: what they do is played, so that they take no processor time
        for number in range(options.rounds):
            for side, run in zip(SIDES, asyncio.run(both(plane, log, number, options)), strict=True):
                found[side].append(run)
            took = ", ".join(f"{side} {seconds(found[side][-1], 'all'):.1f} s" for side in SIDES)
            say(f"round {number + 1} of {options.rounds}: {took}")
        say("a resync without changes")
        return found, resync(plane.kubeconfig, log, f"operator-{options.rounds - 1}", options)


def summary(found: dict[str, list[Run]], again: Resync, options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    phases = {}
    for name in [*(phase.name for phase in life.PHASES), "all"]:
        took = {side: [seconds(run, name) for run in some] for side, some in found.items()}
        medians = {side: statistics.median(some) for side, some in took.items()}
        phases[name] = {**took, "ratio": medians["bare"] / medians["operator"]}
    each = {side: {name: count / options.models for name, count in some[-1].requests.items()} for side, some in found.items()}
    return {
        "models": options.models,
        "workers": options.workers,
        "secondsByPhase": phases,
        "requestsPerModel": each,
        "operatorPeakMiB": max(run.peak_mib for run in found["operator"]),
        "operatorCPUSeconds": [run.cpu_seconds for run in found["operator"]],
        "resync": asdict(again),
    }


def seconds(run: Run, phase: str) -> float:
    """Of one phase, or of all together."""
    return sum(run.seconds.values()) if phase == "all" else run.seconds[phase]


def table(figures: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{figures['models']} Models, {figures['workers']} requests at a time; median (least to most) seconds", ""]
    lines.append(f"{'phase':<9}{'operator':>22}{'bare client':>22}{'ratio':>8}")
    for name, took in figures["secondsByPhase"].items():
        lines.append(f"{name:<9}{_spread(took['operator']):>22}{_spread(took['bare']):>22}{took['ratio']:>8.2f}")
    lines += ["", f"{'requests per Model':<24}{'operator':>10}{'bare client':>13}"]
    each = figures["requestsPerModel"]
    for name in sorted(each["operator"].keys() | each["bare"].keys()):
        lines.append(f"{name:<24}{each['operator'].get(name, 0):>10.2f}{each['bare'].get(name, 0):>13.2f}")
    again = figures["resync"]
    cost = f"{again['list_seconds']:.2f} s of lists, {again['look_seconds']:.2f} s of looking at {again['looks']} keys"
    lines += ["", f"a resync without changes: {sum(again['requests'].values())} requests, {cost}"]
    milliseconds = statistics.median(figures["operatorCPUSeconds"]) / figures["models"] * 1000
    lines.append(
        f"the operator: {milliseconds:.0f} ms of processor time per Model, peak memory {figures['operatorPeakMiB']:.0f} MiB"
    )
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> int:
    """Run it. Returns 1 when looking again cost a request."""
    teaching = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reconcile", description=__doc__, formatter_class=teaching)
    parser.add_argument("--models", type=int, default=300, help="Models in each run (300)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side; the order alternates (3)")
    parser.add_argument("--workers", type=int, default=16, help="requests at a time, on both sides (16)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="form of the figures (table)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-reconcile-") as directory:
        figures = summary(*measure(options, Path(directory)), options)
    print(json.dumps(figures, indent=2) if options.output == "json" else table(figures))
    return 1 if figures["resync"]["requests"] else 0


if __name__ == "__main__":
    sys.exit(main())
