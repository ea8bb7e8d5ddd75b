"""The drift check: `python -m stationkeeper.workloads.jobs.check_drift`.

Judges every closed window of the serving revision that has no report yet, oldest first. A report is written once
(`If-None-Match`) and never changed: running again finds it and repeats it. A window without any profile is
`InsufficientData` and gets no report, so that files that arrive later, after an outage of the store say, are still judged as long
as the window is among the last `windows.MAX_BACK`. When its labels have matured, a window is judged again on them, in a report of
its own. What the revision before answered last is judged too, until its labels have come.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from stationkeeper.api.base import format_time
from stationkeeper.api.jobs import CheckConfig, RevisionIdentity
from stationkeeper.api.meta import EXIT_OK
from stationkeeper.api.report import DriftReport
from stationkeeper.api.summary import CheckSummary, Summary
from stationkeeper.api.verdicts import QualityVerdict, RetiredCheck, Verdict
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.checks import uncounted
from stationkeeper.workloads.checks.calibrating import calibrate
from stationkeeper.workloads.checks.comparison import Comparison, compared_with
from stationkeeper.workloads.checks.history import History
from stationkeeper.workloads.checks.labelled import Labelled
from stationkeeper.workloads.checks.late import late
from stationkeeper.workloads.checks.records import Records, page_key
from stationkeeper.workloads.checks.revision import Revision
from stationkeeper.workloads.checks.summary import MAX_TOLD, Told, of_report, of_retired, summarise, unjudged
from stationkeeper.workloads.checks.tiling import Tiling, Traffic
from stationkeeper.workloads.checks.window import Checker
from stationkeeper.workloads.drift.collect import Collector, UnreadableProfiles
from stationkeeper.workloads.drift.windows import Stretch, Window
from stationkeeper.workloads.jobs._run import configure_logging, run

if TYPE_CHECKING:
    from stationkeeper.workloads.checks.quality import Quality

log = logging.getLogger(__name__)

MAX_PER_RUN: Final = 12  # windows with traffic that one run judges; the next run goes on
_SILENCE: Final = "no traffic was captured"


class Check:
    """One run over the windows of one policy and one revision."""

    def __init__(self, config: CheckConfig, store: Store, labels: Store | None, now: datetime) -> None:
        self._now = now
        revision = Revision.load(store, config.revision.digest)
        self._records = Records(store, config.policy_uid, config.policy_digest, config.revision.digest)
        self._traffic, compared = _traffic(revision, config, now)
        self._tiling = Tiling(config, self._records, self._traffic, gathers=compared.reference is not None)
        self._stretches = self._tiling.stretches(now)
        self._labelled = (
            Labelled(config, config.labels, revision, self._records, self._tiling, labels, now)
            if config.labels and labels
            else None
        )
        self._quality = self._asked(config, revision)
        compared = calibrate(compared, revision, config.policy_spec, self._records, self._tiling)
        self._checker = Checker(config, revision, compared, self._quality)
        self._judged = 0

    def _asked(self, config: CheckConfig, revision: Revision) -> "Quality | None":
        if config.policy_spec.quality is None:
            return None
        # With it comes scikit-learn, a second and a hundred megabytes: a check of inputs and predictions goes without.
        from stationkeeper.workloads.checks.quality import Quality

        labelled = self._labelled
        windows = sorted({*(stretch.window for stretch in self._stretches), *(labelled.due if labelled else ())})
        notes = [] if labelled else ["quality is not measured: the Model names no labels (spec.labels)"]
        past = History(self._records, windows)
        return Quality(config.policy_spec.quality, revision, labelled, past, config.predecessor, notes)

    @property
    def calibrating(self) -> str:
        """Why drift is observed only, and what ends that; empty where it is not. Of two groups, which wait for the same, the first."""
        return next(iter(self._checker.comparison.calibrating.values()), "")

    def run(self) -> list[Told]:
        """The windows in the order of time, the newest last."""
        told: list[Told] = []
        reported = [s.window for s in self._stretches if s.whole and self._records.has(self._records.key(s.window))]
        for position, stretch in enumerate(self._stretches):
            if self._judged >= MAX_PER_RUN:
                log.info("%d windows are left for the next run", len(self._stretches) - position)
                break
            # Stored reports are read only where they are told.
            if not stretch.whole:
                told.append(self._waiting(stretch))
            elif stretch.window not in reported:
                told.append(self._judge(stretch.window))
            elif stretch.window in reported[-MAX_TOLD:]:
                told.append(self._stored(stretch.window))
        return told

    def run_quality(self) -> list[QualityVerdict]:
        """What the labels of earlier windows say, the newest last."""
        if self._quality is None or self._labelled is None:
            return []
        from stationkeeper.workloads.checks.matured import Matured

        return Matured(self._checker, self._quality, self._labelled, self._now).run()

    def _judge(self, window: Window) -> Told:
        compared = self._checker.comparison
        if why := compared.withheld(window):
            return unjudged(window, Verdict.ERROR if compared.wrong else Verdict.INSUFFICIENT_DATA, why)
        try:
            profile = self._tiling.collect(window)
        except UnreadableProfiles as error:
            return self._write(window, self._checker.refuse(window, str(error), self._now, self._late(window)))
        if profile is None:
            log.info("window %s: InsufficientData: %s", format_time(window.start), _SILENCE)
            return unjudged(window, Verdict.INSUFFICIENT_DATA, _SILENCE)
        return self._write(
            window, self._checker.check_window(window, profile, self._now, [*self._clocks(window), *self._late(window)])
        )

    def _late(self, window: Window) -> list[str]:
        """What came too late for windows before, told by the first report of a run."""
        return [] if self._judged else late(self._records, self._traffic, window)

    def _clocks(self, window: Window) -> list[str]:
        ahead = round(self._traffic.ahead(window).total_seconds())
        return (
            [
                f"rows were up to {ahead} s ahead of the store's clock, by a pod's or by their event time: they count in later windows"
            ]
            if ahead
            else []
        )

    def _waiting(self, stretch: Stretch) -> Told:
        why = f"{stretch.rows} rows so far: the window grows until it holds minSamples, up to maxWindow"
        return unjudged(stretch.window, Verdict.INSUFFICIENT_DATA, why if stretch.rows else _SILENCE)

    def _write(self, window: Window, report: DriftReport) -> Told:
        self._judged += 1
        log.info("window %s: %s: %s", format_time(window.start), report.verdict, report.message)
        try:
            return self._told(window, self._records.write(self._records.key(window), report))
        except MalformedArtifact as error:
            return _unreadable(window, error)

    def _stored(self, window: Window) -> Told:
        try:
            return self._told(window, self._records.read(self._records.key(window)))
        except MalformedArtifact as error:
            return _unreadable(window, error)

    def _told(self, window: Window, report: DriftReport) -> Told:
        key = self._records.key(window)
        return of_report(report, self._records.uri(key), self._records.uri(page_key(key)))


def _traffic(revision: Revision, config: CheckConfig, now: datetime) -> tuple[Traffic, Comparison]:
    """The traffic, counted by the pods that served it or else from their rows, and what it is compared with."""
    policy, since, until = config.policy_spec, config.since, config.until or now
    if revision.reference is None:
        compared = uncounted.compared_with(revision, policy, since, until)
        return uncounted.Counter(revision, compared), compared
    profiles = Collector(revision.store, revision.digest, revision.reference)
    return profiles, compared_with(revision, policy, profiles, since, until)


def _unreadable(window: Window, error: MalformedArtifact) -> Told:
    log.warning("%s", error)
    return unjudged(window, Verdict.ERROR, "its report cannot be read; remove it to judge the window again")


def check(config: CheckConfig, store: Store, now: datetime, labels: Store | None = None) -> CheckSummary:
    """Judge what is to be judged at `now` and summarise the newest windows; `labels` is the store at `labels.uri`.

    Raises:
        StoreError, ArtifactError: when the revision or its reference cannot be loaded, or the store fails.
        ConfigurationError: when the policy's window is no length.
    """
    begun = Check(config, store, labels, now)
    told, quality = begun.run(), begun.run_quality()
    return summarise(config, told, quality, _retired(config, store, now, labels), begun.calibrating)


def _retired(config: CheckConfig, store: Store, now: datetime, labels: Store | None) -> RetiredCheck | None:
    """What the revision before answered last. The one that serves does not suffer when something is wrong with it."""
    if config.retired is None:
        return None
    before = config.retired
    own = {
        "revision": RevisionIdentity(number=before.number, digest=before.digest),
        "predecessor": None,
        "since": before.since,
        "until": before.until,
        "retired": None,
    }
    try:
        config = config.model_copy(update=own)
        begun = Check(config, store, labels, now)
        return of_retired(config, begun.run(), begun.run_quality())
    except Exception:  # swept, damaged, a store that fails: the next run looks again
        log.exception("revision %d, which served before, was not judged", before.number)
        return None


def work() -> tuple[Summary, int]:
    """Read the configuration, check, and say how it ended; what it raises is reported by `run`."""
    config = CheckConfig.from_environment()
    labels = S3Store.open(config.storage, config.labels.uri) if config.labels else None
    return check(config, S3Store.open(config.storage), datetime.now(UTC), labels), EXIT_OK


def main() -> int:
    """The process: returns its exit code."""
    configure_logging()
    return run(work)


if __name__ == "__main__":
    sys.exit(main())
