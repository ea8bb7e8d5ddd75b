"""Prometheus metrics of one serving pod, in a registry of its own."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from stationkeeper.api.meta import COUNTED_CLASSES, OTHER_CLASSES
from stationkeeper.workloads.artifacts.runtime import Predictions

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Kind(StrEnum):
    """What an object of capture holds."""

    ROWS = "rows"
    PROFILE = "profile"


class Metrics:
    """What is counted. Names begin with `stationkeeper_serving_` and `stationkeeper_capture_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        serving = "stationkeeper_serving_"
        self.requests = Counter(f"{serving}requests", "Inference requests by HTTP status.", ["code"], registry=self.registry)
        self.errors = Counter(f"{serving}errors", "Inference requests that failed, by cause.", ["cause"], registry=self.registry)
        self.latency = Histogram(
            f"{serving}request_seconds",
            "Time from the arrival of a request's head to its answer.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.rows = Counter(f"{serving}rows", "Rows that were answered.", registry=self.registry)
        self.predictions = Counter(f"{serving}predictions", "Rows by predicted class.", ["label"], registry=self.registry)
        self.in_flight = Gauge(f"{serving}in_flight", "Inference requests being worked on.", registry=self.registry)
        self.info = Gauge(
            f"{serving}model_info", "1 for the revision being served.", ["model", "revision", "digest"], registry=self.registry
        )
        self.draining = Gauge(f"{serving}draining", "1 while the pod ends.", registry=self.registry)
        self.captured = Counter(
            "stationkeeper_capture_rows",
            "Raw rows by what became of them: written, sampled_out, limited (maxRowsPerMinute), dropped (no memory) or failed.",
            ["outcome"],
            registry=self.registry,
        )
        self.profiled = Counter(
            "stationkeeper_capture_profile_rows",
            "Rows in profiles by what became of them: written, dropped (no memory) or failed.",
            ["outcome"],
            registry=self.registry,
        )
        self.event_times = Counter(
            "stationkeeper_capture_event_times",
            "Rows by where their time comes from: event (capture.eventTime), or the arrival because it was missing, unreadable, late "
            "(3 days), early (5 minutes) or scattered (over too many minutes at once).",
            ["source"],
            registry=self.registry,
        )
        self.buffered = Gauge(
            "stationkeeper_capture_buffer_bytes", "Memory held by rows not yet counted.", registry=self.registry
        )
        self.pending = Gauge("stationkeeper_capture_pending_bytes", "Objects waiting to be written.", registry=self.registry)
        self._known: dict[str, Counter] = {}
        for outcome in ("written", "sampled_out", "limited", "dropped", "failed"):
            self.captured.labels(outcome)
        for outcome in ("written", "dropped", "failed"):
            self.profiled.labels(outcome)

    def serve(self, model: str, revision: int, digest: str, classes: Sequence[str]) -> None:
        """A revision is loaded."""
        self.info.labels(model, str(revision), digest).set(1)
        self._known = {name: self.predictions.labels(name) for name in classes[:COUNTED_CLASSES]}

    def answered(self, rows: int, answers: Predictions) -> None:
        """Rows were answered."""
        self.rows.inc(rows)
        if answers.labels is None:
            return
        labels = answers.labels.tolist()
        for label in set(labels):
            counter = self._known.get(label) or self.predictions.labels(OTHER_CLASSES)
            counter.inc(labels.count(label) if rows > 1 else 1)

    def of(self, kind: Kind) -> Counter:
        """The counter of what became of captured rows."""
        return self.captured if kind is Kind.ROWS else self.profiled

    def render(self) -> bytes:
        """The text of `/metrics`."""
        return generate_latest(self.registry)
