"""Checks of a revision that came without rows to compare with: its traffic was captured, and not counted.

The bins are made from the baseline that a policy names, its first captured rows as a rule, and the windows that follow are counted
from their captured rows. Without a baseline nothing is compared, and nothing passes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from stationkeeper.api.base import format_time
from stationkeeper.api.driftpolicy import Baseline, DriftPolicySpec
from stationkeeper.workloads.artifacts.captured import count_captured, list_captured, read_captured, read_first
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.checks.comparison import Comparison, compares_rows, sampled
from stationkeeper.workloads.checks.revision import Kept, Revision
from stationkeeper.workloads.drift.baseline import MIN_ROWS, Chosen, answers, from_captured, plain
from stationkeeper.workloads.drift.collect import MAX_LATE, UnreadableProfiles, ahead
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.windows import Window

MAX_ROWS: Final = 100_000  # captured rows of a window, or of a baseline, that are looked at


def compared_with(revision: Revision, policy: DriftPolicySpec, since: datetime, now: datetime) -> Comparison:
    """What a policy compares the revision with, as of now.

    Raises:
        StoreError: when the store fails.
    """
    asked = policy.baseline
    if asked is None:
        return Comparison(None, lacking=_no_reference(revision))
    try:
        rows, count, stretch = _first(revision, asked, since, now)
    except MalformedArtifact as error:
        return Comparison(None, lacking=f"the baseline: {error}", wrong=True)
    wanted = asked.first_rows or MIN_ROWS
    if rows is None or count < wanted:
        return Comparison(None, lacking=f"the baseline holds {count} of the {wanted} captured rows that it needs")
    if stretch.end > now:
        return Comparison(None, lacking=f"the baseline ends only at {format_time(stretch.end)}")
    try:
        reference = from_captured(rows, revision.manifest.features)
        kept = sampled(revision, rows) if compares_rows(policy) else Kept()
    except ColumnError as error:
        return Comparison(None, lacking=f"the rows of the baseline cannot be used: {error}", wrong=True)
    name = f"the traffic from {format_time(stretch.start)} to {format_time(stretch.end)}"
    return Comparison(reference, name, kept, Chosen(Profile.empty(reference), stretch))


def _no_reference(revision: Revision) -> str:
    return (
        f"revision {revision.manifest.number} was made elsewhere and came without rows to compare with; "
        "name its first rows in the policy (baseline.firstRows), or give the Model's source an evaluation set"
    )


def _first(revision: Revision, asked: Baseline, since: datetime, now: datetime) -> tuple[pl.DataFrame | None, int, Window]:
    store, digest = revision.store, revision.digest
    if asked.window is not None:
        stretch = Window(asked.window.start, asked.window.end)
        rows = read_captured(store, digest, stretch.start, stretch.end, max_rows=MAX_ROWS)
        return rows, 0 if rows is None else rows.height, stretch
    rows, count, end = read_first(store, digest, since, now, asked.first_rows or MIN_ROWS, max_rows=MAX_ROWS)
    return rows, count, Window(since, end)


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts the captured rows of windows, in the bins of a baseline."""

    revision: Revision
    comparison: Comparison

    def collect(self, window: Window) -> Profile | None:
        """The profile of a window's captured rows; None when there are none.

        Raises:
            UnreadableProfiles: when they cannot be read.
        """
        reference = self.comparison.reference
        assert reference is not None, "a window without anything to compare with is not counted"
        try:
            rows = read_captured(self.revision.store, self.revision.digest, window.start, window.end, max_rows=MAX_ROWS)
            if rows is None:
                return None
            profile = Profile.empty(reference)
            profile.update(from_frame(plain(rows), self.revision.manifest.features), answers(rows))
        except (MalformedArtifact, ColumnError, ValueError) as error:
            raise UnreadableProfiles(str(error)) from error
        return profile

    def came_after(self, window: Window, moment: datetime) -> int:
        """Captured rows of a window that were written after a moment by the store's clock, as far as they can be read."""
        listed = list_captured(self.revision.store, self.revision.digest, window.start, window.end)
        late = [info for _, info in listed if info.modified > moment]
        return count_captured(self.revision.store, late[:MAX_LATE])

    def ahead(self, window: Window) -> timedelta:
        """By how much the clocks of pods that wrote for the window are ahead of the store's; nothing where they are not."""
        found = list_captured(self.revision.store, self.revision.digest, window.start, window.end)
        return ahead((begins, info.modified) for begins, info in found)
