"""What the memory of drift checks amounts to: M of N evaluated windows that have not expired (SEMANTICS §1, §8.17)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.verdicts import CheckStatus, QualityVerdict, Verdict, WindowVerdict
from stationkeeper.control.planning import skew
from stationkeeper.control.planning.expiry import recent
from stationkeeper.control.planning.skew import Drifting

EVALUATED = (Verdict.PASSED, Verdict.BREACHED)

Group = Literal["data", "features", "predictions", "quality"]


@dataclass(frozen=True)
class PolicyView:
    """A policy that watches the model, with its parsed spec and the digest of its judgement."""

    uid: str
    name: str
    spec: DriftPolicySpec
    digest: str
    lag: str = "0s"  # of the Model's labels


@dataclass(frozen=True)
class Finding:
    """What one policy's memory says of one question."""

    policy: PolicyView
    verdict: Verdict
    message: str
    onset: datetime | None = None  # start of the first breached window that counts
    report: str | None = None
    group: Group = "features"  # that breached
    expired: bool = False  # nothing was seen lately: what was seen before says neither yes nor no
    skewed: bool = False  # there is no telling drift while the traffic never matched
    calibrating: bool = False  # nor while nobody knows what windows ordinarily differ by

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


def drift(policy: PolicyView, check: CheckStatus, now: datetime) -> Finding:
    """Whether features or predictions have drifted: M of the newest N evaluated windows breached.

    Windows with broken data count for nothing here: what broke them is not drift. Nor do breaches while thresholds are `Calibrating`,
    which are told. Of two groups that breached the one that retrains speaks.
    """
    healthy = skew.healthy(check)
    found = [breach for group in skew.GROUPS if (breach := _breach(policy, check, group, now))]
    if found:
        return next((breach for breach in found if breach.acts), found[0])
    if any(_mismatched(policy, check, group, now) for group in skew.GROUPS):
        message = f"policy {policy.name}: the traffic never matched the reference (Skewed): whether it moves cannot be told"
        return Finding(policy, Verdict.INSUFFICIENT_DATA, message, report=check.report, skewed=True)
    observed = [finding for group in skew.GROUPS if (finding := _observed(policy, check, group, now))]
    if observed:
        return observed[0]
    evaluated = [w for w in healthy if w.features in EVALUATED or w.predictions in EVALUATED]
    if not evaluated:
        return Finding(policy, _unevaluated(check.windows), _evidence_missing(policy, check.windows))
    newest, expired = recent(evaluated, policy.spec, now)
    if not newest:
        return _expired(policy, evaluated[-1], _since(evaluated[-1], check.windows))
    breached = [w for w in newest if Verdict.BREACHED in (w.features, w.predictions)]
    needed = f" ({policy.spec.breach.windows} are needed)" if breached else ""
    message = f"policy {policy.name}: {len(breached)} of {len(newest)} windows breached{needed}; {newest[-1].message}"
    if expired and newest[-1] in breached:
        return Finding(policy, Verdict.INSUFFICIENT_DATA, f"{message}; older verdicts have expired", expired=True)
    note = f"; {check.calibrating}" if check.calibrating else ""
    return Finding(policy, Verdict.PASSED, message + note, report=check.report, calibrating=bool(check.calibrating))


def _of_group(check: CheckStatus, group: Drifting) -> list[WindowVerdict]:
    evaluated = [window for window in skew.healthy(check) if getattr(window, group) in EVALUATED]
    return [window for window in evaluated if skew.counts(window, group)]


def _observed(policy: PolicyView, check: CheckStatus, group: Drifting, now: datetime) -> Finding | None:
    """M of N breached, but by thresholds that know of sampling noise only: neither drift nor none."""
    evaluated, _ = recent([w for w in skew.healthy(check) if getattr(w, group) in EVALUATED], policy.spec, now)
    breached = [window for window in evaluated if getattr(window, group) == Verdict.BREACHED]
    if len(breached) < policy.spec.breach.windows:
        return None
    why = check.calibrating or "some of them before their thresholds were calibrated"
    message = (
        f"policy {policy.name}: {len(breached)} of {len(evaluated)} windows breached, which cannot be told from ordinary variation yet: "
        f"{why}; {breached[-1].message}{_page(check)}"
    )
    return Finding(policy, Verdict.INSUFFICIENT_DATA, message, report=check.report, group=group, calibrating=True)


def _breach(policy: PolicyView, check: CheckStatus, group: Drifting, now: datetime) -> Finding | None:
    evaluated, _ = recent(skew.may_drift(check, group, _of_group(check, group)), policy.spec, now)
    breached = [w for w in evaluated if getattr(w, group) == Verdict.BREACHED]
    if len(breached) < policy.spec.breach.windows:
        return None
    message = f"policy {policy.name}: {len(breached)} of {len(evaluated)} windows breached; {breached[-1].message}{_page(check)}"
    return Finding(policy, Verdict.BREACHED, message, breached[0].start, check.report, group)


