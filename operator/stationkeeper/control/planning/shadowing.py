"""A shadow: a candidate that is asked, off the request path, what the stable revision was asked (DESIGN §7). Pure.

Every `duration` a Job compares the answers to all that the stable revision captured since the shadow began. Its name, its rows and
its report follow from the two revisions, the beginning and the number of the attempt: whoever makes it twice makes it once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from stationkeeper.api.base import format_time, parse_duration
from stationkeeper.api.jobs import RevisionIdentity, ShadowConfig
from stationkeeper.api.meta import CONTAINER_SHADOW, LABEL_SHADOW
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import ShadowStatus
from stationkeeper.api.summary import ShadowSummary
from stationkeeper.control.planning import canary, evidence
from stationkeeper.control.planning.types import Object, Observed, Ref
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.service import revision_url
from stationkeeper.control.resources.shadow import shadow_job

_UPLOAD = timedelta(seconds=30)  # after its interval has ended, a pod has written what it captured


@dataclass(frozen=True)
class Shadowing:
    """One comparison of two revisions."""

    observed: Observed
    owner: Owner
    stable: ModelRevisionSpec
    candidate: ModelRevisionSpec
    since: datetime
    known: ShadowStatus | None  # what was found before
    now: datetime

    @property
    def pair(self) -> str:
        """Name of the comparison."""
        return names.pair(self.owner.uid, self.stable.digest, self.candidate.digest, format_time(self.since))

    @property
    def _duration(self) -> timedelta:
        return max(parse_duration(self.owner.spec.serving.rollout.shadow.duration), timedelta(seconds=1))

    @property
    def _grace(self) -> timedelta:
        return parse_duration(self.owner.spec.serving.capture.flush_interval) + _UPLOAD

    def found(self) -> ShadowStatus:
        """What the newest comparison says; without any, none."""
        newest = self.known or ShadowStatus()
        for job in self._jobs():
            said = evidence.shadow_summary(self.observed, job)
            if said and self._is_ours(said) and said.attempt > newest.attempt:
                newest = ShadowStatus(
                    attempt=said.attempt,
                    verdict=said.verdict,
                    rows=said.rows,
                    message=said.message,
                    report=f"{self.owner.spec.storage.uri.rstrip('/')}/{said.report}" if said.report else None,
                )
        return newest

    def trouble(self) -> str | None:
        """Why the newest comparison came to nothing, if it failed."""
        for job in sorted(self._jobs(), key=lambda job: str(job["metadata"].get("creationTimestamp") or ""), reverse=True):
            ended = evidence.finished(job)
            if ended in (None, "Complete"):
                return None
            said = evidence.failure(self.observed, job, (CONTAINER_SHADOW,))
            return f"the comparison failed: {said.reason}: {said.message}" if said else f"the comparison failed: {ended}"
        return None

    def due(self) -> int | None:
        """The attempt whose time has come; None while none is due, or one runs."""
        attempt = self._elapsed()
        if attempt < 1 or attempt <= self.found().attempt or self.runs():
            return None
        name = names.shadow_job(self.owner.name, self.pair, attempt)
        return None if any(job["metadata"]["name"] == name for job in self._jobs()) else attempt

    def runs(self) -> bool:
        """Whether a comparison is under way."""
        return any(evidence.finished(job) is None for job in self._jobs())

    def expired(self) -> bool:
        """Whether it has waited long enough for evidence, and none is on its way."""
        deadline = parse_duration(self.owner.spec.serving.rollout.analysis.deadline)
        late = self.now >= self.since + max(deadline, self._duration) + self._grace
        return late and not self.runs() and self.due() is None

    def next_look(self) -> float:
        """Seconds until the next attempt is due."""
        at = self.since + self._grace + (max(self._elapsed(), 0) + 1) * self._duration
        return (at - self.now).total_seconds()

    def job(self, attempt: int, image: Image) -> Object:
        """The Job of an attempt."""
        candidate = RevisionIdentity(number=self.candidate.number, digest=self.candidate.digest)
        config = ShadowConfig(
            model=self.owner.identity,
            storage=self.owner.spec.storage,
            stable=RevisionIdentity(number=self.stable.number, digest=self.stable.digest),
            candidate=candidate,
            url=revision_url(self.owner, candidate),
            since=self.since,
            until=self.since + attempt * self._duration,
            attempt=attempt,
            event_time=self.owner.spec.serving.capture.event_time,
            shadow=self.owner.spec.serving.rollout.shadow,
            analysis=self.owner.spec.serving.rollout.analysis,
            expected_shift=dict(canary.expected_shift(self.candidate, self.stable.digest)),
        )
        return shadow_job(self.owner, config, self.pair, image)

    def _elapsed(self) -> int:
        return int((self.now - self.since - self._grace) // self._duration)

    def _jobs(self) -> list[Object]:
        return [job for job in all_jobs(self.observed, self.owner) if _pair(job) == self.pair]

    def _is_ours(self, said: ShadowSummary) -> bool:
        same = (said.stable_digest, said.candidate_digest) == (self.stable.digest, self.candidate.digest)
        return same and said.since == self.since


def all_jobs(observed: Observed, owner: Owner) -> list[Object]:
    """The Model's comparisons, of whatever revisions."""
    return [job for job in observed.jobs if _pair(job) and evidence.controlled_by(job, owner.uid)]


def stale(observed: Observed, owner: Owner, wanted: "Shadowing | None") -> list[Ref]:
    """Comparisons that still run and that nobody waits for any more. One that has said its word stays for people to look at."""
    pair = wanted.pair if wanted else ""
    unfinished = [job for job in all_jobs(observed, owner) if evidence.finished(job) is None]
    running = [job for job in unfinished if evidence.shadow_summary(observed, job) is None]
    return [Ref.to(job) for job in running if _pair(job) != pair and not job["metadata"].get("deletionTimestamp")]


def _pair(job: Object) -> str:
    return str((job["metadata"].get("labels") or {}).get(LABEL_SHADOW) or "")
