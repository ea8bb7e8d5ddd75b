"""The drift check: `python -m stationkeeper.workloads.jobs.check_drift`.

Judges every closed window of the serving revision that has no report yet, oldest first. A report is written once
(`If-None-Match`) and never changed: running again finds it and repeats it. A window without any profile is
`InsufficientData` and gets no report, so that files that arrive later, after an outage of the store say, are still judged as long
as the window is among the last `windows.MAX_BACK`.
"""

import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from stationkeeper.api.base import canonical_json, format_time, parse_duration
from stationkeeper.api.jobs import CheckConfig, ConfigurationError
from stationkeeper.api.meta import EXIT_OK
from stationkeeper.api.model import Verdict, WindowVerdict
from stationkeeper.api.report import DriftReport
from stationkeeper.api.summary import CheckSummary, Summary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift.collect import Collector, UnreadableProfiles, load_reference
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.verdict import Findings, judge, unreadable
from stationkeeper.workloads.drift.windows import Window, closed
from stationkeeper.workloads.jobs._run import configure_logging, run

log = logging.getLogger(__name__)

MAX_PER_RUN: Final = 12  # windows with traffic that one run judges; the next run goes on
MAX_TOLD: Final = 10  # windows in the termination message
MAX_SUMMARY_BYTES: Final = 3072
_MAX_REPORT_BYTES: Final = 16 * 2**20
_LOUD, _QUIET = 256, 80  # characters of the newest message, and of the others that did not pass


@dataclass(frozen=True, slots=True)
class Told:
    """A window and what was found; `report` is its address, None where no report is kept."""

    verdict: WindowVerdict
    report: str | None = None


class Check:
    """One run over the windows of one policy and one revision."""

    def __init__(self, config: CheckConfig, store: Store, reference: ReferenceProfile, now: datetime) -> None:
        self._config = config
        self._store = store
        self._reference = reference
        self._now = now
        self._profiles = Collector(store, config.revision.digest, reference)
        self._judged = 0

    def run(self) -> list[Told]:
        """The windows in the order of time, the newest last."""
        known = self._reported()
        told: list[Told] = []
        pending = self._windows()
        for position, window in enumerate(pending):
            if self._judged >= MAX_PER_RUN:
                log.info("%d windows are left for the next run", len(pending) - position)
                break
            key = self._key(window)
            # Stored reports are read only where they are told.
            if key not in known:
                told.append(self._judge(window))
            elif position >= len(pending) - MAX_TOLD:
                told.append(self._stored(window))
        return told

    def _windows(self) -> list[Window]:
        policy = self._config.policy_spec
        try:
            return closed(self._config.since, self._now, parse_duration(policy.window), parse_duration(policy.grace))
        except (ValueError, OverflowError) as error:
            raise ConfigurationError(f"policy {self._config.policy}: window {policy.window!r}: {error}") from error

    def _reported(self) -> set[str]:
        config = self._config
        prefix = keys.checks(config.policy_uid, config.policy_digest, config.revision.digest)
        return {info.key for info in self._store.list(prefix)}

    def _key(self, window: Window) -> str:
        config = self._config
        return keys.check(config.policy_uid, config.policy_digest, config.revision.digest, window.start, window.end)

    def _judge(self, window: Window) -> Told:
        try:
            profile = self._profiles.collect(window)
        except UnreadableProfiles as error:
            return self._write(window, unreadable(str(error)))
        if profile is None:
            log.info("window %s: InsufficientData: no traffic was captured", format_time(window.start))
            none = Verdict.INSUFFICIENT_DATA
            return Told(
                WindowVerdict(
                    start=window.start,
                    end=window.end,
                    data=none,
                    features=none,
                    predictions=none,
                    message="no traffic was captured",
                )
            )
        return self._write(window, judge(profile, self._config.policy_spec))

    def _write(self, window: Window, findings: Findings) -> Told:
        self._judged += 1
        report = _report(self._config, self._reference, window, findings, self._now)
        log.info("window %s: %s: %s", format_time(window.start), report.verdict, report.message)
        if not self._store.create(self._key(window), canonical_json(report.wire())):
            return self._stored(window)  # another run was first: what it wrote stands
        return Told(_verdict(report), self._store.uri(self._key(window)))

    def _stored(self, window: Window) -> Told:
        key = self._key(window)
        try:
            report = DriftReport.model_validate_json(self._store.get(key, max_bytes=_MAX_REPORT_BYTES))
        except (ValidationError, MalformedArtifact) as error:
            log.warning("cannot read the report %s: %s", self._store.uri(key), error)
            wrong = Verdict.ERROR
            message = "its report cannot be read; remove it to judge the window again"
            return Told(
                WindowVerdict(start=window.start, end=window.end, data=wrong, features=wrong, predictions=wrong, message=message)
            )
        return Told(_verdict(report), self._store.uri(key))


