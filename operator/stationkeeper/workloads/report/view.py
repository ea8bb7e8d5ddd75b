"""A report in the order in which people read it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from stationkeeper.api.report import ColumnResult, DriftReport, Histogram, QualityResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.report import words
from stationkeeper.workloads.report.bars import Bars, bars
from stationkeeper.workloads.report.course import Course, course
from stationkeeper.workloads.report.ranking import excess, ranked

MAX_PICTURES: Final = 60  # histograms on a page; the JSON holds all
_OPEN: Final = 12  # of them that are seen at once
_FULL: Final = 100.0  # times its threshold, at which the bar of a statistic is full
_THRESHOLD: Final = 40.0  # where the threshold stands on it, in percent


@dataclass(frozen=True, slots=True)
class Group:
    """A group of checks and what it said."""

    name: str
    verdict: Verdict
    about: str


@dataclass(frozen=True, slots=True)
class Effect:
    """How far a statistic is over its threshold, as a bar: lengths in percent of its room."""

    ratio: float
    length: float
    threshold: float = _THRESHOLD


@dataclass(frozen=True, slots=True)
class Picture:
    """A histogram, drawn, with what was found of its column."""

    histogram: Histogram
    bars: Bars
    result: ColumnResult | None


class View:
    """What the template asks for."""

    def __init__(self, report: DriftReport) -> None:
        self._report = report

    @property
    def period(self) -> str:
        """How long the window is; empty where it has no times."""
        report = self._report
        return words.length(report.start, report.end) if report.end > report.start else ""

    @cached_property
    def groups(self) -> list[Group]:
        """The groups of checks, quality only where it was asked for."""
        report = self._report
        found = [Group("Data", report.data, "schema and completeness"), Group("Features", report.features, "what comes in")]
        if not self.by_hand or any(c.group == "predictions" for c in report.columns):
            found.append(Group("Predictions", report.predictions, "what the model answers"))
        measured = [q for q in report.quality if q.method == "Labels" and q.segment is None]
        return [*found, *(Group("Quality", q.verdict, f"{q.metric} on labels") for q in measured[:1])]

    @property
    def by_hand(self) -> bool:
        """Whether somebody compared files, and no revision is watched."""
        return not self._report.policy_uid

    @cached_property
    def columns(self) -> list[ColumnResult]:
        """Every comparison, what drifted the most first."""
        return ranked(self._report.columns)

    @cached_property
    def drifted(self) -> list[ColumnResult]:
        """Those that people must look at."""
        return [c for c in self.columns if c.verdict in (Verdict.BREACHED, Verdict.ERROR)]

    @cached_property
    def calm(self) -> list[ColumnResult]:
        """The others."""
        return [c for c in self.columns if c not in self.drifted]

    @cached_property
    def weighted(self) -> bool:
        """Whether the importance of the features is known."""
        return any(c.importance is not None for c in self.columns)

    @staticmethod
    def effect(column: ColumnResult) -> Effect | None:
        """The bar of a statistic, even up to the threshold and by the logarithm beyond; None where nothing could be compared."""
        if column.statistic is None or not column.threshold:
            return None
        ratio = excess(column)
        beyond = math.log(min(max(ratio, 1.0), _FULL), _FULL)
        return Effect(ratio, _THRESHOLD * min(ratio, 1.0) + (100 - _THRESHOLD) * beyond)

    @staticmethod
    def deciding(column: ColumnResult) -> str:
        """Which part of a threshold is the largest, in words."""
        if column.parts is None:
            return "" if column.calibrated or column.threshold is None else "given by the policy"
        parts = {
            "chance at these sizes": column.parts.noise,
            "ordinary variation of the reference": column.parts.variation,
            "the least worth an alarm": column.parts.effect,
        }
        return max(parts, key=lambda part: parts[part])

    @cached_property
    def pictures(self) -> list[Picture]:
        """The histograms: predictions first, then columns as they are ranked."""
        order = {(c.group, c.name): i for i, c in enumerate(self.columns)}
        results = {(c.group, c.name): c for c in self.columns}
        last = len(order)
        chosen = sorted(self._report.histograms, key=lambda h: (h.group != "predictions", order.get((h.group, h.name), last)))
        return [Picture(h, bars(h), results.get((h.group, h.name))) for h in chosen[:MAX_PICTURES]]

    @property
    def seen(self) -> Sequence[Picture]:
        """The pictures that are open."""
        return self.pictures[:_OPEN]

    @property
    def folded(self) -> Sequence[Picture]:
        """The pictures that open on demand."""
        return self.pictures[_OPEN:]

    @property
    def undrawn(self) -> int:
        """Histograms that are in the JSON only."""
        return len(self._report.histograms) - len(self.pictures)

    @cached_property
    def course(self) -> Course | None:
        """Quality over time."""
        return course(self._report)

    @staticmethod
    def about(quality: QualityResult) -> str:
        """What became of the labels, and what is said of the score or of its absence."""
        labels = quality.labels
        counts = [
            (getattr(labels, name), name) for name in ("missing", "duplicate", "conflicting", "late", "unselected", "unknown")
        ]
        told = [
            f"{words.number(labels.joined)} of {words.number(labels.requests)} rows have a label",
            *(f"{words.number(count)} {name}" for count, name in counts if count),
        ]
        parts = [", ".join(told) if quality.method == "Labels" else "", quality.message]
        parts += [f"withheld: {quality.withheld}"] if quality.withheld else []
        return "; ".join(part for part in parts if part)
