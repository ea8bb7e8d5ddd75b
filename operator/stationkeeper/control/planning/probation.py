"""Probation: a promoted revision beside its predecessor on the same labelled rows (SEMANTICS §8.2).

The gates judge on the past and cannot refuse what the next month brings. As labels come, checks ask the predecessor for the rows
that the new revision answered; one that is surely worse in as many windows as `breach` says is rolled back.
"""

from collections.abc import Sequence
from datetime import datetime

from stationkeeper.api.base import parse_duration
from stationkeeper.api.model import ModelSpec
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import Quarantined, RevisionRef
from stationkeeper.api.verdicts import CheckStatus, QualityVerdict
from stationkeeper.control.planning.drift import PolicyView


def predecessor(
    spec: ModelSpec,
    serving: RevisionRef | None,
    records: Sequence[ModelRevisionSpec],
    quarantine: Sequence[Quarantined],
    now: datetime,
) -> ModelRevisionSpec | None:
    """The revision that the serving one is compared with; None when it is not on probation, or nothing good came before it."""
    if serving is None or serving.since is None or spec.revision is not None:
        return None
    if now >= serving.since + parse_duration(spec.serving.rollout.probation):
        return None
    record = next((record for record in records if record.number == serving.number), None)
    bad = {entry.digest for entry in quarantine}
    champion = record.champion if record else None
    return next((r for r in records if champion and r.digest == champion.digest and r.digest not in bad), None)


def loss(
    before: ModelRevisionSpec, serving: RevisionRef, policies: Sequence[PolicyView], checks: Sequence[CheckStatus]
) -> str | None:
    """Why the serving revision is to be rolled back to `before`; None when no policy says so."""
    views = {(policy.uid, policy.digest): policy for policy in policies if policy.spec.quality}
    for check in checks:
        policy = views.get((check.policy_uid, check.policy_digest))
        if policy and check.revision_digest == serving.digest and (said := _surely_worse(policy, check.quality, before.number)):
            return said
    return None


def _surely_worse(policy: PolicyView, windows: Sequence[QualityVerdict], number: int) -> str | None:
    compared = [window for window in windows if window.predecessor == number and window.worse is not None]
    recent = compared[-policy.spec.breach.of :]
    worse = [window for window in recent if window.worse]
    if len(worse) < policy.spec.breach.windows:
        return None
    return f"worse than revision {number} in {len(worse)} of {len(recent)} labelled windows of policy {policy.name}; {worse[-1].message}"
