"""The operator's own planning as the pilot of a replay: the same episodes, guards and hysteresis, on the clock of the data.

The two planes do not know each other; the command line may know both.
"""

from collections.abc import Sequence
from datetime import datetime

from stationkeeper.api.base import sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.jobs import RevisionIdentity
from stationkeeper.api.meta import CONTAINER_PUBLISH
from stationkeeper.api.model import Labels
from stationkeeper.api.revision import Champion, ModelRevisionSpec
from stationkeeper.api.status import ModelStatus, RevisionRef
from stationkeeper.api.summary import CheckSummary, TrainingSummary
from stationkeeper.api.verdicts import CheckStatus, QualityVerdict, WindowVerdict
from stationkeeper.control.planning.anchor import anchor
from stationkeeper.control.planning.causes import Situation, grows_at
from stationkeeper.control.planning.drift import PolicyView
from stationkeeper.control.planning.episodes import Training, plan_training
from stationkeeper.control.planning.findings import findings
from stationkeeper.control.planning.intent import judgement_digest, training_digest
from stationkeeper.control.planning.memory import REMEMBERED, remember
from stationkeeper.control.planning.skew import origin_of
from stationkeeper.control.planning.types import Object, Observed
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Owner
from stationkeeper.workloads.backtest.pilot import Order

_AT_ONCE = Labels(uri="s3://history", lag="0s")


def view(spec: DriftPolicySpec, name: str, owner: Owner, labels: Labels | None = None) -> PolicyView:
    """A policy as planning sees it; `labels` say how they come in the replay, where not as the Model says."""
    lag = (labels or owner.spec.labels or _AT_ONCE).lag
    return PolicyView(name, name, spec, judgement_digest(spec, owner.spec.labels), lag)


