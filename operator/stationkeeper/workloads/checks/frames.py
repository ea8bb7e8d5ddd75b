"""Rows against rows, or stored counts, by the very path that the drift check of a model takes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import polars as pl

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.checks.assemble import Evidence, Subject, report
from stationkeeper.workloads.checks.samples import Counted, FrameError, Roles, Sample, count, sample_of, span
from stationkeeper.workloads.drift.components import fit_components
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.rowchecks import RowFindings, divided, judge_rows
from stationkeeper.workloads.drift.verdict import judge
from stationkeeper.workloads.drift.windows import Window

__all__ = ["FrameError", "Names", "Roles", "check_frames"]

MAX_ROWS: Final = 200_000  # that are looked at one by one; all are counted
_SEED: Final = 20130401


@dataclass(frozen=True, slots=True)
class Names:
    """What the two sides and the policy are called in the report."""

    reference: str = "the reference"
    current: str = "the current rows"
    policy: str = "the defaults"


def check_frames(
    reference: pl.DataFrame | ReferenceProfile,
    current: pl.DataFrame | Profile,
    policy: DriftPolicySpec | None = None,
    roles: Roles | None = None,
    names: Names | None = None,
) -> DriftReport:
    """Compare two samples by a policy; without one the defaults and calibrated thresholds decide.

    Args:
        reference: rows, or the profile of a revision (`reference.json`).
        current: rows, or counts in that reference's bins (a `.profile`).
        policy: what is checked. `minSamples` holds here as in a window.
        roles: what columns are for.
        names: what the report calls them.

    Raises:
        FrameError: when a named column is missing or nothing can be compared.
    """
    policy, roles, names = policy or DriftPolicySpec(), roles or Roles(), names or Names()
    sample = sample_of(reference, roles) if isinstance(reference, pl.DataFrame) else None
    profile = sample.profile if sample else reference
    assert isinstance(profile, ReferenceProfile)
    found = Counted(current) if isinstance(current, Profile) else count(current, profile, roles)
    rows = _rows(current, profile, sample, policy) if isinstance(current, pl.DataFrame) else RowFindings()
    evidence = Evidence(
        counts=judge(found.counts, _without(divided(policy), found.unread)),
        rows=rows,
        notes=[*(sample.notes if sample else ()), *found.notes],
        answers=bool(found.counts.layout.reference.predictions),
        watched=False,
        reference_rows=profile.rows,
        baseline=names.reference,
    )
    digest = sha256(canonical_json(policy.model_dump(mode="json", by_alias=True, exclude_defaults=True)))
    subject = Subject(names.current, names.policy, "", digest, 1, profile.digest)
    now = datetime.now(UTC)
    window = None if isinstance(current, Profile) else span(current, roles.timestamp)
    return report(subject, policy, window or Window(now, now), evidence, now)


def _without(policy: DriftPolicySpec, unread: frozenset[str]) -> DriftPolicySpec:
    """The policy for what could be counted: the other columns are violations already."""
    own = [check for check in policy.features.columns if check.name not in unread]
    return policy.model_copy(update={"features": policy.features.model_copy(update={"columns": own})})


def _rows(current: pl.DataFrame, profile: ReferenceProfile, sample: Sample | None, policy: DriftPolicySpec) -> RowFindings:
    few = current if current.height <= MAX_ROWS else current.sample(MAX_ROWS, seed=_SEED)
    tests = policy.features.multivariate.tests if policy.features.multivariate else []
    if sample is None:
        return judge_rows(few, profile, policy, sample=None, pca=None, seed=_SEED)
    # Also the domain classifier wants them: they know what stretches of the reference gave.
    components = fit_components(sample.rows, sample.features, timestamps=sample.times, seed=_SEED) if tests else None
    kept = sample.rows if sample.rows.height <= MAX_ROWS else sample.rows.sample(MAX_ROWS, seed=_SEED)
    return judge_rows(few, profile, policy, sample=kept, pca=components, seed=_SEED, features=sample.features)
