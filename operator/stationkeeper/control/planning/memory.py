"""The memory of drift checks: what is kept of what they reported, and of which revision."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from stationkeeper.api.status import RetiredRef
from stationkeeper.api.summary import CheckSummary
from stationkeeper.api.verdicts import CheckStatus, QualityVerdict, RetiredCheck, Verdict, WindowVerdict
from stationkeeper.control.planning.drift import EVALUATED, PolicyView, drift
from stationkeeper.control.planning.skew import GROUPS, UNKNOWN, Origin, marked, matched_at

REMEMBERED = 16  # evaluated windows kept in status, as many as `breach.of` may ask for
_SILENT = 8  # others beside them: they occupy no place among those
_RETIRED = 8  # of each kind, of the revision before

W = TypeVar("W", bound=WindowVerdict | QualityVerdict)


def remember(
    before: Sequence[CheckStatus],
    policies: Sequence[PolicyView],
    summaries: Mapping[str, list[CheckSummary]],
    revision_digest: str,
    now: datetime,
    *,
    origin: Origin = UNKNOWN,
    retired: RetiredRef | None = None,
) -> list[CheckStatus]:
    """The new memory: known windows and the reported ones, for today's policies and the revision that serves.

    Another revision or another judgement starts a new history: verdicts belong to what they were made with. Of the revision before
    the newest are kept aside, and what is still reported of it joins them.
    """
    known = {check.policy_uid: check for check in before}
    checks = []
    for policy in policies:
        told = [s for s in summaries.get(policy.uid, []) if s.policy_digest == policy.digest]
        last = known.get(policy.uid)
        check = _merge(_history(last, policy, revision_digest, now), policy, told, revision_digest)
        check = check.model_copy(update={"retired": _aside(last, check, told, retired)})
        checks.append(marked(check, policy.spec, origin))
    return checks


def _history(last: CheckStatus | None, policy: PolicyView, revision_digest: str, now: datetime) -> CheckStatus:
    """The memory of the serving revision before this pass; a new one knows of the last what tells skew from drift."""
    if last and (last.revision_digest, last.policy_digest) == (revision_digest, policy.digest):
        return last
    check = CheckStatus(policy_uid=policy.uid, policy=policy.name, policy_digest=policy.digest, revision_digest=revision_digest)
    if last is None:
        return check
    matched = [group for group in GROUPS if matched_at(last, group)]
    if last.revision_digest == revision_digest:  # judged otherwise from now on: what never matched is still skewed
        kept = {"drifted_before": last.drifted_before, "matched_before": last.matched_before}
        return check.model_copy(update={**kept, "skewed": [group for group in last.skewed if group not in matched]})
    drifted = last.policy_digest == policy.digest and drift(policy, last, now).verdict == Verdict.BREACHED
    known = [group for group in GROUPS if group in matched or group in last.matched_before]
    return check.model_copy(update={"drifted_before": drifted, "matched_before": known})


def _merge(last: CheckStatus, policy: PolicyView, summaries: Sequence[CheckSummary], revision_digest: str) -> CheckStatus:
    windows, quality = list(last.windows), list(last.quality)
    shown: CheckStatus | CheckSummary = last  # who tells the newest window
    newest = windows[-1].start if windows else None
    for summary in summaries:
        if summary.revision_digest != revision_digest:
            continue
        windows, quality = _joined(windows, summary.windows), _joined(quality, summary.quality)
        if summary.report and summary.windows and (newest is None or summary.windows[-1].start >= newest):
            shown, newest = summary, summary.windows[-1].start
    return last.model_copy(
        update={
            "policy": policy.name,
            "windows": _kept(windows),
            "quality": _kept(quality),
            "calibrating": shown.calibrating,
            "columns": shown.columns,
            "report": shown.report,
            "page": shown.page,
        }
    )


def _evaluated(window: WindowVerdict | QualityVerdict) -> bool:
    if isinstance(window, QualityVerdict):
        return window.verdict in EVALUATED
    return any(verdict in EVALUATED for verdict in (window.data, window.features, window.predictions))


def _joined(known: Sequence[W], told: Sequence[W]) -> list[W]:
    """What is known and what was told, each time once, in whatever order summaries are read.

    A verdict stands against the silence that was told before it, and a window that has grown against what it was.
    """
    found: list[W] = []
    for window in sorted([*told, *known], key=lambda w: (_evaluated(w), w.end), reverse=True):
        if not any(window.start < other.end and other.start < window.end for other in found):
            found.append(window)
    return sorted(found, key=lambda w: w.start)


def _kept(windows: Sequence[W]) -> list[W]:
    """The newest evaluated ones, and some of the others: silence does not make forget what was seen."""
    evaluated = [window for window in windows if _evaluated(window)]
    silent = [window for window in windows if not _evaluated(window)]
    return sorted([*evaluated[-REMEMBERED:], *silent[-_SILENT:]], key=lambda w: w.start)


def _aside(
    last: CheckStatus | None, check: CheckStatus, summaries: Sequence[CheckSummary], retired: RetiredRef | None
) -> RetiredCheck | None:
    """The newest of what was found of the revision before."""
    if retired is None or retired.digest == check.revision_digest:
        return None
    last = last if last and last.policy_digest == check.policy_digest else None
    kept = last.retired if last and last.retired and last.retired.revision_digest == retired.digest else None
    if last and last.revision_digest == retired.digest:
        kept = RetiredCheck(revision_digest=retired.digest, windows=last.windows[-_RETIRED:], quality=last.quality[-_RETIRED:])
    kept = kept or RetiredCheck(revision_digest=retired.digest)
    for summary in summaries:
        if summary.retired and summary.retired.revision_digest == retired.digest:
            windows, quality = _joined(kept.windows, summary.retired.windows), _joined(kept.quality, summary.retired.quality)
            kept = kept.model_copy(update={"windows": windows[-_RETIRED:], "quality": quality[-_RETIRED:]})
    return kept