class Autopilot:
    """Decides as the operator does. Not in it: rollouts, which take no time here, and pins."""

    checks = True

    def __init__(self, owner: Owner, policy: PolicyView, begin: datetime) -> None:
        self.name = "policy"
        self._owner = owner
        self._policy = policy
        self._begin = begin
        self._now = begin  # when it was last asked
        self._status = ModelStatus()
        self._records: list[ModelRevisionSpec] = []
        self._training: Training | None = None
        self._skewed: set[int] = set()  # numbers of revisions that never matched
        self._digests: dict[int, str] = {}  # of what was published, by its number

    @property
    def wake(self) -> datetime | None:
        """When the guard that holds a training lets go, or what could be known has doubled."""
        held = self._status.waiting.until if self._status.waiting else None
        return min((moment for moment in (held, self._grows_at) if moment), default=None)

    @property
    def notes(self) -> list[str]:
        """What windows and trainings do not show."""
        of = ", ".join(map(str, sorted(self._skewed)))
        said = "from the first judged window on it differed from what it had just learned: that is skew, and no drift retrains"
        return [f"revision {of}: {said} (spec.skewWithin)"] if of else []

    def hear(self, verdict: WindowVerdict | QualityVerdict) -> None:
        """Remember a window of the revision that serves."""
        summary = CheckSummary(
            policy_uid=self._policy.uid,
            policy_digest=self._policy.digest,
            revision_digest=self._serving,
            windows=[verdict] if isinstance(verdict, WindowVerdict) else [],
            quality=[verdict] if isinstance(verdict, QualityVerdict) else [],
        )
        self._remember([summary], verdict.end)

    def decide(self, now: datetime) -> Order | None:
        """What the operator would start now."""
        self._now = now
        if self._training is None:
            self._training = self._plan(now, Observed(model={}))
        training, self._training = self._training, None
        episode = training.episode
        if not training.run or episode is None:
            return None
        return Order(episode.asked, episode.id, episode.attempt, episode.revision, episode.onset, self._anchor())

    @property
    def _grows_at(self) -> datetime | None:
        serving = self._records[-1] if self._records else None
        return grows_at(self._owner.spec, serving, self._now)

    def _anchor(self) -> RevisionIdentity | None:
        serving = self._records[-1] if self._records else None
        found = anchor(serving, self._records, (), self._owner.spec.trained.evaluation.gates[0].metric)
        return RevisionIdentity(number=found.number, digest=self._digests[found.number]) if found else None

    def conclude(self, order: Order, summary: TrainingSummary, now: datetime) -> None:
        """Let planning read the summary as it reads a pod's last words; what was published serves."""
        # Digests of manifests hold the moment of writing: replays would differ by it.
        told = summary.model_copy(update={"digest": sha256(f"{order.episode}/{order.attempt}".encode())})
        observed = Observed(model={}, jobs=(self._job(order),), pods=(_pod(order, told),))
        self._training = self._plan(now, observed)
        if self._training.published:
            self._digests[self._training.published.revision or order.revision] = summary.digest or ""
            self._serve(self._training, now)
            self._training = None

    @property
    def _serving(self) -> str:
        assert self._status.serving is not None
        return self._status.serving.digest

    def _plan(self, now: datetime, observed: Observed) -> Training:
        training = plan_training(observed, self._situation(now))
        self._status = self._status.model_copy(
            update={
                "episode": training.episode,
                "last_training": training.last,
                "waiting": training.waiting,
                "trainings": list(training.starts),
                "scheduled_at": training.scheduled_at,
                "grown_at": training.grown_at,
            }
        )
        return training

    def _situation(self, now: datetime) -> Situation:
        found = findings([self._policy], self._status.checks, now)
        return Situation(
            owner=self._owner,
            annotations={},
            status=self._status,
            records=tuple(self._records),
            serving=self._records[-1] if self._records else None,
            template_digest=training_digest(self._owner.spec.trained),
            published=None,
            data=found.data,
            drift=found.drift,
            quality=found.quality,
            rollout_running=False,
            created_at=self._begin,
            now=now,
        )

    def _serve(self, training: Training, now: datetime) -> None:
        episode, summary = training.episode, training.published
        assert episode is not None
        assert summary is not None
        assert summary.digest
        before, beaten = self._records[-1:], summary.champion_metrics
        record = ModelRevisionSpec(
            model_name=self._owner.name,
            number=summary.revision or episode.revision,
            digest=summary.digest,
            manifest_uri=summary.manifest_uri or "",
            cause=episode.asked,
            episode=episode.id,
            attempt=episode.attempt,
            template_digest=episode.template_digest,
            data_digest=summary.data_digest or summary.digest,
            data_since=summary.data_since,
            data_through=summary.data_through,
            trained_at=now,
            metrics=summary.metrics,
            champion=Champion(number=before[0].number, digest=before[0].digest, metrics=beaten) if before else None,
        )
        self._records.append(record)
        serving = RevisionRef(number=record.number, digest=record.digest, since=now)
        self._status = self._status.model_copy(update={"serving": serving, "latest_revision": record.number})
        self._remember([], now)

    def _remember(self, summaries: list[CheckSummary], now: datetime) -> None:
        before = self._records[-2] if len(self._records) > 1 else None
        told, origin = {self._policy.uid: summaries}, origin_of(self._records[-1], before)
        checks = remember(self._status.checks, [self._policy], told, self._serving, now, origin=origin)
        self._status = self._status.model_copy(update={"checks": checks})
        if any(check.skewed for check in checks):
            self._skewed.add(self._records[-1].number)

    def _job(self, order: Order) -> Object:
        name = names.training_job(self._owner.name, self._owner.uid, order.episode, order.attempt)
        owners = [{"controller": True, "uid": self._owner.uid}]
        complete = {"conditions": [{"type": "Complete", "status": "True"}]}
        return {"metadata": {"name": name, "uid": order.episode, "ownerReferences": owners}, "status": complete}


def _pod(order: Order, summary: TrainingSummary) -> Object:
    ended = {"exitCode": 0, "reason": "Completed", "message": summary.encode().decode()}
    owners = [{"controller": True, "uid": order.episode}]
    status = {"containerStatuses": [{"name": CONTAINER_PUBLISH, "state": {"terminated": ended}}]}
    return {"metadata": {"name": "replay", "ownerReferences": owners}, "status": status}


def asks(policy: PolicyView, windows: Sequence[WindowVerdict]) -> bool:
    """Whether the newest windows of a revision would have a training started: M of N, in a group that retrains."""
    check = CheckStatus(
        policy_uid=policy.uid,
        policy=policy.name,
        policy_digest=policy.digest,
        revision_digest=policy.digest,  # of one revision, whichever
        windows=list(windows)[-REMEMBERED:],
    )
    found = findings([policy], [check], windows[-1].end)
    return bool(found.drift and found.drift.verdict == "Breached" and not (found.data and found.data.verdict == "Breached"))
