"""The Model's HTTPRoute: what the Gateway was asked for, what it has taken over, and since when. Pure.

The operator asks for weights, and a Gateway takes them over when it can. Whoever may still get a request from it keeps its pods:
what it was last seen to have taken stands in the status, until it is seen to have taken something else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from stationkeeper.api.conditions import Reason
from stationkeeper.api.meta import LABEL_REVISION
from stationkeeper.api.status import RouteStatus, RouteWeight
from stationkeeper.control.planning import evidence
from stationkeeper.control.planning.types import Object, Observed
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Owner

# Between pods that are ready and a weight for them: endpoints go their own way to the Gateway, and it must know them first.
LAG = timedelta(seconds=3)


@dataclass(frozen=True)
class Word:
    """What the Gateway says of the route."""

    accepted: bool | None  # None: nothing yet of what stands there now
    reason: Reason
    message: str
    before: bool = False  # it has accepted what stood there before


@dataclass(frozen=True)
class Routing:
    """The route as it is."""

    observed: Observed
    owner: Owner
    before: RouteStatus | None
    now: datetime

    @property
    def wanted(self) -> bool:
        """Whether the spec asks for a route."""
        return self.owner.spec.serving.route is not None

    @property
    def live(self) -> Object | None:
        """Our HTTPRoute, if it exists."""
        name = names.route(self.owner.name)
        ours = [r for r in self.observed.routes if evidence.controlled_by(r, self.owner.uid)]
        return next((r for r in ours if r["metadata"]["name"] == name and not r["metadata"].get("deletionTimestamp")), None)

    @property
    def asked(self) -> dict[int, int]:
        """Percentages by revision, as the live route has them."""
        rules = ((self.live or {}).get("spec") or {}).get("rules") or [{}]
        revisions = self._revisions()
        weights = {ref.get("name"): int(ref.get("weight", 1)) for ref in rules[0].get("backendRefs") or []}
        return {revisions[name]: weight for name, weight in weights.items() if name in revisions}

    def _revisions(self) -> Mapping[str, int]:
        """Revisions by the name of their Service."""
        found = {}
        for service in self.observed.services:
            text = (service["metadata"].get("labels") or {}).get(LABEL_REVISION, "")
            if text.isdigit() and evidence.controlled_by(service, self.owner.uid):
                found[service["metadata"]["name"]] = int(text)
        return found

    def word(self) -> Word:
        """Whether the Gateway has taken over what stands in the live route."""
        route = self.owner.spec.serving.route
        where = f"Gateway {route.gateway.name}" if route else "the Gateway"
        if not self.observed.routable:
            why = (
                "the cluster has no HTTPRoute of gateway.networking.k8s.io/v1 that the operator may use; install the Gateway API"
            )
            return Word(False, Reason.GATEWAY_API_MISSING, why)
        if self.live is None:
            return Word(None, Reason.ROUTE_PENDING, "the HTTPRoute comes with the first revision that serves")
        generation = self.live["metadata"].get("generation") or 0
        parents = [p for p in (self.live.get("status") or {}).get("parents") or [] if self._is_parent(p.get("parentRef") or {})]
        if any(_taken(parent, generation) for parent in parents):
            return Word(True, Reason.ROUTE_ACCEPTED, f"{where} has taken the route over")
        refused = next((found for parent in parents if (found := _refusal(parent, generation))), None)
        if refused:
            return Word(False, Reason.ROUTE_NOT_ACCEPTED, f"{where} does not take the route: {refused}")
        why = f"{where} has not taken the route over yet; does it exist, and does its controller run?"
        return Word(None, Reason.ROUTE_PENDING, why, before=any(_taken(parent, 0) for parent in parents))

    def _is_parent(self, ref: Object) -> bool:
        wanted = self.owner.spec.serving.route
        if wanted is None:
            return False
        namespace = wanted.gateway.namespace or self.owner.namespace
        same = (ref.get("name"), ref.get("namespace") or self.owner.namespace) == (wanted.gateway.name, namespace)
        return same and ref.get("sectionName") == wanted.gateway.section_name

    def status(self) -> RouteStatus | None:
        """What the Gateway was last seen to have taken, and since when."""
        if not self.wanted or self.live is None:
            return None
        if not self.word().accepted:
            return self.before
        weights = [RouteWeight(revision=number, weight=weight) for number, weight in sorted(self.asked.items())]
        if self.before and self.before.weights == weights:
            return self.before
        return RouteStatus(weights=weights, since=self.now)

    def weight(self, number: int) -> int:
        """Percent of the requests that a revision gets through the Gateway, as far as is known."""
        return next((w.weight for w in self._taken() if w.revision == number), 0)

    def _taken(self) -> list[RouteWeight]:
        status = self.status()
        return status.weights if status else []

    def since(self, number: int, weight: int) -> datetime | None:
        """Since when the Gateway is known to give a revision this weight; None while it is not."""
        status = self.status()
        if status is None or not self.word().accepted or self.weight(number) != weight:
            return None
        return status.since

    def reaches(self) -> frozenset[int]:
        """Revisions that may still get requests from the Gateway: what it has taken, and what it was asked for since."""
        return frozenset({w.revision for w in self._taken()} | self.asked.keys())

    def settling(self, drain_seconds: float, keeps: frozenset[int], look_seconds: float) -> float | None:
        """Seconds until pods of other revisions than `keeps` may go, as far as the Gateway is concerned; None: now.

        While it has not taken over that they get nothing, they stay, however long that is.
        """
        status = self.status()
        if status is None:
            return None
        if not self.reaches() <= keeps:
            return look_seconds
        left = (status.since + timedelta(seconds=drain_seconds) - self.now).total_seconds()
        return left if left > 0 else None


def _condition(parent: Object, type_: str, generation: int) -> Object:
    found = [c for c in parent.get("conditions") or [] if c.get("type") == type_]
    return next((c for c in found if (c.get("observedGeneration") or 0) >= generation), {})


def _taken(parent: Object, generation: int) -> bool:
    accepted = _condition(parent, "Accepted", generation).get("status") == "True"
    return accepted and _condition(parent, "ResolvedRefs", generation).get("status") != "False"


def _refusal(parent: Object, generation: int) -> str | None:
    for type_ in ("Accepted", "ResolvedRefs"):
        condition = _condition(parent, type_, generation)
        if condition.get("status") == "False":
            return f"{condition.get('reason') or type_}: {condition.get('message') or 'it does not say why'}"[:300]
    return None
