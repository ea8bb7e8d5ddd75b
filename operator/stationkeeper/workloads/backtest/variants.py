"""What a stricter or looser policy would have said of the same windows.

Nothing is read, answered or trained again: the counts of each window are judged anew. What was trained in the replay stays as it
was, so a variant is an answer to "how often would it have spoken", not a replay of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, Literal

from stationkeeper.api.driftpolicy import Breach, DriftPolicySpec
from stationkeeper.api.verdicts import Verdict, WindowVerdict
from stationkeeper.workloads.backtest.course import Variant
from stationkeeper.workloads.backtest.judge import Judged
from stationkeeper.workloads.checks.assemble import Evidence, Subject, report
from stationkeeper.workloads.checks.summary import of_report
from stationkeeper.workloads.drift.rowchecks import RowFindings
from stationkeeper.workloads.drift.verdict import judge
from stationkeeper.workloads.drift.windows import Window

Asks = Callable[[DriftPolicySpec, Sequence[WindowVerdict]], bool]  # whether these windows of one revision start a training
Direction = Literal["stricter", "looser", "as it is"]

_SHARES: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
_RATES: Final = (0.001, 0.01, 0.05, 0.2)
_BREACHES: Final = ((1, 1), (2, 2), (2, 3), (3, 4), (3, 5))


@dataclass(frozen=True, slots=True)
class _Change:
    name: str
    direction: Direction
    policy: DriftPolicySpec
    judges: bool = True  # whether single windows are judged otherwise


def variants(policy: DriftPolicySpec, judged: Sequence[Judged], asks: Asks) -> list[Variant]:
    """The policy, and each of its neighbours in one setting.

    Args:
        policy: that was replayed.
        judged: its windows, in their order.
        asks: the hysteresis of the operator.
    """
    return [
        _variant(change, judged, asks) for change in (_Change("the policy", "as it is", policy, judges=False), *_changes(policy))
    ]


def _changes(policy: DriftPolicySpec) -> Iterator[_Change]:
    share, rate, breach = policy.features.max_drifted_share, policy.false_alarm_rate, policy.breach
    for value in (s for s in _SHARES if s != share):
        features = policy.features.model_copy(update={"max_drifted_share": value})
        changed = policy.model_copy(update={"features": features})
        yield _Change(f"maxDriftedShare {value:g}", "stricter" if value < share else "looser", changed)
    for value in (r for r in _RATES if r != rate):
        changed = policy.model_copy(update={"false_alarm_rate": value})
        yield _Change(f"falseAlarmRate {value:g}", "stricter" if value > rate else "looser", changed)
    for windows, of in (b for b in _BREACHES if b != (breach.windows, breach.of)):
        changed = policy.model_copy(update={"breach": Breach(windows=windows, of=of)})
        sooner = (windows, -of) < (breach.windows, -breach.of)
        yield _Change(f"breach {windows} of {of}", "stricter" if sooner else "looser", changed)


def _variant(change: _Change, judged: Sequence[Judged], asks: Asks) -> Variant:
    anew = [(window, _again(window, change.policy) if change.judges else window.verdict) for window in judged]
    asked = [start for start in _asked(anew, change.policy, asks) if start]
    evaluated = [verdict for _, verdict in anew if Verdict.PASSED in _all(verdict) or Verdict.BREACHED in _all(verdict)]
    return Variant(
        change=change.name,
        direction=change.direction,
        breached=sum(Verdict.BREACHED in _all(verdict) for verdict in evaluated),
        windows=len(evaluated),
        trainings=len(asked),
        first=asked[0] if asked else None,
    )


def _all(verdict: WindowVerdict) -> tuple[Verdict, Verdict, Verdict]:
    return verdict.data, verdict.features, verdict.predictions


def _again(window: Judged, policy: DriftPolicySpec) -> WindowVerdict:
    """The verdict of the same counts under another policy; what rows had shown stays."""
    before = window.report
    if before is None or window.profile is None:
        return window.verdict
    broken = [violation for violation in before.violations if violation.type != "baseline_drift"]  # that is judged anew
    evidence = Evidence(
        counts=judge(window.profile, policy, importance=window.served.manifest.importance),
        rows=RowFindings(broken, before.multivariate, before.segments),
        answers=bool(window.profile.layout.reference.predictions),
        reference_rows=before.reference_rows,
    )
    subject = Subject(
        before.model, before.policy, before.policy_uid, before.policy_digest, before.revision, before.revision_digest
    )
    return of_report(report(subject, policy, Window(before.start, before.end), evidence, before.created_at), "", "").verdict


def _asked(anew: Sequence[tuple[Judged, WindowVerdict]], policy: DriftPolicySpec, asks: Asks) -> Iterator[datetime | None]:
    """For each revision the end of the window at which a training would have been asked for; None where none was."""
    for _, group in groupby(anew, key=lambda pair: pair[0].served.manifest.number):
        verdicts = [verdict for _, verdict in group]
        yield next((v.end for i, v in enumerate(verdicts, 1) if asks(policy, verdicts[:i])), None)
