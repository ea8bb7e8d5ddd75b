"""The memory of drift checks and what it amounts to: M of N evaluated windows (SEMANTICS §1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.status import CheckStatus, QualityVerdict, Verdict, WindowVerdict
from stationkeeper.api.summary import CheckSummary

REMEMBERED = 16  # windows kept in status, as many as `breach.of` may ask for
_EVALUATED = (Verdict.PASSED, Verdict.BREACHED)

Group = Literal["data", "features", "predictions", "quality"]


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
    group: Group = "features"  # that breached

    @property
    def acts(self) -> bool:
        """Whether a breach of this group does something: retrain, or block training where the data is broken."""
        return acts(self.policy.spec, self.group)


def acts(spec: DriftPolicySpec, group: Group) -> bool:
    """The action of a group of checks: its own, or else the policy's."""
    if group == "data":
        return spec.schema_.action == "Block"
    checks = getattr(spec, group)
    return ((checks and checks.action) or spec.action) == "Retrain"


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
    quality = {window.start: window for window in (valid.quality if valid else [])}
    shown: CheckStatus | CheckSummary | None = valid  # who tells the newest window
    newest = max(windows, default=None)
    for summary in summaries:
        if summary.policy_digest != policy.digest or summary.revision_digest != revision_digest:
            continue
        windows |= {window.start: window for window in summary.windows}
        quality |= {window.start: window for window in summary.quality}
        if summary.report and summary.windows and (newest is None or summary.windows[-1].start >= newest):
            shown, newest = summary, summary.windows[-1].start
    return CheckStatus(
        policy_uid=policy.uid,
        policy=policy.name,
        policy_digest=policy.digest,
        revision_digest=revision_digest,
        windows=[windows[start] for start in sorted(windows)][-REMEMBERED:],
        quality=[quality[start] for start in sorted(quality)][-REMEMBERED:],
        columns=shown.columns if shown else [],
        report=shown.report if shown else None,
        page=shown.page if shown else None,
    )


def drift(policy: PolicyView, check: CheckStatus) -> Finding:
    """Whether features or predictions have drifted: M of the newest N evaluated windows breached.

    Windows with broken data count for nothing here: what broke them is not drift. Of two groups that breached the one that
    retrains speaks.
    """
    healthy = [window for window in check.windows if window.data != Verdict.BREACHED]
    found = [breach for group in _DRIFTING if (breach := _breach(policy, check, healthy, group))]
    if found:
        return next((breach for breach in found if breach.acts), found[0])
    if not any(w.features in _EVALUATED or w.predictions in _EVALUATED for w in healthy):
        return Finding(policy, _unevaluated(check.windows), _evidence_missing(policy, check.windows))
    recent = [w for w in healthy if w.features in _EVALUATED or w.predictions in _EVALUATED][-policy.spec.breach.of :]
    breached = [w for w in recent if Verdict.BREACHED in (w.features, w.predictions)]
    needed = f" ({policy.spec.breach.windows} are needed)" if breached else ""
    message = f"policy {policy.name}: {len(breached)} of {len(recent)} windows breached{needed}; {recent[-1].message}"
    return Finding(policy, Verdict.PASSED, message, report=check.report)


_DRIFTING: tuple[Literal["features", "predictions"], ...] = ("features", "predictions")


def _breach(
    policy: PolicyView, check: CheckStatus, healthy: Sequence[WindowVerdict], group: Literal["features", "predictions"]
) -> Finding | None:
    evaluated = [w for w in healthy if getattr(w, group) in _EVALUATED][-policy.spec.breach.of :]
    breached = [w for w in evaluated if getattr(w, group) == Verdict.BREACHED]
    if len(breached) < policy.spec.breach.windows:
        return None
    message = f"policy {policy.name}: {len(breached)} of {len(evaluated)} windows breached; {breached[-1].message}{_page(check)}"
    return Finding(policy, Verdict.BREACHED, message, breached[0].start, check.report, group)


def _page(check: CheckStatus) -> str:
    return f"; report {check.page}" if check.page else ""


def quality(policy: PolicyView, check: CheckStatus) -> Finding | None:
    """Whether the quality on labels was lost: M of the newest N evaluated windows breached. None without such a check."""
    if policy.spec.quality is None:
        return None
    evaluated = [window for window in check.quality if window.verdict in _EVALUATED][-policy.spec.breach.of :]
    if not evaluated:
        return _quality_unknown(policy, check.quality)
    breached = [window for window in evaluated if window.verdict == Verdict.BREACHED]
    lost = len(breached) >= policy.spec.breach.windows
    told = f"policy {policy.name}: {len(breached)} of {len(evaluated)} labelled windows breached"
    if lost:
        message = f"{told}; {breached[-1].message}{_page(check)}"
        return Finding(policy, Verdict.BREACHED, message, breached[0].start, check.report, "quality")
    return Finding(policy, Verdict.PASSED, f"{told}; {evaluated[-1].message}", report=check.report, group="quality")


def _quality_unknown(policy: PolicyView, windows: Sequence[QualityVerdict]) -> Finding:
    wrong = bool(windows) and windows[-1].verdict == Verdict.ERROR
    why = windows[-1].message if windows else "no labels have matured yet"
    verdict = Verdict.ERROR if wrong else Verdict.INSUFFICIENT_DATA
    return Finding(policy, verdict, f"policy {policy.name}: {why}", group="quality")


def data(policy: PolicyView, check: CheckStatus) -> Finding:
    """Whether the data is broken. One breached window blocks at once; it takes a passed one, and M of N clear, to lift it."""
    evaluated = [window for window in check.windows if window.data in _EVALUATED][-policy.spec.breach.of :]
    if not evaluated:
        return Finding(policy, _unevaluated(check.windows), _evidence_missing(policy, check.windows))
    breached = [window for window in evaluated if window.data == Verdict.BREACHED]
    if evaluated[-1].data == Verdict.BREACHED or len(breached) >= policy.spec.breach.windows:
        message = f"policy {policy.name}: {breached[-1].message}"
        return Finding(policy, Verdict.BREACHED, message, breached[0].start, check.report, "data")
    message = f"policy {policy.name}: schema and completeness are as in the reference"
    return Finding(policy, Verdict.PASSED, message, report=check.report, group="data")


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
