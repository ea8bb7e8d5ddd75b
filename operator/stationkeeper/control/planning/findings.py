"""What all active policies say of one Model, taken together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.verdicts import CheckStatus, Verdict
from stationkeeper.control.planning import drift as drifting
from stationkeeper.control.planning.drift import Finding, PolicyView


@dataclass(frozen=True)
class Findings:
    """The finding that speaks for the Model in each question; None where no policy asks it."""

    data: Finding | None
    shown: Finding | None  # what the condition Drifted tells
    drift: Finding | None  # of features and predictions, among what retrains
    quality: Finding | None  # among what retrains
    skew: Finding | None = None


def findings(policies: Sequence[PolicyView], checks: Sequence[CheckStatus], now: datetime) -> Findings:
    """Put together what each policy's memory says. A suspended policy counts nowhere."""
    active = [(policy, check) for policy in policies for check in checks if check.policy_uid == policy.uid]
    active = [(policy, check) for policy, check in active if not policy.spec.suspend]
    drifts = [drifting.drift(policy, check, now) for policy, check in active]
    qualities = [found for policy, check in active if (found := drifting.quality(policy, check, now))]
    # Quality that was seen to hold says nothing of the inputs: only its loss is told as drift.
    told = [*drifts, *(q for q in qualities if q.verdict in (Verdict.BREACHED, Verdict.ERROR))]
    acting = [finding for finding in told if finding.acts]
    shown, heard = drifting.worst(told), drifting.worst(acting)
    return Findings(
        data=_blocking_first([drifting.data(policy, check, now) for policy, check in active]),
        shown=heard if heard and shown and heard.verdict == shown.verdict else shown,
        drift=drifting.worst([finding for finding in drifts if finding.acts]),
        quality=drifting.worst([finding for finding in qualities if finding.acts]),
        skew=drifting.worst([found for policy, check in active if (found := drifting.skewed(policy, check, now))]),
    )


def _blocking_first(found: Sequence[Finding]) -> Finding | None:
    """The worst finding about data; of two breaches the one that blocks."""
    return drifting.worst(sorted(found, key=lambda finding: not finding.acts))
