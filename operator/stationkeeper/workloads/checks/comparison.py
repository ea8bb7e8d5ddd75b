"""What the windows of a policy are compared with: the revision's own reference, or a stretch of its traffic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from stationkeeper.api.base import format_time
from stationkeeper.api.driftpolicy import Baseline, DriftPolicySpec
from stationkeeper.workloads.artifacts.captured import read_captured
from stationkeeper.workloads.artifacts.columns import ColumnError
from stationkeeper.workloads.artifacts.errors import ArtifactError
from stationkeeper.workloads.checks.assemble import OWN
from stationkeeper.workloads.checks.revision import Kept, Revision
from stationkeeper.workloads.drift.baseline import Chosen, choose, naive, plain, rebased
from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.collect import Collector, UnreadableProfiles
from stationkeeper.workloads.drift.components import fit_components
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.windows import Window

MAX_ROWS: Final = 20_000  # of a baseline, that rows are compared with


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared with. `lacking` says why nothing can be compared, `wrong` whether that is an error."""

    reference: ReferenceProfile | None
    name: str = OWN
    kept: Kept = field(default_factory=Kept)
    chosen: Chosen | None = None
    lacking: str = ""
    wrong: bool = False
    calibrating: Mapping[Group, str] = field(default_factory=dict)  # see `checks.calibrating`
    notes: tuple[str, ...] = ()  # on what is compared with

    @property
    def rows(self) -> int:
        """Rows that are compared with."""
        return self.reference.rows if self.reference else 0

    def withheld(self, window: Window) -> str:
        """Why a window cannot be judged; empty where it can."""
        if not self.lacking and self.chosen and self.chosen.covers(window):
            return "the window is part of the baseline: compared with itself it would always pass"
        return self.lacking


def compared_with(
    revision: Revision, policy: DriftPolicySpec, collector: Collector, since: datetime, now: datetime
) -> Comparison:
    """What a policy asks to compare with, as of now.

    Raises:
        StoreError: when the store fails.
    """
    rows = compares_rows(policy)
    if policy.baseline is None:
        return Comparison(revision.reference, kept=revision.kept if rows else Kept())
    return _with_baseline(revision, policy.baseline, collector, since, now, rows=rows)


def compares_rows(policy: DriftPolicySpec) -> bool:
    """Whether a policy compares rows with rows, and not only counts with counts."""
    return policy.features.multivariate is not None or bool(policy.segments)


def _with_baseline(
    revision: Revision, asked: Baseline, collector: Collector, since: datetime, now: datetime, *, rows: bool
) -> Comparison:
    assert revision.reference is not None, "there are bins to count in"
    try:
        chosen = choose(collector, asked, since, now)
    except UnreadableProfiles as error:
        return Comparison(revision.reference, lacking=f"the baseline: {error}", wrong=True)
    if chosen.lacking:
        return Comparison(revision.reference, lacking=chosen.lacking)
    stretch = chosen.stretch
    return Comparison(
        reference=rebased(revision.reference, chosen.profile),
        name=f"the traffic from {format_time(stretch.start)} to {format_time(stretch.end)}",
        kept=_captured(revision, stretch) if rows else Kept(),
        chosen=chosen,
    )


def _captured(revision: Revision, stretch: Window) -> Kept:
    """Rows of a baseline: they stand in for the sample of the training."""
    try:
        rows = read_captured(revision.store, revision.digest, stretch.start, stretch.end, max_rows=MAX_ROWS)
        if rows is None:
            return Kept(notes=("no rows of the baseline were captured: there are none to compare rows with",))
        return sampled(revision, rows)
    except (ArtifactError, ColumnError) as error:
        return Kept(notes=(f"the rows of the baseline cannot be used: {error}",))


def sampled(revision: Revision, rows: pl.DataFrame) -> Kept:
    """Captured rows in place of the sample of a training.

    Raises:
        ColumnError: when a feature is not among them, or of another kind.
    """
    sample, at = plain(rows), naive(rows)
    return Kept(sample, fit_components(sample, revision.manifest.features, timestamps=at))
