"""The memory of drift checks and what it amounts to: M of N evaluated windows (SEMANTICS §1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.model import CheckStatus, Verdict, WindowVerdict
from stationkeeper.api.summary import CheckSummary

REMEMBERED = 16  # windows kept in status, as many as `breach.of` may ask for
_EVALUATED = (Verdict.PASSED, Verdict.BREACHED)


@dataclass(frozen=True)
class PolicyView:
    """A policy that watches the model, with its parsed spec and the digest of its judgement."""

    uid: str
    name: str
    spec: DriftPolicySpec
    digest: str


@dataclass(frozen=True)
class Finding:
    """What one policy's memory says of one question."""

    policy: PolicyView
    verdict: Verdict
    message: str
    onset: datetime | None = None  # start of the first breached window that counts
    report: str | None = None


def remember(
    before: Sequence[CheckStatus],
    policies: Sequence[PolicyView],
    summaries: dict[str, list[CheckSummary]],
    revision_digest: str,
) -> list[CheckStatus]:
    """The new memory: known windows and the reported ones, for today's policies and the revision that serves.

    Another revision or another judgement starts a new history: verdicts belong to what they were made with.
    """
    known = {check.policy_uid: check for check in before}
    return [_merge(known.get(policy.uid), policy, summaries.get(policy.uid, []), revision_digest) for policy in policies]


def _merge(before: CheckStatus | None, policy: PolicyView, summaries: list[CheckSummary], revision_digest: str) -> CheckStatus:
    valid = before if before and before.policy_digest == policy.digest and before.revision_digest == revision_digest else None
    windows = {window.start: window for window in (valid.windows if valid else [])}
    report, newest = (valid.report if valid else None), max(windows, default=None)
    for summary in summaries:
        if summary.policy_digest != policy.digest or summary.revision_digest != revision_digest:
            continue
        windows |= {window.start: window for window in summary.windows}
        if summary.report and summary.windows and (newest is None or summary.windows[-1].start >= newest):
            report, newest = summary.report, summary.windows[-1].start
    return CheckStatus(
        policy_uid=policy.uid,
        policy=policy.name,
        policy_digest=policy.digest,
        revision_digest=revision_digest,
        windows=[windows[start] for start in sorted(windows)][-REMEMBERED:],
        report=report,
    )


def drift(policy: PolicyView, check: CheckStatus) -> Finding:
    """Whether features or predictions have drifted: M of the newest N evaluated windows breached.

    Windows with broken data count for nothing here: what broke them is not drift.
    """
    healthy = [window for window in check.windows if window.data != Verdict.BREACHED]
    for group in ("features", "predictions"):
        evaluated = [w for w in healthy if getattr(w, group) in _EVALUATED][-policy.spec.breach.of :]
        breached = [w for w in evaluated if getattr(w, group) == Verdict.BREACHED]
        if len(breached) >= policy.spec.breach.windows:
            message = f"policy {policy.name}: {len(breached)} of {len(evaluated)} windows breached; {breached[-1].message}"
            return Finding(policy, Verdict.BREACHED, message, breached[0].start, check.report)
    if not any(w.features in _EVALUATED or w.predictions in _EVALUATED for w in healthy):
        return Finding(policy, _unevaluated(check.windows), _evidence_missing(policy, check.windows))
    recent = [w for w in healthy if w.features in _EVALUATED or w.predictions in _EVALUATED][-policy.spec.breach.of :]
    breached = [w for w in recent if Verdict.BREACHED in (w.features, w.predictions)]
    needed = f" ({policy.spec.breach.windows} are needed)" if breached else ""
    message = f"policy {policy.name}: {len(breached)} of {len(recent)} windows breached{needed}; {recent[-1].message}"
    return Finding(policy, Verdict.PASSED, message, report=check.report)


def data(policy: PolicyView, check: CheckStatus) -> Finding:
    """Whether the data is broken. One breached window blocks at once; it takes a passed one, and M of N clear, to lift it."""
    evaluated = [window for window in check.windows if window.data in _EVALUATED][-policy.spec.breach.of :]
    if not evaluated:
        return Finding(policy, _unevaluated(check.windows), _evidence_missing(policy, check.windows))
    breached = [window for window in evaluated if window.data == Verdict.BREACHED]
    if evaluated[-1].data == Verdict.BREACHED or len(breached) >= policy.spec.breach.windows:
        return Finding(policy, Verdict.BREACHED, f"policy {policy.name}: {breached[-1].message}", breached[0].start, check.report)
    return Finding(
        policy, Verdict.PASSED, f"policy {policy.name}: schema and completeness are as in the reference", report=check.report
    )


def _unevaluated(windows: Sequence[WindowVerdict]) -> Verdict:
    if windows and Verdict.ERROR in (windows[-1].data, windows[-1].features, windows[-1].predictions):
        return Verdict.ERROR
    return Verdict.INSUFFICIENT_DATA


def _evidence_missing(policy: PolicyView, windows: Sequence[WindowVerdict]) -> str:
    if not windows:
        return f"policy {policy.name}: no window checked yet"
    return f"policy {policy.name}: no window could be judged since {windows[0].start:%Y-%m-%d %H:%M} UTC; {windows[-1].message}"


def worst(findings: Sequence[Finding]) -> Finding | None:
    """The finding that speaks for the model: a breach before an error before missing evidence before a pass."""
    order = [Verdict.BREACHED, Verdict.ERROR, Verdict.PASSED, Verdict.INSUFFICIENT_DATA]
    return min(findings, key=lambda finding: order.index(finding.verdict), default=None)
