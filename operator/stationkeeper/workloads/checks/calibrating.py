"""`Calibrating`: what nobody knows yet of a revision's ordinary windows, and how its own traffic ends that (SEMANTICS §8.12).

A reference without timestamps, or one that spans too few cycles of traffic, cannot say what windows ordinarily differ by. The windows that
were reported since are ordinary windows themselves: when they span enough, and are twenty at least, what they differ by is measured and
kept beside the reports (`checks.survey`). From then on thresholds rest on it.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from stationkeeper.api.base import format_time, parse_duration
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.workloads.checks.comparison import Comparison
from stationkeeper.workloads.checks.records import Records
from stationkeeper.workloads.checks.revision import Revision
from stationkeeper.workloads.checks.survey import Survey
from stationkeeper.workloads.checks.tiling import Tiling
from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.cycles import cycles, unknown
from stationkeeper.workloads.drift.verdict import calibrated

MAX_MESSAGE: Final = 256


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
    windows = [window for window in records.reported() if not (compared.chosen and compared.chosen.covers(window))]
    survey = Survey(reference, list(why), cycles(length(policy)), policy.min_samples, records, tiling)
    known, waited = survey.newest(windows)
    if known is None:
        ends = f"drift is observed only until {waited}, or thresholds are given"
        return replace(compared, calibrating={group: f"{because}; {ends}"[:MAX_MESSAGE] for group, because in why.items()})
    own = [one.model_copy(update={group: {} for group in why}) for one in reference.variation]
    note = (
        f"what windows ordinarily differ by is that of {known.windows} windows of this revision, "
        f"{format_time(known.start)} to {format_time(known.end)}"
    )
    return replace(compared, reference=reference.knowing([*own, *known.variation]), notes=(note,))
