"""Which revision serves, which one comes up, and what becomes of the others.

The Service's selector is the one place that says who serves; everything here is derived from it, from the records
and from the Deployments, so that a crash between any two writes leaves nothing to repair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from stationkeeper.api.jobs import RevisionIdentity
from stationkeeper.api.meta import EXIT_INVALID, LABEL_REVISION
from stationkeeper.api.model import ModelStatus, Quarantined, RevisionRef
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.control.planning import evidence
from stationkeeper.control.planning.types import Object, Observed, Ref, Settings
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.deployment import serving_deployment
from stationkeeper.control.resources.service import model_service

_MAX_QUARANTINE = 32


class RolloutState(StrEnum):
    """Where the rollout of the newest good revision stands."""

    NOTHING_TO_SERVE = "NothingToServe"  # no revision yet, or none that may serve
    STABLE = "Stable"  # the newest good revision serves
    DRAINING = "Draining"  # it serves, and its predecessor finishes what it has
    STARTING = "Starting"  # a candidate comes up
    BLOCKED = "Blocked"  # a candidate cannot start, and that is not its fault
    PROVEN = "Proven"  # the candidate is ready: switch
    FAILED = "Failed"  # the candidate failed: quarantine


@dataclass(frozen=True)
class Rollout:
    """The state of serving and what to do about it."""

    state: RolloutState
    serving: RevisionRef | None
    candidate: RevisionRef | None
    message: str
    replicas: int  # pods of the stable revision
    ready_replicas: int
    apply: tuple[Object, ...] = ()
    delete: tuple[Ref, ...] = ()
    quarantine: tuple[Quarantined, ...] = ()
    look_again: float | None = None  # seconds
    blocked: evidence.Blocked | None = None


def serving_number(observed: Observed, uid: str) -> int | None:
    """Number of the revision that the Service's selector names; None when there is no Service of ours."""
    for service in observed.services:
        if evidence.controlled_by(service, uid):
            text = ((service.get("spec") or {}).get("selector") or {}).get(LABEL_REVISION, "")
            return int(text) if text.isdigit() else None
    return None


def plan_rollout(
    observed: Observed,
    owner: Owner,
    status: ModelStatus,
    records: Sequence[ModelRevisionSpec],
    now: datetime,
    settings: Settings,
) -> Rollout:
    """Name the state of serving, then choose what to apply and delete. Pure."""
    return _Planner(observed, owner, status, {record.number: record for record in records}, now, settings).plan()