def check(config: CheckConfig, store: Store, now: datetime) -> CheckSummary:
    """Judge what is to be judged at `now` and summarise the newest windows.

    Raises:
        StoreError, ArtifactError: when the revision or its reference cannot be loaded, or the store fails.
        ConfigurationError: when the policy's window is no length.
    """
    reference = load_reference(store, load_manifest(store, config.revision.digest))
    return summarise(config, Check(config, store, reference, now).run())


def summarise(config: CheckConfig, told: list[Told]) -> CheckSummary:
    """The newest windows, as many as fit; the message of the newest is whole, those of passed ones are left out."""
    newest = told[-MAX_TOLD:]
    windows = [_shortened(t.verdict, _LOUD if t is newest[-1] else _QUIET) for t in newest]
    report = next((t.report for t in reversed(newest) if t.report and len(t.report) <= 512), None)
    while True:
        summary = CheckSummary(
            policy_uid=config.policy_uid,
            policy_digest=config.policy_digest,
            revision_digest=config.revision.digest,
            windows=windows,
            report=report,
        )
        if not windows or len(summary.model_dump_json(by_alias=True, exclude_none=True).encode()) <= MAX_SUMMARY_BYTES:
            return summary
        windows = windows[1:]


def _shortened(verdict: WindowVerdict, limit: int) -> WindowVerdict:
    passed = {verdict.data, verdict.features, verdict.predictions} == {Verdict.PASSED}
    text = "" if passed and limit == _QUIET else _cut(verdict.message, limit)
    return verdict.model_copy(update={"message": text})


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _verdict(report: DriftReport) -> WindowVerdict:
    return WindowVerdict(
        start=report.start,
        end=report.end,
        data=report.data,
        features=report.features,
        predictions=report.predictions,
        rows=report.rows,
        message=_cut(report.message, _LOUD),
    )


def _report(config: CheckConfig, reference: ReferenceProfile, window: Window, findings: Findings, now: datetime) -> DriftReport:
    return DriftReport(
        model=f"{config.model.namespace}/{config.model.name}",
        policy=config.policy,
        policy_uid=config.policy_uid,
        policy_digest=config.policy_digest,
        revision=config.revision.number,
        revision_digest=config.revision.digest,
        start=window.start,
        end=window.end,
        created_at=now,
        rows=findings.rows,
        reference_rows=reference.rows,
        verdict=findings.verdict,
        data=findings.data.verdict,
        features=findings.features.verdict,
        predictions=findings.predictions.verdict,
        drifted_share=findings.drifted_share,
        message=findings.message,
        columns=findings.columns,
        violations=findings.violations,
    )


def work() -> tuple[Summary, int]:
    """Read the configuration, check, and say how it ended; what it raises is reported by `run`."""
    config = CheckConfig.from_environment()
    return check(config, S3Store.open(config.storage), datetime.now(UTC)), EXIT_OK


def main() -> int:
    """The process: returns its exit code."""
    configure_logging()
    return run(work)


if __name__ == "__main__":
    sys.exit(main())