def skewed(policy: PolicyView, check: CheckStatus, now: datetime) -> Finding | None:
    """Whether the traffic differs from what the revision had just learned. None where no window was judged yet."""
    found = [group for group in skew.GROUPS if (_mismatched(policy, check, group, now))]
    if found:
        evaluated = _of_group(check, found[0])
        said = f"; {evaluated[-1].message}{_page(check)}" if evaluated else ""
        message = (
            f"policy {policy.name}: the {' and '.join(found)} never matched what the revision had just learned: serving makes columns "
            f"otherwise than training, or spec.training.data.window holds other times; a retraining for drift would not mend it{said}"
        )
        return Finding(policy, Verdict.BREACHED, message, report=check.report)
    if check.features_matched is None and check.predictions_matched is None:
        return None
    return Finding(policy, Verdict.PASSED, f"policy {policy.name}: traffic has matched what the revision learned")


def _mismatched(policy: PolicyView, check: CheckStatus, group: Drifting, now: datetime) -> bool:
    """Whether a group is skewed now: it never matched, or what it showed before it did still makes M of N."""
    if group not in check.skewed:
        return False
    if skew.matched_at(check, group) is None:
        return True
    evaluated, _ = recent(_of_group(check, group), policy.spec, now)
    breached = sum(getattr(window, group) == Verdict.BREACHED for window in evaluated)
    return breached >= policy.spec.breach.windows and _breach(policy, check, group, now) is None


def _expired(policy: PolicyView, last: WindowVerdict | QualityVerdict, why: str, group: Group = "features") -> Finding:
    message = f"policy {policy.name}: the newest verdict, of the window until {last.end:%Y-%m-%d %H:%M} UTC, has expired; {why}"
    return Finding(policy, Verdict.INSUFFICIENT_DATA, message, group=group, expired=True)


def _page(check: CheckStatus) -> str:
    return f"; report {check.page}" if check.page else ""


def _since(last: WindowVerdict | QualityVerdict, told: Sequence[WindowVerdict] | Sequence[QualityVerdict]) -> str:
    """What came after the last verdict."""
    return told[-1].message if told[-1].start > last.start else "no check has told of a newer window"


def quality(policy: PolicyView, check: CheckStatus, now: datetime) -> Finding | None:
    """Whether the quality on labels was lost: M of the newest N evaluated windows breached. None without such a check."""
    if policy.spec.quality is None:
        return None
    evaluated = [window for window in check.quality if window.verdict in EVALUATED]
    if not evaluated:
        return _quality_unknown(policy, check.quality)
    newest, expired = recent(evaluated, policy.spec, now, policy.lag)
    if not newest:
        return _expired(policy, evaluated[-1], _since(evaluated[-1], check.quality), "quality")
    breached = [window for window in newest if window.verdict == Verdict.BREACHED]
    told = f"policy {policy.name}: {len(breached)} of {len(newest)} labelled windows breached"
    if len(breached) >= policy.spec.breach.windows:
        message = f"{told}; {breached[-1].message}{_page(check)}"
        return Finding(policy, Verdict.BREACHED, message, breached[0].start, check.report, "quality")
    if expired and newest[-1] in breached:
        message = f"{told}; older verdicts have expired"
        return Finding(policy, Verdict.INSUFFICIENT_DATA, message, group="quality", expired=True)
    return Finding(policy, Verdict.PASSED, f"{told}; {newest[-1].message}", report=check.report, group="quality")


def _quality_unknown(policy: PolicyView, windows: Sequence[QualityVerdict]) -> Finding:
    wrong = bool(windows) and windows[-1].verdict == Verdict.ERROR
    why = windows[-1].message if windows else "no labels have matured yet"
    verdict = Verdict.ERROR if wrong else Verdict.INSUFFICIENT_DATA
    return Finding(policy, verdict, f"policy {policy.name}: {why}", group="quality")


def data(policy: PolicyView, check: CheckStatus, now: datetime) -> Finding:
    """Whether the data is broken. One breached window blocks at once; it takes a passed one, and M of N clear, to lift it.

    A breach does not expire: that nothing comes any more does not mend it.
    """
    known = [window for window in check.windows if window.data in EVALUATED]
    evaluated = known[-policy.spec.breach.of :]
    if not evaluated:
        return Finding(policy, _unevaluated(check.windows), _evidence_missing(policy, check.windows))
    breached = [window for window in evaluated if window.data == Verdict.BREACHED]
    if evaluated[-1].data == Verdict.BREACHED or len(breached) >= policy.spec.breach.windows:
        message = f"policy {policy.name}: {breached[-1].message}"
        return Finding(policy, Verdict.BREACHED, message, breached[0].start, check.report, "data")
    if not recent(known, policy.spec, now)[0]:
        return _expired(policy, known[-1], _since(known[-1], check.windows), "data")
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
