"""Which revision serves, which one comes up, and what becomes of the others.

The Service's label is the one place that says who serves; everything here is derived from it, from the records
and from the Deployments, so that a crash between any two writes leaves nothing to repair. Status remembers only
at which step a canary is and since when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stationkeeper.api.jobs import RevisionIdentity
from stationkeeper.api.meta import CONTAINER_FETCH, CONTAINER_SERVE
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import CandidateRef, ModelStatus, Quarantined, RevisionRef, RouteStatus
from stationkeeper.control.planning import canary, evidence, probation
from stationkeeper.control.planning.candidacy import Candidacy, Progress, RolloutState
from stationkeeper.control.planning.drift import PolicyView
from stationkeeper.control.planning.fleet import Fleet, number, serving_number
from stationkeeper.control.planning.observed import rejected
from stationkeeper.control.planning.quarantine import traced
from stationkeeper.control.planning.routing import LAG, Routing, Word
from stationkeeper.control.planning.shadowing import stale
from stationkeeper.control.planning.target import Target, choose, people_quarantine
from stationkeeper.control.planning.types import Object, Observed, Ref, Settings
from stationkeeper.control.resources import names
from stationkeeper.control.resources.availability import autoscaler, disruption_budget
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.deployment import serving_deployment
from stationkeeper.control.resources.route import http_route
from stationkeeper.control.resources.service import model_service, revision_service

_MAX_QUARANTINE = 32
_LOOK_SECONDS = 5.0  # between two looks at a canary: a bad one must not wait for its step to end


@dataclass(frozen=True)
class Rollout:
    """The state of serving and what to do about it."""

    state: RolloutState
    serving: RevisionRef | None
    candidate: CandidateRef | None
    message: str
    wanted: int  # pods that the stable revision shall have
    replicas: int  # pods that it has
    ready_replicas: int
    apply: tuple[Object, ...] = ()
    delete: tuple[Ref, ...] = ()
    quarantine: tuple[Quarantined, ...] = ()
    look_again: float | None = None  # seconds
    blocked: evidence.Blocked | None = None
    problem: str = ""  # a wish of the spec that cannot be followed
    route: RouteStatus | None = None
    routed: Word | None = None  # what the Gateway says, where there is a route


def plan_rollout(
    observed: Observed,
    owner: Owner,
    status: ModelStatus,
    records: Sequence[ModelRevisionSpec],
    policies: Sequence[PolicyView],
    now: datetime,
    settings: Settings,
) -> Rollout:
    """Name the state of serving, then choose what to apply and delete. Pure."""
    known = {record.number: record for record in records}
    routing = Routing(observed, owner, status.route, now)
    return _Planner(Fleet(observed, owner), routing, status, known, policies, now, settings).plan()


@dataclass(frozen=True)
class _Planner:
    fleet: Fleet
    routing: Routing
    status: ModelStatus
    records: dict[int, ModelRevisionSpec]
    policies: Sequence[PolicyView]
    now: datetime
    settings: Settings

    def plan(self) -> Rollout:
        observed, owner = self.fleet.observed, self.fleet.owner
        stable = self.records.get(serving_number(observed, owner) or 0)
        quarantine = people_quarantine(self._annotations, self.status, stable, self.now)
        quarantine += self._failed_probation(stable, quarantine)
        target = choose(owner.spec.revision, list(self.records.values()), quarantine, stable, rejected(observed, owner))
        candidacy = self._candidacy(stable, target)
        progress = candidacy.progress() if candidacy else self._settled(stable, target)
        if candidacy and progress.state == RolloutState.FAILED:
            quarantine.append(Quarantined(digest=candidacy.record.digest, reason=progress.message[:512], at=self.now))
            candidacy = None
        elif candidacy and progress.state == RolloutState.PROVEN and candidacy.status and candidacy.status.proof:
            stable, candidacy = candidacy.record, None
            progress = self._settled(stable, target)
        return self._rollout(stable, candidacy, progress, target, quarantine)

    @property
    def _annotations(self) -> dict[str, str]:
        return self.fleet.observed.model["metadata"].get("annotations") or {}

    def _failed_probation(self, stable: ModelRevisionSpec | None, quarantine: Sequence[Quarantined]) -> list[Quarantined]:
        """The revision that serves, once labels have shown that its predecessor was surely better."""
        serving = self._serving_ref(stable)
        before = probation.predecessor(self.fleet.owner.spec, serving, list(self.records.values()), quarantine, self.now)
        if serving is None or before is None or serving.digest in {entry.digest for entry in quarantine}:
            return []
        said = probation.loss(before, serving, self.policies, self.status.checks)
        return [Quarantined(digest=serving.digest, reason=said[:512], at=self.now, promoted=True)] if said else []

    def _candidacy(self, stable: ModelRevisionSpec | None, target: Target) -> Candidacy | None:
        record = target.record
        if record is None or record == stable:
            return None
        before = self.status.candidate
        known = before if before and before.digest == record.digest else None
        serves = frozenset({stable.number} if stable else set())
        draining = self._drain_left(self._serving_ref(stable), serves) is not None
        restored = self.status.restore.serving if self.status.restore and stable is None else None
        at_once = target.at_once or record.digest == restored  # it has been proven and approved before
        return Candidacy(self.fleet, record, stable, at_once, known, draining, self.routing, self.now)

    def _settled(self, stable: ModelRevisionSpec | None, target: Target) -> Progress:
        if stable is None:
            return Progress(RolloutState.NOTHING_TO_SERVE, target.problem)
        serves, trouble = f"revision {stable.number} serves", self._trouble(stable)
        ready = int(self._live(stable).get("readyReplicas") or 0)
        if trouble is None:
            return Progress(RolloutState.STABLE, f"{serves}{self._given_up(stable)}")
        if ready == 0:
            return Progress(RolloutState.STABLE, f"{trouble.reason}: {trouble.message}", trouble)
        wanted = self.fleet.size(stable)
        return Progress(RolloutState.STABLE, f"{serves} on {ready} of {wanted} replicas; {trouble.reason}: {trouble.message}")

    def _trouble(self, stable: ModelRevisionSpec) -> evidence.Blocked | None:
        """Why a pod of the stable revision is not ready: it cannot start, or what it must load is not what was published."""
        for pod in self.fleet.pods(stable):
            failure = None if evidence.is_ready(pod, CONTAINER_SERVE) else evidence.serving_failure(pod)
            if failure:
                return evidence.Blocked(failure.reason, failure.message)
        return self.fleet.blocked(stable)

    def _given_up(self, stable: ModelRevisionSpec) -> str:
        """What became of a newer revision: people look here long after the event."""
        reasons = {entry.digest: entry.reason for entry in self.status.quarantine}
        newer = [r for r in self.records.values() if r.number > stable.number and r.digest in reasons]
        newest = max(newer, key=lambda record: record.number, default=None)
        return f"; revision {newest.number} does not: {reasons[newest.digest]}" if newest else ""

    def _rollout(
        self,
        stable: ModelRevisionSpec | None,
        candidacy: Candidacy | None,
        progress: Progress,
        target: Target,
        quarantine: list[Quarantined],
    ) -> Rollout:
        serving = self._serving_ref(stable)
        shares = self._shares(stable, candidacy, progress)
        draining = self._drain_left(serving, frozenset(shares))
        state, message = progress.state, progress.message
        if state == RolloutState.STABLE and self._switch_left(serving) and self.fleet.others(stable):
            state, message = RolloutState.DRAINING, "the predecessor finishes its requests"
        apply = self._wanted(stable, candidacy, draining, progress)
        alone = self._alone(stable, candidacy, progress)
        apply += [revision_service(self.fleet.owner, _identity(record)) for record in alone]
        if stable:
            shared = candidacy is not None and progress.shares and not self.routing.wanted
            apply.append(model_service(self.fleet.owner, stable.number, shared=shared))
        apply += self._route(shares)
        apply += self._shadow(candidacy, progress)
        guards = self._guards(stable)
        apply += guards
        live = self._live(stable)
        looks = [draining, *self._looks(stable, candidacy, progress, shares)]
        unrouted = [Ref.to(self.routing.live)] if self.routing.live and not self.routing.wanted else []
        gone = self._unwanted(stable, candidacy.record if candidacy else None, draining)
        if stable and not draining:
            gone += self.fleet.services(*alone)
        return Rollout(
            state=state,
            serving=serving,
            candidate=self._candidate_ref(candidacy, progress),
            message=message,
            wanted=self.fleet.size(stable),
            replicas=int(live.get("replicas") or 0),
            ready_replicas=int(live.get("readyReplicas") or 0),
            apply=tuple(apply),
            delete=(
                *unrouted,
                *gone,
                *stale(self.fleet.observed, self.fleet.owner, candidacy.shadowing if candidacy else None),
                *self._stale(guards),
            ),
            quarantine=tuple(traced(quarantine, self.records.values(), self._annotations)[-_MAX_QUARANTINE:]),
            look_again=min((seconds for seconds in looks if seconds is not None), default=None),
            blocked=progress.blocked,
            problem=target.problem,
            route=self.routing.status(),
            routed=self.routing.word() if self.routing.wanted else None,
        )

    def _shares(self, stable: ModelRevisionSpec | None, candidacy: Candidacy | None, progress: Progress) -> dict[int, int]:
        """Percentages of what comes through the Gateway, by revision; without a route who serves has all."""
        if stable is None:
            return {}
        serving, asked = self._serving_ref(stable), self.routing.asked
        fresh = serving is not None and serving.since is not None and self.now < serving.since + LAG
        if fresh and asked and stable.number not in asked and asked.keys() <= self.records.keys():
            return asked  # the Service has just switched: the Gateway must know the new endpoints first
        weight = candidacy.weight(progress) if candidacy and self.routing.wanted else 0
        shares = {stable.number: 100 - weight}
        return shares | {candidacy.record.number: weight} if candidacy and weight else shares

    def _route(self, shares: dict[int, int]) -> list[Object]:
        """The HTTPRoute, after the endpoints that it sends to."""
        wanted = self.fleet.owner.spec.serving.route
        if wanted is None or not shares or not self.fleet.observed.routable:
            return []
        return [http_route(self.fleet.owner, wanted, [(_identity(self.records[n]), weight) for n, weight in shares.items()])]

    def _alone(
        self, stable: ModelRevisionSpec | None, candidacy: Candidacy | None, progress: Progress
    ) -> list[ModelRevisionSpec]:
        """Revisions that need a Service of their own: for the route's weights, or to be asked as a shadow."""
        if self.routing.wanted:
            return [record for record in (stable, candidacy.record if candidacy else None) if record]
        return [candidacy.record] if candidacy and candidacy.shadowing and not progress.shares else []

    def _shadow(self, candidacy: Candidacy | None, progress: Progress) -> list[Object]:
        """The Job of a comparison that is due."""
        shadowing = candidacy.shadowing if candidacy and progress.state == RolloutState.SHADOW else None
        attempt = shadowing.due() if shadowing else None
        image = Image(self.settings.workloads_image, self.settings.image_pull_policy)
        return [shadowing.job(attempt, image)] if shadowing and attempt else []

    def _looks(
        self, stable: ModelRevisionSpec | None, candidacy: Candidacy | None, progress: Progress, shares: dict[int, int]
    ) -> list[float | None]:
        """Seconds until something may have changed that no event tells."""
        looks: list[float | None] = [_LOOK_SECONDS if candidacy and progress.shares else None]
        if candidacy and not progress.shares and (shadowing := candidacy.shadowing):
            looks.append(shadowing.next_look())
        elif progress.state == RolloutState.SHADOW:
            looks.append(_LOOK_SECONDS)
        if stable and stable.number not in shares:
            looks.append(LAG.total_seconds())
        return looks

    def _live(self, stable: ModelRevisionSpec | None) -> Object:
        """What the Deployment of the stable revision last said of itself."""
        found: Object = ((self.fleet.deployment(stable) if stable else None) or {}).get("status") or {}
        return found

    def _wanted(
        self, stable: ModelRevisionSpec | None, candidacy: Candidacy | None, draining: float | None, progress: Progress
    ) -> list[Object]:
        wanted = []
        if stable:
            makes_room = self.fleet.owner.spec.serving.rollout.strategy == "Recreate" and candidacy is not None
            pods = 0 if makes_room else self._size(stable)
            if candidacy and candidacy.hands_over(progress):
                left = max(0, self.fleet.size(stable) - self.fleet.answering(candidacy.record))
                live = self.fleet.live_size(stable)
                # One that was lost is the candidate's to bring back; the last ones go when the Service has switched.
                pods = live if progress.state == RolloutState.PROVEN else min(left, live)
            wanted.append(self._build(stable, pods))
        if candidacy:
            wanted.append(self._build(candidacy.record, candidacy.replicas(progress.step)))
        predecessor = self._predecessor(stable, candidacy.record if candidacy else None)
        if predecessor and not draining:
            wanted.append(self._build(predecessor, 0))
        return wanted

    def _candidate_ref(self, candidacy: Candidacy | None, progress: Progress) -> CandidateRef | None:
        if candidacy is None:
            return None
        weight = None
        if progress.step is not None:
            weight = self._weight(candidacy)
        return CandidateRef(
            number=candidacy.record.number,
            digest=candidacy.record.digest,
            step=progress.step,
            step_since=progress.since,
            weight=weight,
            analysis=progress.analysis,
            shown=progress.shown,
            shadowed_since=progress.shadowed_since,
            shadow_of=candidacy.stable.digest if candidacy.stable and progress.shadowed_since else None,
            shadow=progress.shadow,
            proof=progress.message[:512] if progress.state == RolloutState.PROVEN else None,
        )

    def _weight(self, candidacy: Candidacy) -> int:
        """What the candidate really gets: by the Gateway's word, or by its share of the pods.

        Its pods count as they answer: that its Deployment has just been asked for more takes nothing from those that are there.
        """
        if self.routing.wanted:
            return self.routing.weight(candidacy.record.number)
        stable = candidacy.stable
        return canary.achieved(self.fleet.answering(candidacy.record), self.fleet.live_size(stable) or self.fleet.size(stable))

    def _unwanted(
        self, stable: ModelRevisionSpec | None, candidate: ModelRevisionSpec | None, draining: float | None
    ) -> list[Ref]:
        """Deployments that no longer serve, once what they answered has drained, but the predecessor."""
        if stable is None and serving_number(self.fleet.observed, self.fleet.owner) is not None:
            return []  # the record of what serves is missing: touch nothing that may be answering requests
        if draining:
            return []
        predecessor = self._predecessor(stable, candidate)
        kept = predecessor.number if predecessor else None
        return [Ref.to(deployment) for deployment in self.fleet.others(stable, candidate) if number(deployment) != kept]

    def _predecessor(self, stable: ModelRevisionSpec | None, candidate: ModelRevisionSpec | None) -> ModelRevisionSpec | None:
        """The newest older revision that still has a Deployment: kept at zero pods, ready to be looked at."""
        older = [
            n for d in self.fleet.others(stable, candidate) if stable and (n := number(d)) < stable.number and n in self.records
        ]
        return self.records[max(older)] if older else None

    def _size(self, stable: ModelRevisionSpec) -> int | None:
        """Pods of the stable revision; None where an autoscaler says how many. It leaves alone what has none: that is ours to start."""
        autoscaled = self.fleet.owner.spec.serving.autoscaling and self.fleet.live_size(stable)
        return None if autoscaled else self.fleet.size(stable)

    def _guards(self, stable: ModelRevisionSpec | None) -> list[Object]:
        """What keeps the stable revision's pods in number. A budget for a single pod would say nothing."""
        owner = self.fleet.owner
        if stable is None:
            return []
        autoscaling, guards = owner.spec.serving.autoscaling, []
        if autoscaling:
            name = names.revision(owner.name, owner.uid, stable.number, stable.digest)
            guards.append(autoscaler(owner, name, autoscaling))
        if (autoscaling.max_replicas if autoscaling else owner.spec.serving.replicas) > 1:
            guards.append(disruption_budget(owner, stable.number))
        return guards

    def _stale(self, guards: list[Object]) -> list[Ref]:
        wanted = {guard["kind"] for guard in guards}
        ours = [g for g in self.fleet.observed.guards if evidence.controlled_by(g, self.fleet.owner.uid)]
        return [Ref.to(guard) for guard in ours if guard["kind"] not in wanted]

    def _build(self, record: ModelRevisionSpec, replicas: int | None) -> Object:
        image = Image(self._image(record), self.settings.image_pull_policy)
        return serving_deployment(self.fleet.owner, _identity(record), replicas, image, self.fleet.deployment(record))

    def _image(self, record: ModelRevisionSpec) -> str:
        """The image of the revision's first rollout: an upgrade of the operator restarts nothing."""
        live = self.fleet.deployment(record)
        if live is None:
            return self.settings.workloads_image
        pod = live["spec"]["template"]["spec"]
        images = {c["name"]: c["image"] for c in (*pod.get("initContainers", ()), *pod["containers"])}
        ours = CONTAINER_FETCH if CONTAINER_FETCH in images else CONTAINER_SERVE
        return str(images.get(ours, self.settings.workloads_image))

    def _serving_ref(self, stable: ModelRevisionSpec | None) -> RevisionRef | None:
        if stable is None:
            return None
        before = self.status.serving
        since = before.since if before and before.number == stable.number and before.since else self.now
        return RevisionRef(number=stable.number, digest=stable.digest, since=since)

    def _drain_left(self, serving: RevisionRef | None, keeps: frozenset[int]) -> float | None:
        """Seconds until pods of other revisions than `keeps` may go; None when that time has come."""
        lefts = (self._switch_left(serving), self.routing.settling(self.settings.drain_seconds, keeps, _LOOK_SECONDS))
        return max([seconds for seconds in lefts if seconds], default=None)

    def _switch_left(self, serving: RevisionRef | None) -> float | None:
        """Seconds until what came through the Service before its last switch has drained; None when it has."""
        if serving is None or serving.since is None:
            return None
        left = (serving.since + timedelta(seconds=self.settings.drain_seconds) - self.now).total_seconds()
        return left if left > 0 else None


def _identity(record: ModelRevisionSpec) -> RevisionIdentity:
    return RevisionIdentity(number=record.number, digest=record.digest)
