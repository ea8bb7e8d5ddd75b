"""The drift check of a replay: what the CronJob does for a closed window, over the folder that stands for the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.jobs import CheckConfig, RevisionIdentity
from stationkeeper.api.report import DriftReport
from stationkeeper.api.status import QualityVerdict, Verdict, WindowVerdict
from stationkeeper.workloads.backtest.labels import Desk
from stationkeeper.workloads.backtest.pod import Stage
from stationkeeper.workloads.backtest.served import Served
from stationkeeper.workloads.checks.comparison import compared_with
from stationkeeper.workloads.checks.summary import of_report, unjudged
from stationkeeper.workloads.checks.window import Checker
from stationkeeper.workloads.drift.baseline import against
from stationkeeper.workloads.drift.collect import Collector
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.windows import Window

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


@dataclass(frozen=True, slots=True)
class Judge:
    """One policy."""

    stage: Stage
    name: str
    policy: DriftPolicySpec

    def window(self, served: Served, window: Window, now: datetime) -> Judged:
        """Judge what a revision captured in a window."""
        revision = served.revision
        collector = Collector(revision.store, revision.digest, revision.reference)
        profile = collector.collect(window)
        if profile is None:
            return Judged(unjudged(window, Verdict.INSUFFICIENT_DATA, "no traffic was captured").verdict, served)
        comparison = compared_with(revision, self.policy, collector, served.since, now)
        if why := comparison.withheld(window):
            verdict = Verdict.ERROR if comparison.wrong else Verdict.INSUFFICIENT_DATA
            return Judged(unjudged(window, verdict, why).verdict, served)
        report = Checker(self._config(served), revision, comparison).check_window(window, profile, now)
        if not revision.reference.predictions:
            report = _of_inputs(report)
        compared = against(profile, comparison.reference) if comparison.chosen else profile
        return Judged(of_report(report, "", "").verdict, served, report, compared)

    @property
    def desk(self) -> Desk | None:
        """Where labels are kept; None where the policy does not ask for them."""
        if self.policy.quality is None:
            return None
        labels = self.stage.labels.model_copy(update={"format": "parquet"})
        return Desk(self.stage.store, labels, self.stage.spec.training.data.target)

    def labels(self, served: Served, window: Window, now: datetime) -> QualityVerdict | None:
        """Judge the labels of what a revision answered in a window."""
        assert self.desk is not None
        return self.desk.judge(served, window, self.policy, now)

    def _config(self, served: Served) -> CheckConfig:
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
        )
