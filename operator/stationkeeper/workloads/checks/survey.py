"""Surveys: what a revision's own reported windows differ by, where its reference could not say it (`checks.calibrating`).

The first is made as soon as enough was seen, the others each after twice as long, for a week does not know the weather of a month. Each is
written once, beside the reports: whoever asks in between reads the newest.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, ValidationError

from stationkeeper.api.base import Time, Tolerant, canonical_json, format_time
from stationkeeper.api.report import DriftReport
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.checks.records import Records
from stationkeeper.workloads.checks.tiling import Tiling
from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.collect import UnreadableProfiles
from stationkeeper.workloads.drift.cycles import words
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.variation import MIN_BLOCKS, Counted, Variation, evenly, observed
from stationkeeper.workloads.drift.windows import Window

log = logging.getLogger(__name__)

MAX_WINDOWS: Final = 200  # that are looked at, evenly spread
SURVEYS: Final = 5  # the last after sixteen times as long as the first


class Observed(Tolerant):
    """What the reported windows of a revision differ by: written once."""

    schema_version: Literal[1] = 1
    windows: Annotated[int, Field(ge=1)]
    start: Time
    end: Time
    variation: list[Variation]

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read it.

        Raises:
            MalformedArtifact: when it is nothing that this version can read.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise MalformedArtifact(f"what windows differ by is not what this version can read: {error}") from error


@dataclass(frozen=True)
class Survey:
    """Of the windows of one policy on one revision."""

    reference: ReferenceProfile
    groups: Sequence[Group]  # that nobody knows this of
    span: timedelta  # that must have been seen
    min_samples: int  # rows of an ordinary window, at least
    records: Records
    tiling: Tiling

    def newest(self, windows: Sequence[Window]) -> tuple[Observed | None, str]:
        """What the newest survey found, which is made where it is due; or None, and what is waited for.

        Args:
            windows: those reported, oldest first.

        Raises:
            StoreError: when the store fails.
        """
        due, last = self._due(windows), self.records.surveyed(SURVEYS)
        before, trouble = (None, "") if last is None else self._read(last, self.records.variation(last))
        if trouble or (last is not None and (due is None or last >= due)):
            return before, trouble
        if due is None:
            return None, self._lacks(len(windows), "so far")
        found, lacks = self._measured(windows)
        # What cannot be measured anew stays as it was, and is not tried at every check.
        kept = found or before
        if kept is None:
            return None, lacks
        log.info("what windows differ by is known from %d of them", kept.windows)
        return self._read(due, self.records.keep_variation(due, canonical_json(kept.wire())))

    def _due(self, windows: Sequence[Window]) -> int | None:
        """The newest survey whose time has come."""
        if len(windows) < MIN_BLOCKS or (seen := windows[-1].end - windows[0].start) < self.span:
            return None
        return min(int(seen / self.span).bit_length(), SURVEYS) - 1

    def _read(self, survey: int, data: bytes) -> tuple[Observed | None, str]:
        try:
            return Observed.decode(data), ""
        except MalformedArtifact as error:
            log.warning("%s", error)
            return None, f"{self.records.variation_key(survey)}, which cannot be read, is removed"

    def _lacks(self, count: int, so_far: str) -> str:
        return f"{MIN_BLOCKS} windows over {words(self.span)} show what they ordinarily differ by ({count} {so_far})"

    def _measured(self, windows: Sequence[Window]) -> tuple[Observed | None, str]:
        chosen = evenly(len(windows), MAX_WINDOWS)
        whole = [(windows[i], profile) for i in chosen if (profile := self._whole(windows[i]))]
        if len(whole) < MIN_BLOCKS:
            return None, self._lacks(len(whole), "with whole data so far")
        variation = self._variation([profile for _, profile in whole], len(windows) / len(whole))
        if not variation:
            return None, f"{MIN_BLOCKS} windows hold enough rows"
        return Observed(windows=len(whole), start=whole[0][0].start, end=whole[-1][0].end, variation=variation), ""

    def _whole(self, window: Window) -> Profile | None:
        """The counts of a reported window that was an ordinary one, with rows enough and whole data, where they are still there."""
        try:
            report = self.records.read(self.records.key(window))
            if report.rows < self.min_samples or report.data is not Verdict.PASSED or _drifted(report):
                return None
            return self.tiling.collect(window)
        except (MalformedArtifact, UnreadableProfiles) as error:
            log.warning("window %s tells nothing of ordinary windows: %s", format_time(window.start), error)
            return None

    def _variation(self, profiles: Sequence[Profile], apart: float) -> list[Variation]:
        counted: dict[str, Sequence[Counted]] = {}
        for group in self.groups:
            columns = self.reference.features if group == "features" else self.reference.predictions
            counted[group] = [(c.name, c, np.stack([profile.counts(group, c.name) for profile in profiles])) for c in columns]
        return observed(counted, apart)


def _drifted(report: DriftReport) -> bool:
    """Whether the window breached by thresholds that were known: a drift must not become ordinary because it goes on."""
    unknown_yet = {found.group for found in report.calibrating}
    verdicts = {"features": report.features, "predictions": report.predictions}
    return any(verdict is Verdict.BREACHED and group not in unknown_yet for group, verdict in verdicts.items())
