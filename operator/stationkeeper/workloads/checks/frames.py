"""Rows against rows, or stored counts, by the very path that the drift check of a model takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.checks.assemble import Evidence, Subject, report
from stationkeeper.workloads.checks.calibrating import length
from stationkeeper.workloads.checks.samples import Current, FrameError, Roles, Sample, count, sample_of, span
from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.components import fit_components
from stationkeeper.workloads.drift.cycles import unknown
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.rowchecks import RowFindings, Whole, judge_looked, needs_rows
from stationkeeper.workloads.drift.rowdata import typed
from stationkeeper.workloads.drift.table import FrameTable, Table, chosen, rows_at
from stationkeeper.workloads.drift.verdict import calibrated, judge
from stationkeeper.workloads.drift.windows import Window

__all__ = ["FrameError", "Names", "Roles", "check_frames"]

MAX_ROWS: Final = 200_000  # of each side that are held against each other whole; all are counted
_SEED: Final = 20130401

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Names:
    """What the two sides and the policy are called in the report."""

    reference: str = "the reference"
    current: str = "the current rows"
    policy: str = "the defaults"


def check_frames(
    reference: pl.DataFrame | Table | ReferenceProfile,
    current: pl.DataFrame | Table | Profile,
    policy: DriftPolicySpec | None = None,
    roles: Roles | None = None,
    names: Names | None = None,
    *,
    lost: Sequence[str] = (),
) -> DriftReport:
    """Compare two samples by a policy; without one the defaults and calibrated thresholds decide.

    Rows of a table are read as they are counted and none is kept, unless the policy asks for what whole rows alone show: then at most
    `MAX_ROWS` of each side are.

    Args:
        reference: rows, or the profile of a revision (`reference.json`).
        current: rows, or counts in that reference's bins (a `.profile`).
        policy: what is checked. `minSamples` holds here as in a window.
        roles: what columns are for.
        names: what the report calls them.
        lost: what is wrong with current rows that could not be read: then nothing has passed.

    Raises:
        FrameError: when a named column is missing or nothing can be compared.
    """
    policy, roles, names = policy or DriftPolicySpec(), roles or Roles(), names or Names()
    sample = None if isinstance(reference, ReferenceProfile) else sample_of(reference, roles)
    profile = sample.profile if sample else reference
    assert isinstance(profile, ReferenceProfile)
    table = FrameTable(current) if isinstance(current, pl.DataFrame) else current
    whole = sample.whole if sample else frozenset[str]()
    found = Current(table) if isinstance(table, Profile) else count(table, profile, roles, whole)
    evidence = Evidence(
        counts=judge(found.counts, _without(policy, found.unread)),
        rows=RowFindings() if isinstance(table, Profile) else _rows(table, found, profile, sample, policy),
        notes=[*_unanswered(policy), *(sample.notes if sample else ()), *found.notes],
        answers=bool(found.counts.layout.reference.predictions),
        watched=False,
        lost=lost,
        reference_rows=profile.rows,
        baseline=names.reference,
        calibrating=_calibrating(found.counts.layout.reference, sample, policy),
    )
    digest = sha256(canonical_json(policy.model_dump(mode="json", by_alias=True, exclude_defaults=True)))
    subject = Subject(names.current, names.policy, "", digest, 1, profile.digest)
    now = datetime.now(UTC)
    window = None if isinstance(table, Profile) else span(table, roles.timestamp)
    return report(subject, policy, window or Window(now, now), evidence, now)


def _calibrating(reference: ReferenceProfile, sample: Sample | None, policy: DriftPolicySpec) -> dict[Group, str]:
    """The groups of which the reference does not say what samples ordinarily differ by: a note, for two samples are no windows."""
    times = None if sample is None or sample.times is None else _spanned(sample.times)
    of = {group: unknown(reference.variation, group, times, length(policy)) for group in calibrated(reference, policy)}
    ends = "thresholds know of chance only, not of days and weather; name a longer time (--timestamp), or give thresholds"
    return {group: f"{why}: {ends}" for group, why in of.items() if why}


def _spanned(times: Array) -> timedelta | None:
    known = times[~np.isnat(times)].astype("datetime64[us]")
    return (known.max() - known.min()).item() if known.size else None


def _unanswered(policy: DriftPolicySpec) -> Iterator[str]:
    """What a policy asks for that two samples cannot tell."""
    if policy.quality:
        yield "quality is not measured: two samples hold no labels; stationkeeper backtest plays labels again"
    if policy.baseline:
        yield "the policy's baseline is not used: the reference was named"


def _without(policy: DriftPolicySpec, unread: frozenset[str]) -> DriftPolicySpec:
    """The policy for what could be counted: the other columns are violations already."""
    own = [check for check in policy.features.columns if check.name not in unread]
    return policy.model_copy(update={"features": policy.features.model_copy(update={"columns": own})})


def _rows(table: Table, found: Current, profile: ReferenceProfile, sample: Sample | None, policy: DriftPolicySpec) -> RowFindings:
    assert found.looked
    rows = _whole_rows(table, profile, sample, policy) if needs_rows(policy) else None
    return judge_looked(found.looked, rows, profile, policy, whole=sample.whole if sample else frozenset())


def _whole_rows(table: Table, profile: ReferenceProfile, sample: Sample | None, policy: DriftPolicySpec) -> Whole:
    names = [column.name for column in profile.features if column.name in table.schema]
    few = typed(rows_at(table, names, chosen(table.rows, MAX_ROWS, _SEED)), profile)
    if sample is None:
        return Whole(few, seed=_SEED)
    numbers = chosen(sample.rows.rows, MAX_ROWS, _SEED)
    rows = rows_at(sample.rows, [column.name for column in sample.features], numbers)
    times = None if sample.times is None else sample.times[numbers]
    # Also the domain classifier wants them: they know what stretches of the reference gave.
    together = policy.features.multivariate is not None
    components = fit_components(rows, sample.features, timestamps=times, seed=_SEED) if together else None
    return Whole(few, typed(rows, profile), components, _SEED)