@dataclass(frozen=True)
class _Planner:
    observed: Observed
    owner: Owner
    status: ModelStatus
    records: dict[int, ModelRevisionSpec]
    now: datetime
    settings: Settings

    def plan(self) -> Rollout:
        stable = self.records.get(serving_number(self.observed, self.owner.uid) or 0)
        candidate = self._candidate(stable)
        state, message, blocked = self._candidate_state(stable, candidate)
        failed = state == RolloutState.FAILED
        quarantine = list(self.status.quarantine)
        if failed and candidate:
            quarantine.append(Quarantined(digest=candidate.digest, reason=message[:512], at=self.now))
        if state == RolloutState.PROVEN and candidate:
            stable, shown = candidate, None
        else:
            shown = None if failed else candidate
        serving = self._serving_ref(stable)
        draining = self._drain_left(serving)
        if state == RolloutState.STABLE and draining and self._others(stable, None):
            state, message = RolloutState.DRAINING, "the predecessor finishes its requests"
        apply = self._wanted(stable, shown, draining)
        if stable:
            apply.append(model_service(self.owner, stable.number))
        live = self._deployment(stable) if stable else None
        live_status = (live or {}).get("status") or {}
        return Rollout(
            state=state,
            serving=serving,
            candidate=RevisionRef(number=shown.number, digest=shown.digest) if shown else None,
            message=message,
            replicas=int(live_status.get("replicas") or 0),
            ready_replicas=int(live_status.get("readyReplicas") or 0),
            apply=tuple(apply),
            delete=tuple(self._unwanted(stable, shown, draining)),
            quarantine=tuple(quarantine[-_MAX_QUARANTINE:]),
            look_again=draining,
            blocked=blocked,
        )

    def _candidate(self, stable: ModelRevisionSpec | None) -> ModelRevisionSpec | None:
        """The newest revision that may serve and does not yet; an older one never replaces a newer."""
        bad = {entry.digest for entry in self.status.quarantine}
        good = [record for record in self.records.values() if record.digest not in bad]
        newest = max(good, key=lambda record: record.number, default=None)
        return newest if newest and (stable is None or newest.number > stable.number) else None

    def _candidate_state(
        self, stable: ModelRevisionSpec | None, candidate: ModelRevisionSpec | None
    ) -> tuple[RolloutState, str, evidence.Blocked | None]:
        if candidate is None:
            if stable is None:
                return RolloutState.NOTHING_TO_SERVE, "no revision to serve yet", None
            return RolloutState.STABLE, f"revision {stable.number} serves", self._blocked(stable)
        name = f"revision {candidate.number}"
        deployment = self._deployment(candidate)
        if deployment is None:
            return RolloutState.STARTING, f"{name} is being started", None
        want = self._candidate_replicas()
        live = deployment.get("status") or {}
        ready = min(int(live.get("readyReplicas") or 0), int(live.get("updatedReplicas") or 0))
        seen = int(live.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
        if seen and ready >= want:
            return RolloutState.PROVEN, f"{name} reproduced its golden rows and is ready on {ready} of {want} replicas", None
        if blocked := self._blocked(candidate):
            return RolloutState.BLOCKED, blocked.message, blocked
        if failure := self._candidate_failure(candidate, deployment, stable is not None):
            return RolloutState.FAILED, f"{name} failed to start: {failure}", None
        return RolloutState.STARTING, f"{name} comes up: {ready} of {want} replicas ready", None

    def _candidate_failure(self, candidate: ModelRevisionSpec, deployment: Object, stable_serves: bool) -> str | None:
        """Why the candidate is given up. Without a stable revision only a fault of its own counts, not the time."""
        for pod in self._pods(candidate):
            for end in evidence.ended(pod, ("serve",)):
                if end.exit_code == EXIT_INVALID and (failure := evidence.serving_failure(pod)):
                    return f"{failure.reason}: {failure.message}"
        for condition in (deployment.get("status") or {}).get("conditions") or []:
            expired = condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded"
            if expired and stable_serves:
                said = next((f.message for pod in self._pods(candidate) if (f := evidence.serving_failure(pod))), "")
                return f"not ready within {self.owner.spec.serving.progress_deadline}" + (f"; {said}" if said else "")
        return None

    def _wanted(
        self, stable: ModelRevisionSpec | None, candidate: ModelRevisionSpec | None, draining: float | None
    ) -> list[Object]:
        wanted = []
        if stable:
            wanted.append(self._build(stable, self.owner.spec.serving.replicas))
        if candidate:
            wanted.append(self._build(candidate, self._candidate_replicas()))
        predecessor = self._predecessor(stable)
        if predecessor and not draining:
            wanted.append(self._build(predecessor, 0))
        return wanted

    def _unwanted(
        self, stable: ModelRevisionSpec | None, candidate: ModelRevisionSpec | None, draining: float | None
    ) -> list[Ref]:
        """Deployments that no longer serve: failed candidates at once, old revisions after the drain, but the predecessor."""
        if stable is None and serving_number(self.observed, self.owner.uid) is not None:
            return []  # the record of what serves is missing: touch nothing that may be answering requests
        predecessor = self._predecessor(stable)
        unwanted = []
        for deployment in self._others(stable, candidate):
            number = _number(deployment)
            if predecessor and number == predecessor.number:
                continue
            if stable is None or number > stable.number or not draining:
                unwanted.append(Ref.to(deployment))
        return unwanted

    def _others(self, stable: ModelRevisionSpec | None, candidate: ModelRevisionSpec | None) -> list[Object]:
        kept = {record.number for record in (stable, candidate) if record}
        ours = [d for d in self.observed.deployments if evidence.controlled_by(d, self.owner.uid)]
        return [d for d in ours if _number(d) not in kept and not d["metadata"].get("deletionTimestamp")]

    def _predecessor(self, stable: ModelRevisionSpec | None) -> ModelRevisionSpec | None:
        """The newest older revision that still has a Deployment: kept at zero pods, ready to be looked at."""
        older = [n for d in self._others(stable, None) if stable and (n := _number(d)) < stable.number and n in self.records]
        return self.records[max(older)] if older else None

    def _candidate_replicas(self) -> int:
        return max(1, self.owner.spec.serving.replicas)  # one pod proves it even where nothing shall serve

    def _build(self, record: ModelRevisionSpec, replicas: int) -> Object:
        identity = RevisionIdentity(number=record.number, digest=record.digest)
        return serving_deployment(self.owner, identity, replicas, Image(self._image(record), self.settings.image_pull_policy))

    def _image(self, record: ModelRevisionSpec) -> str:
        """The image of the revision's first rollout: an upgrade of the operator restarts nothing."""
        live = self._deployment(record)
        if live is None:
            return self.settings.workloads_image
        containers = live["spec"]["template"]["spec"]["containers"]
        return str(next((c["image"] for c in containers if c["name"] == "serve"), self.settings.workloads_image))

    def _deployment(self, record: ModelRevisionSpec) -> Object | None:
        name = names.revision(self.owner.name, self.owner.uid, record.number, record.digest)
        return next((d for d in self.observed.deployments if d["metadata"]["name"] == name), None)

    def _pods(self, record: ModelRevisionSpec) -> list[Object]:
        number = str(record.number)
        return [
            pod
            for pod in self.observed.pods
            if (pod["metadata"].get("labels") or {}).get(LABEL_REVISION) == number
            and not pod["metadata"].get("deletionTimestamp")
        ]

    def _blocked(self, record: ModelRevisionSpec) -> evidence.Blocked | None:
        return next((found for pod in self._pods(record) if (found := evidence.blocked(pod))), None)

    def _serving_ref(self, stable: ModelRevisionSpec | None) -> RevisionRef | None:
        if stable is None:
            return None
        before = self.status.serving
        since = before.since if before and before.number == stable.number and before.since else self.now
        return RevisionRef(number=stable.number, digest=stable.digest, since=since)

    def _drain_left(self, serving: RevisionRef | None) -> float | None:
        """Seconds until the predecessor's pods may go; None when that time has come."""
        if serving is None or serving.since is None:
            return None
        left = (serving.since + timedelta(seconds=self.settings.drain_seconds) - self.now).total_seconds()
        return left if left > 0 else None


def _number(deployment: Object) -> int:
    text = (deployment["metadata"].get("labels") or {}).get(LABEL_REVISION, "0")
    return int(text) if text.isdigit() else 0
