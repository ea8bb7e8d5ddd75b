"""What serving pods counted since a canary's step began, read from their `/metrics`.

A pod may say anything: answers are bounded in size and time, and only the numbers of three metrics are taken. What was counted
before the step is taken off; that is remembered in memory, so an operator that starts anew gathers evidence anew.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from stationkeeper.api.meta import CONTAINER_FETCH, LABEL_REVISION, PORT_HTTP
from stationkeeper.control.planning.canary import Measured

logger = logging.getLogger(__name__)
Object = dict[str, Any]

_SECONDS = 2.0  # that a pod may take
_BYTES = 512 * 1024  # that it may say
_PODS = 20  # of one revision that are asked
_REMEMBERED = 5000  # pods; the longest known is forgotten first
_SERIES = 64  # distinct predictions that are believed


@dataclass
class Counted:
    """Counters of one pod, or of several."""

    codes: Counter[str] = field(default_factory=Counter)
    latency: dict[float, int] = field(default_factory=dict)  # requests up to each bound in seconds, zeros too
    predictions: Counter[str] = field(default_factory=Counter)

    def minus(self, before: "Counted") -> "Counted":
        """What came since; all of it when the pod's container has started again meanwhile."""
        if any(before.codes[code] > self.codes[code] for code in before.codes):
            return self
        latency = {bound: count - before.latency.get(bound, 0) for bound, count in self.latency.items()}
        return Counted(self.codes - before.codes, latency, self.predictions - before.predictions)

    def add(self, other: "Counted") -> None:
        """Take in what another pod counted."""
        self.codes += other.codes
        for bound, count in other.latency.items():
            self.latency[bound] = self.latency.get(bound, 0) + count
        self.predictions += other.predictions

    def measured(self) -> Measured:
        """In the form that planning reads."""
        return Measured(
            requests=sum(self.codes.values()),
            errors=sum(count for code, count in self.codes.items() if code.startswith("5")),
            latency=tuple(sorted(self.latency.items())),
            predictions=dict(self.predictions),
        )


class Scraper:
    """Asks the pods of the revisions of a rollout."""

    def __init__(self, port: int = PORT_HTTP) -> None:
        self._port = port
        # By UID of the pod: the step, and what was counted before it.
        self._before: OrderedDict[str, tuple[datetime, Counted]] = OrderedDict()

    async def measure(self, pods: Iterable[Object], since: datetime) -> Mapping[int, Measured]:
        """What each revision's pods have counted since `since`; pods that do not answer count for nothing."""
        asked = _asked(pods)
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            answers = await asyncio.gather(*(self._ask(session, pod) for _, pod in asked))
        totals: dict[int, Counted] = {}
        for (revision, pod), answer in zip(asked, answers, strict=True):
            if answer is not None:
                totals.setdefault(revision, Counted()).add(answer.minus(self._baseline(pod, since, answer)))
        return {revision: counted.measured() for revision, counted in totals.items()}

    def _baseline(self, pod: Object, since: datetime, now: Counted) -> Counted:
        uid = pod["metadata"]["uid"]
        step, before = self._before.get(uid, (None, Counted()))
        if step == since:
            return before
        born = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
        before = Counted() if born >= since else now
        self._before[uid] = (since, before)
        if len(self._before) > _REMEMBERED:
            self._before.popitem(last=False)
        return before

    async def _ask(self, session: aiohttp.ClientSession, pod: Object) -> Counted | None:
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        try:
            async with session.get(f"http://{host}:{self._port}/metrics", allow_redirects=False) as answer:
                text = await answer.content.read(_BYTES + 1)
                while len(text) <= _BYTES and (more := await answer.content.read(_BYTES + 1)):
                    text += more
            if answer.status != 200 or len(text) > _BYTES:
                raise ValueError(f"status {answer.status}, {len(text)} bytes")
            return counted(text.decode())
        except (aiohttp.ClientError, TimeoutError, ValueError, OverflowError) as error:
            logger.debug("pod %s tells no metrics: %s", pod["metadata"]["name"], error)
            return None


def _asked(pods: Iterable[Object]) -> list[tuple[int, Object]]:
    found: dict[int, list[Object]] = {}
    for pod in pods:
        number = (pod["metadata"].get("labels") or {}).get(LABEL_REVISION, "")
        if number.isdigit() and (pod.get("status") or {}).get("podIP") and not _foreign(pod):
            found.setdefault(int(number), []).append(pod)
    return [(number, pod) for number, mine in found.items() for pod in mine[:_PODS]]


def _foreign(pod: Object) -> bool:
    """Whether a server of the team's own choice runs in it, whose numbers are not ours to read."""
    return any(entry.get("name") == CONTAINER_FETCH for entry in pod["status"].get("initContainerStatuses") or [])


def counted(text: str) -> Counted:
    """The counters of a pod's `/metrics`.

    Raises:
        ValueError: when it is no Prometheus text.
        OverflowError: when a counter is infinite.
    """
    found = Counted()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            value = int(sample.value)
            match sample.name:
                case "stationkeeper_serving_requests_total":
                    found.codes[sample.labels.get("code", "")[:3]] += value
                case "stationkeeper_serving_request_seconds_bucket":
                    bound = float(sample.labels["le"])
                    found.latency[bound] = found.latency.get(bound, 0) + value
                case "stationkeeper_serving_predictions_total" if len(found.predictions) < _SERIES:
                    found.predictions[sample.labels.get("label", "")[:128]] += value
                case _:
                    pass
    return found
