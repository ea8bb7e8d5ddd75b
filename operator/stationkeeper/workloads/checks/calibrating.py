"""`Calibrating`: what nobody knows yet of a revision's ordinary windows, and how its own traffic ends that (SEMANTICS §8.12).

A reference without timestamps, or one that spans too few cycles of traffic, cannot say what windows ordinarily differ by. The windows that
were reported since are ordinary windows themselves: when they span enough, and are twenty at least, what they differ by is measured
once and kept beside the reports. From then on thresholds rest on it.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, ValidationError

from stationkeeper.api.base import Time, Tolerant, canonical_json, format_time, parse_duration
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.status import Verdict
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.checks.comparison import Comparison
from stationkeeper.workloads.checks.records import Records
from stationkeeper.workloads.checks.revision import Revision
from stationkeeper.workloads.checks.tiling import Tiling
from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.collect import UnreadableProfiles
from stationkeeper.workloads.drift.cycles import cycles, unknown, words
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.variation import MIN_BLOCKS, Counted, Variation, observed
from stationkeeper.workloads.drift.verdict import calibrated
from stationkeeper.workloads.drift.windows import Window

log = logging.getLogger(__name__)

MAX_WINDOWS: Final = 200  # that are looked at, evenly spread
MAX_MESSAGE: Final = 256


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


def length(policy: DriftPolicySpec) -> timedelta:
    """How long windows of a policy may be."""
    return parse_duration(policy.max_window or policy.window)


def lacking(compared: Comparison, revision: Revision, policy: DriftPolicySpec) -> dict[Group, str]:
    """The groups with calibrated thresholds of which the reference does not say what windows differ by, and why."""
    reference = compared.reference
    if reference is None:
        return {}
    of = {
        group: unknown(reference.variation, group, _span(compared, revision, group), length(policy))
        for group in calibrated(reference, policy)
    }
    return {group: why for group, why in of.items() if why}


def _span(compared: Comparison, revision: Revision, group: Group) -> timedelta | None:
    """From the first to the last time of the rows that the reference's variation was measured on."""
    if revision.reference is None:
        return compared.chosen.stretch.end - compared.chosen.stretch.start if compared.chosen else None
    data, judged = revision.manifest.data, revision.manifest.evaluation
    first, last = (data.start, data.through) if group == "features" else (judged.holdout_start, judged.holdout_end)
    return last - first if first and last else None


def calibrate(compared: Comparison, revision: Revision, policy: DriftPolicySpec, records: Records, tiling: Tiling) -> Comparison:
    """What is compared with, and what its windows differ by as far as that is known; else `calibrating` says what is waited for.

    Raises:
        StoreError: when the store fails.
    """
    why, reference = lacking(compared, revision, policy), compared.reference
    if not why or reference is None:
        return compared
    try:
        known, waited = _observed(reference, list(why), compared, policy, records, tiling)
    except MalformedArtifact as error:
        log.warning("%s", error)
        known, waited = None, f"{records.variation_key}, which cannot be read, is removed"
    if known is None:
        ends = f"drift is observed only until {waited}, or thresholds are given"
        return replace(compared, calibrating={group: f"{because}; {ends}"[:MAX_MESSAGE] for group, because in why.items()})
    own = [one.model_copy(update={group: {} for group in why}) for one in reference.variation]
    note = (
        f"what windows ordinarily differ by is that of {known.windows} windows of this revision, "
        f"{format_time(known.start)} to {format_time(known.end)}"
    )
    return replace(compared, reference=reference.knowing([*own, *known.variation]), notes=(note,))


def _observed(
    reference: ReferenceProfile,
    groups: list[Group],
    compared: Comparison,
    policy: DriftPolicySpec,
    records: Records,
    tiling: Tiling,
) -> tuple[Observed | None, str]:
    """What reported windows differ by; or None, and what is waited for."""
    if (kept := records.variation()) is not None:
        return Observed.decode(kept), ""
    span = cycles(length(policy))
    waited = f"{MIN_BLOCKS} windows over {words(span)} show what they ordinarily differ by"
    windows = [window for window in records.reported() if not (compared.chosen and compared.chosen.covers(window))]
    if len(windows) < MIN_BLOCKS or windows[-1].end - windows[0].start < span:
        return None, f"{waited} ({len(windows)} so far)"
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), MAX_WINDOWS)).astype(int))
    whole = [(windows[i], profile) for i in chosen if (profile := _whole(windows[i], policy, records, tiling))]
    if len(whole) < MIN_BLOCKS:
        return None, f"{waited} ({len(whole)} with whole data so far)"
    counted: dict[str, Sequence[Counted]] = {
        group: _counts(reference, group, [profile for _, profile in whole]) for group in groups
    }
    variation = observed(counted, len(windows) / len(whole))
    if not variation:
        return None, f"{MIN_BLOCKS} windows hold enough rows"
    found = Observed(windows=len(whole), start=whole[0][0].start, end=whole[-1][0].end, variation=variation)
    log.info("what windows differ by is known from %d of them", len(whole))
    return Observed.decode(records.keep_variation(canonical_json(found.wire()))), ""


def _whole(window: Window, policy: DriftPolicySpec, records: Records, tiling: Tiling) -> Profile | None:
    """The counts of a reported window that has rows enough and whole data, where they are still there."""
    try:
        report = records.read(records.key(window))
        if report.rows < policy.min_samples or report.data is not Verdict.PASSED:
            return None
        return tiling.collect(window)
    except (MalformedArtifact, UnreadableProfiles) as error:
        log.warning("window %s tells nothing of ordinary windows: %s", format_time(window.start), error)
        return None


def _counts(reference: ReferenceProfile, group: Group, profiles: list[Profile]) -> list[Counted]:
    columns = reference.features if group == "features" else reference.predictions
    return [(column.name, column, np.stack([profile.counts(group, column.name) for profile in profiles])) for column in columns]
