"""What the statuses of all Models and DriftPolicies say, as metrics: read from the store at the moment of the scrape.

At most ten columns of each Model and policy are told, so that the number of series is bounded by the number of both.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import ValidationError

from stationkeeper.api.status import ModelStatus
from stationkeeper.api.verdicts import CheckStatus, Verdict
from stationkeeper.control.kube.store import Store

_MODEL = ("namespace", "model")
_CHECK = (*_MODEL, "policy")
_POLICY = ("namespace", "policy")
_FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "model_condition": ("1 for the status that a condition of a Model has.", (*_MODEL, "type", "status", "reason")),
    "model_serving_revision": ("Number of the revision that serves.", _MODEL),
    "policy_models": ("Models that a DriftPolicy watches.", _POLICY),
    "policy_drifted_models": ("Those of them that have drifted by it.", _POLICY),
    "window_end_timestamp_seconds": ("End of the newest window that was checked: it stands still when checks do.", _CHECK),
    "windows_breached": ("Windows in memory that breached, in each group of checks.", (*_CHECK, "group")),
    "window_rows": ("Rows of the newest window that was checked.", _CHECK),
    "window_verdict": ("1 for the verdict of the newest window in each group of checks.", (*_CHECK, "group", "verdict")),
    "window_drifted_share": ("Share of the features that drifted in the newest window, by importance.", _CHECK),
    "quality_score": ("The metric on matured labels of the newest labelled window.", _CHECK),
    "quality_skill": ("How far it lies above the best constant on the same labels.", _CHECK),
    "quality_labels": ("Labels that it rests on.", _CHECK),
    "quality_window_end_timestamp_seconds": ("End of that window: it stands still when labels do.", _CHECK),
    "column_statistic": ("Statistic of the columns that lie furthest from the reference.", (*_CHECK, "column", "test")),
    "column_threshold": ("Threshold of those columns.", (*_CHECK, "column", "test")),
}

Sample = tuple[str, tuple[str, ...], float]  # family, values of its labels, value


class ModelStatistics(Collector):
    """Gauges of every Model and DriftPolicy in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family after the other, with a sample for each Model."""
        families = {
            name: GaugeMetricFamily(f"stationkeeper_{name}", text, labels=labels) for name, (text, labels) in _FAMILIES.items()
        }
        for model in self._store.all("Model"):
            meta = model["metadata"]
            for family, labels, value in _samples((meta["namespace"], meta["name"]), model.get("status") or {}):
                families[family].add_metric(labels, value)
        for policy in self._store.all("DriftPolicy"):
            meta, told = policy["metadata"], policy.get("status") or {}
            for family, field in (("policy_models", "models"), ("policy_drifted_models", "drifted")):
                families[family].add_metric((meta["namespace"], meta["name"]), int(told.get(field) or 0))
        yield from families.values()


def _samples(model: tuple[str, str], raw: dict[str, object]) -> Iterator[Sample]:
    try:
        status = ModelStatus.model_validate(raw)
    except ValidationError:
        return  # another version wrote it; the next reconcile writes it anew
    for condition in status.conditions:
        yield "model_condition", (*model, condition.type, condition.status, condition.reason), 1
    if status.serving:
        yield "model_serving_revision", model, status.serving.number
    for check in status.checks:
        yield from _of_check((*model, check.policy), check)


def _of_check(labels: tuple[str, str, str], check: CheckStatus) -> Iterator[Sample]:
    if check.windows:
        newest = check.windows[-1]
        yield "window_end_timestamp_seconds", labels, newest.end.timestamp()
        yield "window_rows", labels, newest.rows
        if newest.drifted_share is not None:
            yield "window_drifted_share", labels, newest.drifted_share
        for group in ("data", "features", "predictions"):
            yield "window_verdict", (*labels, group, getattr(newest, group)), 1
            breached = sum(getattr(window, group) == Verdict.BREACHED for window in check.windows)
            yield "windows_breached", (*labels, group), breached
    if check.quality:
        labelled = check.quality[-1]
        yield "window_verdict", (*labels, "quality", labelled.verdict), 1
        yield "windows_breached", (*labels, "quality"), sum(w.verdict == Verdict.BREACHED for w in check.quality)
        yield "quality_labels", labels, labelled.labels
        yield "quality_window_end_timestamp_seconds", labels, labelled.end.timestamp()
        if labelled.score is not None:
            yield "quality_score", labels, labelled.score
        if labelled.skill is not None:
            yield "quality_skill", labels, labelled.skill
    for column in check.columns:
        yield "column_statistic", (*labels, column.name, column.test), column.statistic
        yield "column_threshold", (*labels, column.name, column.test), column.threshold
