"""The check of one window of a model's traffic: counts always, captured rows as far as they are there."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from stationkeeper.api.base import format_time, sha256
from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.artifacts.captured import read_captured
from stationkeeper.workloads.artifacts.errors import StoreError
from stationkeeper.workloads.checks.assemble import Evidence, Subject, report
from stationkeeper.workloads.checks.comparison import Comparison
from stationkeeper.workloads.checks.revision import Revision
from stationkeeper.workloads.drift.baseline import against, plain
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.rowchecks import RowFindings, divided, judge_rows
from stationkeeper.workloads.drift.verdict import judge, unreadable
from stationkeeper.workloads.drift.windows import Window

log = logging.getLogger(__name__)

MAX_ROWS: Final = 100_000  # captured rows of a window that are looked at; all are counted


@dataclass(frozen=True, slots=True)
class Checker:
    """Judges the windows of one revision by one policy."""

    config: CheckConfig
    revision: Revision
    comparison: Comparison

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

    def check_window(self, window: Window, profile: Profile, now: datetime) -> DriftReport:
        """The report of a window.

        Args:
            window: which one.
            profile: its traffic, in the bins of the revision's reference.
            now: when it is written.

        Raises:
            StoreError: when the store fails; any other trouble with rows is a note of the report.
        """
        policy, reference = self.config.policy_spec, self.comparison.reference
        importance = self.revision.manifest.importance
        if self.comparison.chosen:
            profile = against(profile, reference)
        evidence = Evidence(
            counts=judge(profile, divided(policy), importance=importance),
            rows=self._rows(window),
            reference_rows=reference.rows,
            baseline=self.comparison.name,
        )
        return report(self.subject, policy, window, evidence, now)

    def refuse(self, window: Window, why: str, now: datetime) -> DriftReport:
        """The report of a window that cannot be judged, because something is damaged."""
        evidence = Evidence(unreadable(why), reference_rows=self.comparison.reference.rows, baseline=self.comparison.name)
        return report(self.subject, self.config.policy_spec, window, evidence, now)

    def _rows(self, window: Window) -> RowFindings:
        try:
            captured = read_captured(self.revision.store, self.revision.digest, window.start, window.end, max_rows=MAX_ROWS)
            return self._judged(window, captured)
        except (StoreError, MemoryError):
            raise
        except Exception as error:  # whatever rows bring: what counts have shown stands
            log.exception("window %s: rows were not looked at", format_time(window.start))
            return RowFindings(notes=[f"captured rows were not looked at: {error}"])

    def _judged(self, window: Window, captured: pl.DataFrame | None) -> RowFindings:
        policy, kept = self.config.policy_spec, self.comparison.kept
        if captured is None:
            asked = policy.features.multivariate or policy.segments or policy.schema_.max_duplicate_share is not None
            return RowFindings(notes=["no rows were captured: only counts were judged"] if asked else [])
        found = judge_rows(
            plain(captured),
            self.comparison.reference,
            policy,
            sample=kept.sample,
            pca=kept.components,
            seed=_seed(self.revision.digest, window),
            features=self.revision.manifest.features,
            importance=self.revision.manifest.importance,
        )
        return RowFindings(found.violations, found.multivariate, found.segments, [*kept.notes, *found.notes])


def _seed(digest: str, window: Window) -> int:
    """The same for every run over the same window."""
    return int(sha256(f"{digest} {format_time(window.start)}".encode())[-8:], 16)
