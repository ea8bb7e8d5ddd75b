"""The two sides: the operator, and a bare client that writes the same without thinking. Each leads many Models through their life."""

import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks.reconcile import life
from tests.benchmarks.reconcile.life import Phase
from tests.benchmarks.reconcile.plain import Client, Observer
from tests.integration.conftest import Operator
from tests.support import kubelet

Object = dict[str, Any]
_SECONDS = 600.0  # of one phase, before it is given up
_QUIET_SECONDS = 1.0


@dataclass
class Run:
    """What one run took."""

    seconds: dict[str, float] = field(default_factory=dict)  # by phase
    requests: Counter[str] = field(default_factory=Counter)  # by "verb kind"
    cpu_seconds: float = 0.0  # of the operator's process, in the phases
    peak_mib: float = 0.0


class Side(Protocol):
    """Who writes."""

    run: Run

    async def phase(self, phase: Phase) -> None:
        """Lead all Models through one phase, and rest."""
        ...

    async def end(self) -> None:
        """Leave."""
        ...


class Stage:
    """The namespace of one run, and what people and the cluster do in it."""

    def __init__(self, client: Client, observer: Observer, models: int, workers: int) -> None:
        self.client, self.observer = client, observer
        self.namespace = observer.namespace
        self._names = [f"model-{number:05}" for number in range(models)]
        self._workers = workers
        self.uids: dict[str, str] = {}

    async def phase(self, phase: Phase, side: "BareSide | None" = None) -> float:
        """Seconds from the first request of a phase until all is there. A bare side writes for each Model right after."""
        done = self.observer.expect(self._names, phase.there)
        left = iter(self._names)
        started = time.perf_counter()

        async def work() -> None:
            for name in left:
                await self._play(phase.name, name)
                if side:
                    await side.write(phase.name, name)

        async with asyncio.timeout(_SECONDS):
            await asyncio.gather(*(work() for _ in range(self._workers)))
            return await done - started

    async def _play(self, phase: str, name: str) -> None:
        seen = self.observer.objects.get(name, {})
        match phase:
            case "create":
                meta = {"name": name, "namespace": self.namespace, "labels": life.SELECTED}
                made = await self.client.create({**life.model(), "metadata": meta})
                self.uids[name] = made["metadata"]["uid"]
            case "publish":
                pod, episode = kubelet.pod_of(seen["Job"]), seen["Model"]["status"]["episode"]
                await self.client.create(pod)
                await self.client.merge(pod, {"status": kubelet.published(episode, name)}, "status")
            case "serve":
                await self.client.merge(seen["Deployment"], {"status": kubelet.ready(seen["Deployment"])}, "status")
            case "edit":
                await self.client.merge(seen["Model"], {"spec": {"serving": {"replicas": life.MORE_REPLICAS}}})


class BareSide:
    """Writes all objects without any logic."""

    def __init__(self, stage: Stage) -> None:
        self.run, self._stage = Run(), stage
        self._texts = {
            phase: [(obj["kind"], obj["metadata"]["name"], text) for text in some if (obj := json.loads(text))]
            for phase, some in life.writes().items()
        }

    async def phase(self, phase: Phase) -> None:
        """Lead all Models through one phase."""
        self.run.seconds[phase.name] = await self._stage.phase(phase, self)

    async def write(self, phase: str, model: str) -> None:
        """All objects of one Model in this phase."""
        stage = self._stage
        for kind, name, text in self._texts[phase]:
            own = text.replace(life.NAMESPACE, stage.namespace).replace(life.NAME, model).replace(life.UID, stage.uids[model])
            await stage.client.apply(kind, stage.namespace, name.replace(life.NAME, model), own)
            self.run.requests[f"{'status' if kind == 'Model' else 'apply'} {kind}"] += 1

    async def end(self) -> None:
        """Nothing is to be ended."""


class OperatorSide:
    """The operator, in a process of its own."""

    def __init__(self, stage: Stage, operator: Operator) -> None:
        self.run, self._stage, self._operator = Run(), stage, operator

    async def phase(self, phase: Phase) -> None:
        """Lead all Models through one phase, and wait until the operator has told people of it."""
        before = cpu_seconds(self._pid)
        self.run.seconds[phase.name] = await self._stage.phase(phase)
        self.run.cpu_seconds += cpu_seconds(self._pid) - before
        await asyncio.to_thread(wait_quiet, self._operator)

    async def end(self) -> None:
        """Take the last figures and stop it."""
        self.run.requests, self.run.peak_mib = requests(self._operator), peak_mib(self._pid)
        await asyncio.to_thread(self._operator.stop)

    @property
    def _pid(self) -> int:
        assert self._operator.process is not None
        return self._operator.process.pid


def start(kubeconfig: Path, log: Path, namespace: str, workers: int, resync: str) -> Operator:
    """An operator in a process of its own, ready to work, without a limit to its rate."""
    flags = ("--no-leader-election", f"--namespace={namespace}", f"--workers={workers}", f"--resync={resync}")
    return Operator(kubeconfig, log, *flags, "--qps=100000", "--burst=100000").start().wait_ready()


def wait_quiet(operator: Operator) -> None:
    """Wait until it makes no request any more."""
    before = None
    while (now := operator.requests()) != before:
        before = now
        time.sleep(_QUIET_SECONDS)


def requests(operator: Operator) -> Counter[str]:
    """Requests so far, as "verb kind"."""
    found: Counter[str] = Counter()
    for line, count in operator.requests().items():
        labels = dict(pair.split("=") for pair in line.partition("{")[2].rstrip("}").replace('"', "").split(","))
        found[f"{labels['verb']} {labels['kind']}"] += int(count)
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    """The most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


@dataclass(frozen=True)
class Figures:
    """Counters of an operator."""

    resyncs: int
    resync_seconds: float
    looks: int  # at Models
    look_seconds: float


def figures(operator: Operator) -> Figures:
    """What its `/metrics` tell."""
    values: dict[str, float] = {}
    for line in operator.answers("/metrics").splitlines():
        name, _, value = line.rpartition(" ")
        if not line.startswith("#"):
            values[name] = float(value)
    looks = 'stationkeeper_reconcile_seconds_{}{{kind="Model"}}'
    return Figures(
        resyncs=int(values["stationkeeper_resync_seconds_count"]),
        resync_seconds=values["stationkeeper_resync_seconds_sum"],
        looks=int(values[looks.format("count")]),
        look_seconds=values[looks.format("sum")],
    )
