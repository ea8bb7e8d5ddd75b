"""The comparison of a shadow: `python -m stationkeeper.workloads.jobs.shadow`.

Sends what the stable revision was asked in `[since, until)` to the candidate and compares the answers row by row. What can be
said of it is written once (`If-None-Match`) as a report and never changed: the same again finds it and repeats it. What cannot
be judged gets no report, for the next attempt is of more rows.
"""

import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl
from pydantic import ValidationError

from stationkeeper.api.base import canonical_json
from stationkeeper.api.jobs import ShadowConfig
from stationkeeper.api.manifest import Manifest
from stationkeeper.api.meta import EXIT_OK, EXIT_TRANSIENT
from stationkeeper.api.report import ShadowReport
from stationkeeper.api.summary import FailureSummary, ShadowSummary, Summary
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.captured import read_arrived, read_captured
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._run import configure_logging, run
from stationkeeper.workloads.shadow.answers import NoAnswerError, answers
from stationkeeper.workloads.shadow.ask import Ask, Http
from stationkeeper.workloads.shadow.compare import Compared, OtherAnswersError, compare
from stationkeeper.workloads.shadow.requests import Asked, requests
from stationkeeper.workloads.shadow.verdict import Sent, deviation, judge

log = logging.getLogger(__name__)

MAX_ROWS: Final = 10_000  # that are sent, unless `minRows` is more
MAX_SECONDS: Final = 600.0  # of sending; then what was sent is judged
_UNHEARD: Final = 3  # requests without any answer, before a first one, that say that nobody is there
_REPORT_BYTES: Final = 2**20
_REFUSALS: Final = 5


class UnreachableError(Exception):
    """Nobody answers at the candidate's Service, which says nothing about its answers."""


class Replay:
    """Sends requests and keeps what came of them."""

    def __init__(self, manifest: Manifest, ask: Ask) -> None:
        self._manifest, self._ask = manifest, ask
        self.requests = self.errors = self._heard = 0
        self.refusals: list[str] = []
        self._seconds: list[float] = []
        self._stable: list[pl.DataFrame] = []
        self._candidate: list[pl.DataFrame] = []

    def send(self, asked: Asked) -> None:
        """Send one request.

        Raises:
            UnreachableError: when nobody has answered the first few.
        """
        answered = self._ask(asked.body)
        self.requests += 1
        if answered.status is None:
            self._failed(f"no answer: {answered.body.decode(errors='replace')}")
            if not self._heard and self.requests >= _UNHEARD:
                raise UnreachableError(self.refusals[-1])
            return
        self._heard += 1
        if answered.status != 200:
            self._failed(f"{answered.status}: {answered.body.decode(errors='replace')}")
            return
        try:
            self._candidate.append(answers(answered.body, self._manifest, len(asked.rows)))
        except NoAnswerError as error:
            self._failed(str(error))
            return
        self._seconds.append(answered.seconds)
        names = [pl.lit(asked.request_id).alias("request_id"), pl.Series("row", asked.rows)]
        self._stable.append(asked.answered.with_columns(names))

    def _failed(self, why: str) -> None:
        self.errors += 1
        if len(self.refusals) < _REFUSALS:
            self.refusals.append(why[:256])

    def sent(self) -> Sent:
        """Counts, and the 95th percentile of the time that answers took."""
        latency = float(np.quantile(self._seconds, 0.95)) if self._seconds else None
        return Sent(self.requests, self.errors, latency)

    def compared(self) -> Compared | None:
        """The comparison of all rows that both have answered; None without any.

        Raises:
            OtherAnswersError: when the revisions answer with different things.
        """
        if not self._stable:
            return None
        return compare(pl.concat(self._stable), pl.concat(self._candidate), self._manifest.classes)


