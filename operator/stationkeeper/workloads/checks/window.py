"""The check of one window of a model's traffic: counts always, captured rows as far as they are there."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

import polars as pl

from stationkeeper.api.base import format_time, sha256
from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.report import DriftReport, QualityPoint, QualityResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts.captured import EVENT_AT, TIME_SOURCE, read_captured
from stationkeeper.workloads.artifacts.errors import StoreError
from stationkeeper.workloads.checks.assemble import Evidence, Subject, data_group, report
from stationkeeper.workloads.checks.comparison import Comparison
from stationkeeper.workloads.checks.revision import Revision
from stationkeeper.workloads.drift.baseline import against, plain
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.rowchecks import RowFindings, judge_rows, needs_rows
from stationkeeper.workloads.drift.verdict import judge, unreadable
from stationkeeper.workloads.drift.windows import Window

log = logging.getLogger(__name__)

MAX_ROWS: Final = 100_000  # captured rows of a window that are looked at; all are counted


class Estimates(Protocol):
    """Quality as far as it is known when a window ends; see `checks.quality`."""

    @property
    def notes(self) -> list[str]:
        """What was in the way."""
        ...

    def estimated(self, window: Window, captured: pl.DataFrame, broken: str) -> QualityResult | None:
        """The quality of captured rows without their labels; `broken` says what is wrong with the data."""
        ...

    def history(self, window: Window) -> list[QualityPoint]:
        """The quality of the windows before."""
        ...


@dataclass(frozen=True, slots=True)
class Checker:
    """Judges the windows of one revision by one policy."""

    config: CheckConfig
    revision: Revision
    comparison: Comparison
    estimates: Estimates | None = None

    @property
    def subject(self) -> Subject:
        """Who is checked by whom."""
        config = self.config
        return Subject(
            model=f"{config.model.namespace}/{config.model.name}",
            policy=config.policy,
            policy_uid=config.policy_uid,
            policy_digest=config.policy_digest,
            revision=config.revision.number,
            revision_digest=config.revision.digest,
        )

    def check_window(self, window: Window, profile: Profile, now: datetime, notes: Sequence[str] = ()) -> DriftReport:
        """The report of a window.

        Args:
            window: which one.
            profile: its traffic, in the bins of the revision's reference.
            now: when it is written.
            notes: what else is to be said of it.

        Raises:
            StoreError: when the store fails; any other trouble with rows is a note of the report.
        """
        policy, reference = self.config.policy_spec, self.comparison.reference
        importance = self.revision.manifest.importance
        assert reference is not None, "a window without anything to compare with is not judged"
        if profile.layout.reference is not reference:
            profile = against(profile, reference)
        captured, rows = self._rows(window)
        evidence = Evidence(
            counts=judge(profile, policy, importance=importance),
            rows=rows,
            reference_rows=reference.rows,
            baseline=self.comparison.name,
            notes=[*self._part(window), *self.comparison.notes, *_untimed(captured), *notes],
            calibrating=self.comparison.calibrating,
        )
        return report(self.subject, policy, window, self._with_quality(window, captured, evidence), now)

    def _part(self, window: Window) -> list[str]:
        """What a window that others answered too holds of it."""
        since, until, of = self.config.since, self.config.until, f"revision {self.revision.manifest.number}"
        notes = [f"{of} has served since {format_time(since)}: the window holds what it answered"] if since > window.start else []
        if until and until < window.end:
            notes.append(f"{of} served until {format_time(until)}: the window holds what it answered")
        return notes

    def _with_quality(self, window: Window, captured: pl.DataFrame | None, evidence: Evidence) -> Evidence:
        if self.estimates is None:
            return evidence
        data = data_group(evidence)
        broken = data.message if data.verdict is Verdict.BREACHED else ""
        found = None if captured is None else self.estimates.estimated(window, captured, broken)
        history = self.estimates.history(window)
        return replace(
            evidence, quality=[found] if found else [], history=history, notes=[*evidence.notes, *self.estimates.notes]
        )

    def refuse(self, window: Window, why: str, now: datetime, notes: Sequence[str] = ()) -> DriftReport:
        """The report of a window that cannot be judged, because something is damaged."""
        compared = self.comparison
        evidence = Evidence(unreadable(why), reference_rows=compared.rows, baseline=compared.name, notes=[*notes])
        return report(self.subject, self.config.policy_spec, window, evidence, now)

    def _rows(self, window: Window) -> tuple[pl.DataFrame | None, RowFindings]:
        captured = None
        try:
            captured = read_captured(self.revision.store, self.revision.digest, window.start, window.end, max_rows=MAX_ROWS)
            return captured, self._judged(window, captured)
        except (StoreError, MemoryError):
            raise
        except Exception as error:  # whatever rows bring: what counts have shown stands
            log.exception("window %s: rows were not looked at", format_time(window.start))
            return captured, RowFindings(notes=[f"captured rows were not looked at: {error}"])

    def _judged(self, window: Window, captured: pl.DataFrame | None) -> RowFindings:
        policy, kept, reference = self.config.policy_spec, self.comparison.kept, self.comparison.reference
        assert reference is not None
        if captured is None:
            return RowFindings(notes=["no rows were captured: only counts were judged"] if needs_rows(policy) else [])
        found = judge_rows(
            plain(captured),
            reference,
            policy,
            sample=kept.sample,
            pca=kept.components,
            seed=seed(self.revision.digest, window),
            features=self.revision.manifest.features,
            importance=self.revision.manifest.importance,
        )
        return RowFindings(found.violations, found.multivariate, found.segments, [*kept.notes, *found.notes])


def _untimed(captured: pl.DataFrame | None) -> list[str]:
    """How many rows count by their arrival because the time that they came with could not be used."""
    if captured is None or TIME_SOURCE not in captured.columns:
        return []
    # Files from before there was an event time say nothing of it.
    sources = captured.filter(pl.col(EVENT_AT).is_null() & pl.col(TIME_SOURCE).is_not_null())[TIME_SOURCE]
    if sources.is_empty():
        return []
    why = ", ".join(f"{source} ({count})" for source, count in sources.value_counts(sort=True).rows())
    return [f"{len(sources)} of {captured.height} captured rows count by their arrival, their event time being {why}"]


def seed(digest: str, window: Window) -> int:
    """The same for every run over the same window."""
    return int(sha256(f"{digest} {format_time(window.start)}".encode())[-8:], 16)
