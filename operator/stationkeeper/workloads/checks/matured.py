"""The windows whose labels have matured, judged on them, oldest first."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stationkeeper.api.base import format_time
from stationkeeper.api.report import DriftReport, QualityResult
from stationkeeper.api.verdicts import QualityVerdict, Verdict
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.checks.assemble import TELLS, Evidence, report, retraining
from stationkeeper.workloads.checks.labelled import Labelled
from stationkeeper.workloads.checks.quality import Quality
from stationkeeper.workloads.checks.revision import line
from stationkeeper.workloads.checks.summary import MAX_TOLD, cut, newest
from stationkeeper.workloads.checks.window import Checker, seed
from stationkeeper.workloads.drift.verdict import Findings, GroupVerdict
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.quality.labels import Joined
from stationkeeper.workloads.quality.score import judge_quality

log = logging.getLogger(__name__)

MAX_PER_RUN: Final = 12  # windows that one run judges on labels; the next run goes on


@dataclass(frozen=True, slots=True)
class Matured:
    """Judges windows on their labels.

    A window of which too few labels came, and of which more may come, is `InsufficientData` and gets no report: when a feed that stood
    still goes on it is judged, as long as it is among the last `windows.MAX_BACK`.
    """

    checker: Checker
    quality: Quality
    labelled: Labelled
    now: datetime

    def run(self) -> list[QualityVerdict]:
        """The newest windows that are told, the newest last."""
        told: list[QualityVerdict] = []
        trouble, judged, due = self._trouble(), 0, self.labelled.due
        reported = [window for window in due if window not in self.labelled.pending]
        for window in due:
            key = self.labelled.records.key(window, quality=True)
            if self.labelled.records.has(key):
                if window in reported[-MAX_TOLD:]:
                    told.append(self._stored(window))
            elif trouble:
                told.append(_unjudged(window, Verdict.ERROR, trouble))
            elif judged < MAX_PER_RUN:
                told.append(self._judge(window))
                judged += self.labelled.records.has(key)
        return newest(told, [verdict.labels > 0 for verdict in told])

    def _trouble(self) -> str:
        """What is wrong with the labels, if anything is: then no window can be judged."""
        try:
            if self.labelled.pending:
                self.labelled.read()
        except Exception as error:  # also a store of labels that fails: it need not be the Model's own
            log.warning("labels were not read: %s", error)
            return line(error)
        return ""

    def _judge(self, window: Window) -> QualityVerdict:
        try:
            joined = self.labelled.joined(window)
            if joined is None:
                return _unjudged(window, Verdict.INSUFFICIENT_DATA, "no rows were captured")
            results = self._results(window, joined)
        except Exception as error:
            log.exception("window %s: its quality was not judged", format_time(window.start))
            return _unjudged(window, Verdict.ERROR, line(error))
        if self._open(results[0]):
            return _verdict(window, results)
        log.info("window %s: quality %s: %s", format_time(window.start), results[0].verdict, results[0].message)
        return self._write(window, self._report(window, joined, results))

    def _open(self, whole: QualityResult) -> bool:
        """Whether labels that are still missing could make a verdict of what is none."""
        counts = whole.labels
        enough = counts.missing and counts.joined + counts.missing >= self.quality.check.min_labels
        return whole.verdict is Verdict.INSUFFICIENT_DATA and whole.score is None and bool(enough)

    def _results(self, window: Window, joined: Joined) -> list[QualityResult]:
        config, manifest = self.checker.config, self.quality.revision.manifest
        drawn = seed(self.quality.revision.digest, window)
        whole, *segments = judge_quality(
            joined,
            manifest,
            self.quality.check,
            estimation=self.quality.estimation,
            segments=config.policy_spec.segments,
            seed=drawn,
        )
        return [self.quality.beside(joined, whole, drawn), *segments]

    def _report(self, window: Window, joined: Joined, results: list[QualityResult]) -> DriftReport:
        """The window's report with what its labels said."""
        found = self._drift(window, joined)
        estimates = [result for result in found.quality if result.method != "Labels"]
        verdict = gravest(results)
        return found.model_copy(
            update={
                "created_at": self.now,
                "verdict": verdict,
                "message": _message(results),
                "action": self._action(verdict),
                "quality": [*results, *estimates],
                "history": self.quality.history(window),
                "notes": list(dict.fromkeys([*found.notes, *self.quality.notes]))[:32],
            }
        )

    def _drift(self, window: Window, joined: Joined) -> DriftReport:
        """The report that counts and rows gave; an empty one where that is not there."""
        records = self.labelled.records
        try:
            if records.has(records.key(window)):
                return records.read(records.key(window))
        except MalformedArtifact as error:
            log.warning("%s", error)
        none = GroupVerdict(Verdict.INSUFFICIENT_DATA, "inputs and predictions have no report")
        counts = Findings(rows=joined.counts.requests, data=none, features=none, predictions=none)
        comparison = self.checker.comparison
        evidence = Evidence(counts, reference_rows=comparison.rows, baseline=comparison.name)
        return report(self.checker.subject, self.checker.config.policy_spec, window, evidence, self.now)

    def _action(self, verdict: Verdict) -> str:
        policy = self.checker.config.policy_spec
        if verdict is not Verdict.BREACHED:
            return ""
        acts = (self.quality.check.action or policy.action) == "Retrain"
        return retraining(policy, "the quality fell") if acts else TELLS

    def _write(self, window: Window, found: DriftReport) -> QualityVerdict:
        records = self.labelled.records
        try:
            found = records.write(records.key(window, quality=True), found)
        except MalformedArtifact as error:
            return _unreadable(window, error)
        return _verdict(window, found.quality)

    def _stored(self, window: Window) -> QualityVerdict:
        records = self.labelled.records
        try:
            return _verdict(window, records.read(records.key(window, quality=True)).quality)
        except MalformedArtifact as error:
            return _unreadable(window, error)


def gravest(results: Sequence[QualityResult]) -> Verdict:
    """The verdict on the labels of a window: a segment that breached is a breach, one with few labels holds up nothing."""
    whole, *segments = (result.verdict for result in results if result.method == "Labels")
    return Verdict.BREACHED if whole is not Verdict.ERROR and Verdict.BREACHED in segments else whole


def _message(results: Sequence[QualityResult]) -> str:
    whole = results[0]
    breached = [result for result in results if result.segment and result.verdict is Verdict.BREACHED]
    return "; ".join([whole.message, *(f"{result.segment}: {result.message}" for result in breached)])


def _verdict(window: Window, results: Sequence[QualityResult]) -> QualityVerdict:
    whole = results[0]
    return QualityVerdict(
        start=window.start,
        end=window.end,
        verdict=gravest(results),
        labels=whole.labels.joined,
        score=whole.score.value if whole.score else None,
        skill=whole.skill,
        predecessor=whole.predecessor.number if whole.predecessor else None,
        worse=whole.predecessor.worse if whole.predecessor else None,
        message=cut(_message(results)),
    )


def _unjudged(window: Window, verdict: Verdict, why: str) -> QualityVerdict:
    return QualityVerdict(start=window.start, end=window.end, verdict=verdict, message=cut(why))


def _unreadable(window: Window, error: MalformedArtifact) -> QualityVerdict:
    log.warning("%s", error)
    return _unjudged(window, Verdict.ERROR, "its report cannot be read; remove it to judge the window again")
