"""The drift check of a replay: what the CronJob does for a closed window, over the folder that stands for the store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from stationkeeper.api.base import canonical_json, parse_duration, sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.jobs import CheckConfig, RevisionIdentity
from stationkeeper.api.report import DriftReport
from stationkeeper.api.verdicts import QualityVerdict, Verdict, WindowVerdict
from stationkeeper.workloads.backtest.labels import Desk
from stationkeeper.workloads.backtest.pod import Stage
from stationkeeper.workloads.backtest.served import Served
from stationkeeper.workloads.checks.calibrating import lacking
from stationkeeper.workloads.checks.comparison import compared_with
from stationkeeper.workloads.checks.summary import of_report, unjudged
from stationkeeper.workloads.checks.window import Checker
from stationkeeper.workloads.drift.baseline import against
from stationkeeper.workloads.drift.collect import Collector
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.windows import Stretch, Window, gathered

_NO_ANSWERS: Final = "; the predictions could not be compared"


@dataclass(frozen=True, slots=True)
class Judged:
    """A window, what was found in it, and the counts that it was found in; without a report it could not be judged."""

    verdict: WindowVerdict
    served: Served
    report: DriftReport | None = None
    profile: Profile | None = None  # against what it was compared with


def _of_inputs(report: DriftReport) -> DriftReport:
    """The report of rows without answers: predictions that nobody gave neither pass nor fail the whole."""
    gravity = (Verdict.BREACHED, Verdict.ERROR, Verdict.INSUFFICIENT_DATA, Verdict.PASSED)
    verdict = next(verdict for verdict in gravity if verdict in (report.data, report.features))
    return report.model_copy(update={"verdict": verdict, "message": report.message.removesuffix(_NO_ANSWERS)})


def calibrating(judged: Iterable[Judged]) -> Iterator[str]:
    """Of which revisions nobody knew what their windows ordinarily differ by, in words."""
    known = {found.report.revision: found.report.calibrating for found in judged if found.report and found.report.calibrating}
    alike: dict[tuple[str, str], list[int]] = {}
    for revision, groups in sorted(known.items()):
        why = "; ".join(dict.fromkeys(group.message for group in groups))
        alike.setdefault((why, " and ".join(group.group for group in groups)), []).append(revision)
    for (why, of), revisions in alike.items():
        named = ", ".join(map(str, revisions))
        yield (
            f"revision{'s' if len(revisions) > 1 else ''} {named}: {why}: in a cluster the drift of its {of} is observed only (Calibrating) until its windows "
            "show what they ordinarily differ by; here it counts"
        )


class Growing:
    """The windows of one course: its tiles, or several taken together as the policy asks. A new revision begins anew."""

    def __init__(self, policy: DriftPolicySpec) -> None:
        self._most = parse_duration(policy.max_window) if policy.max_window else None
        self._enough = policy.min_samples
        self._served: Served | None = None
        self._rows: dict[Window, int] = {}

    def stretch(self, served: Served, tile: Window) -> Stretch:
        """What is to be judged now that a tile has closed, or what grows."""
        if self._most is None:
            return Stretch(tile)
        if served is not self._served:
            self._served, self._rows = served, {}
        self._rows[tile] = _rows(served, tile)
        *_, newest = gathered(self._rows, (), self._rows.__getitem__, self._enough, self._most)
        if newest.whole:
            self._rows = {}
        return newest


def _rows(served: Served, tile: Window) -> int:
    revision = served.revision
    found = Collector(revision.store, revision.digest, revision.trained_with).collect(tile)
    return found.rows + found.refused_rows if found else 0


@dataclass(frozen=True, slots=True)
class Judge:
    """One policy."""

    stage: Stage
    name: str
    policy: DriftPolicySpec

    def growing(self) -> Growing:
        """The windows of a course."""
        return Growing(self.policy)

    def window(self, served: Served, stretch: Stretch, now: datetime, until: datetime | None = None) -> Judged:
        """Judge what a revision captured in a window; `until` is when another one took over."""
        window = stretch.window
        if not stretch.whole:
            why = f"{stretch.rows} rows so far: the window grows"
            return Judged(unjudged(window, Verdict.INSUFFICIENT_DATA, why).verdict, served)
        revision = served.revision
        collector = Collector(revision.store, revision.digest, revision.trained_with)
        profile = collector.collect(window)
        if profile is None:
            return Judged(unjudged(window, Verdict.INSUFFICIENT_DATA, "no traffic was captured").verdict, served)
        comparison = compared_with(revision, self.policy, collector, served.since, now)
        comparison = replace(comparison, calibrating=lacking(comparison, revision, self.policy))
        if why := comparison.withheld(window):
            verdict = Verdict.ERROR if comparison.wrong else Verdict.INSUFFICIENT_DATA
            return Judged(unjudged(window, verdict, why).verdict, served)
        report = Checker(self._config(served, until), revision, comparison).check_window(window, profile, now)
        if not revision.trained_with.predictions:
            report = _of_inputs(report)
        compared = against(profile, comparison.reference) if comparison.chosen and comparison.reference else profile
        # What a model in a cluster would only observe counts here: the notes of the replay say so (`calibrating`).
        told = of_report(report, "", "").verdict.model_copy(update={"calibrating": []})
        return Judged(told, served, report, compared)

    @property
    def desk(self) -> Desk | None:
        """Where labels are kept; None where the policy does not ask for them."""
        if self.policy.quality is None:
            return None
        labels = self.stage.labels.model_copy(update={"format": "parquet"})
        return Desk(self.stage.store, labels, self.stage.spec.trained.data.target)

    def labels(self, served: Served, window: Window, now: datetime) -> QualityVerdict | None:
        """Judge the labels of what a revision answered in a window."""
        assert self.desk is not None
        return self.desk.judge(served, window, self.policy, now)

    def _config(self, served: Served, until: datetime | None) -> CheckConfig:
        return CheckConfig(
            model=self.stage.model,
            storage=self.stage.spec.storage,
            policy=self.name,
            policy_uid=self.name,
            policy_digest=sha256(canonical_json(self.policy.wire())),
            policy_spec=self.policy,
            labels=self.stage.spec.labels,
            revision=RevisionIdentity(number=served.manifest.number, digest=served.revision.digest),
            since=served.since,
            until=until,
        )