def shadow(config: ShadowConfig, store: Store, ask: Ask, now: datetime, clock: Callable[[], float]) -> ShadowSummary:
    """Compare, or repeat what was found.

    Raises:
        StoreError, ArtifactError: when rows or manifest cannot be read.
        UnreachableError: when nobody answers for the candidate.
    """
    key = keys.shadow(config.candidate.digest, config.stable.digest, config.since, config.attempt)
    if (known := _stored(store, key)) is not None:
        return _summary(known, key)
    manifest = load_manifest(store, config.candidate.digest)
    most = max(MAX_ROWS, config.shadow.min_rows)
    read = read_captured if config.event_time is None else read_arrived
    captured = read(store, config.stable.digest, config.since, config.until, max_rows=most)
    replay, ends = Replay(manifest, ask), clock() + MAX_SECONDS
    for asked in requests(captured) if captured is not None else ():
        if clock() > ends:
            log.warning("the time is over; what was sent is judged")
            break
        replay.send(asked)
    report = _report(config, replay, 0 if captured is None else captured.height, now)
    log.info("%s: %s", report.verdict, report.message)
    if report.verdict == Verdict.INSUFFICIENT_DATA:
        return _summary(report, None)
    if not store.create(key, canonical_json(report.wire())):
        report = _stored(store, key) or report  # another run was first
    return _summary(report, key)


def _report(config: ShadowConfig, replay: Replay, captured: int, now: datetime) -> ShadowReport:
    sent, compared, trouble = replay.sent(), None, None
    try:
        compared = replay.compared()
    except OtherAnswersError as error:
        trouble = str(error)
    verdict, message = judge(config, sent, compared, trouble)
    return ShadowReport(
        model=f"{config.model.namespace}/{config.model.name}",
        stable=config.stable.number,
        stable_digest=config.stable.digest,
        candidate=config.candidate.number,
        candidate_digest=config.candidate.digest,
        since=config.since,
        until=config.until,
        attempt=config.attempt,
        created_at=now,
        verdict=verdict,
        message=message[:256],
        captured=captured,
        rows=compared.rows if compared else 0,
        requests=sent.requests,
        errors=sent.errors,
        refusals=replay.refusals,
        disagreement=compared.disagreement if compared else None,
        mean_difference=compared.mean_difference if compared else None,
        shift=compared.shift if compared else {},
        deviation=deviation(config, compared) if compared else None,
        latency=sent.latency,
        differing=compared.differing if compared else [],
    )


def _stored(store: Store, key: str) -> ShadowReport | None:
    try:
        return ShadowReport.model_validate_json(store.get(key, max_bytes=_REPORT_BYTES))
    except NotFound:
        return None
    except ValidationError as error:
        raise MalformedArtifact(f"{store.uri(key)} is no report that this version can read; remove it: {error}") from error


def _summary(report: ShadowReport, key: str | None) -> ShadowSummary:
    return ShadowSummary(
        stable_digest=report.stable_digest,
        candidate_digest=report.candidate_digest,
        since=report.since,
        attempt=report.attempt,
        verdict=report.verdict,
        rows=report.rows,
        requests=report.requests,
        errors=report.errors,
        disagreement=report.disagreement,
        mean_difference=report.mean_difference,
        latency=report.latency,
        message=report.message,
        report=key,
    )


def work() -> tuple[Summary, int]:
    """Read the configuration, compare, and say how it ended; what it raises is reported by `run`."""
    config = ShadowConfig.from_environment()
    ask = Http(config.url, config.model.uid)
    try:
        return shadow(config, S3Store.open(config.storage), ask, datetime.now(UTC), time.monotonic), EXIT_OK
    except UnreachableError as error:
        said = f"nobody answers at {config.url}: {error}"
        return FailureSummary(reason="CandidateUnreachable", message=said[:1000]), EXIT_TRANSIENT
    finally:
        ask.close()


def main() -> int:
    """The process: returns its exit code."""
    configure_logging()
    return run(work)


if __name__ == "__main__":
    sys.exit(main())
