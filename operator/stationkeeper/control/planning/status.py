"""The status that a plan leaves, and the conditions in it. Pure."""

from collections.abc import Sequence

from stationkeeper.api.conditions import Condition
from stationkeeper.api.meta import COMPONENT_SERVING, LABEL_COMPONENT, LABEL_MODEL, LABEL_REVISION, PORT_SERVICE
from stationkeeper.api.status import ModelStatus
from stationkeeper.control.planning import causes, conditions
from stationkeeper.control.planning.decisions import Decided
from stationkeeper.control.planning.given import Given
from stationkeeper.control.planning.notices import outbox
from stationkeeper.control.planning.parts import Parts
from stationkeeper.control.planning.sweeps import Sweeping
from stationkeeper.control.planning.types import Event
from stationkeeper.control.resources.common import Owner


def conditions_after(given: Given, parts: Parts) -> list[Condition]:
    """All conditions, from what was found."""
    facts = conditions.Facts(
        rollout=parts.rollout,
        training=parts.training,
        data=parts.found.data,
        drift=parts.found.shown,
        skew=parts.found.skew,
        watched=bool(given.policies),
        imported=given.spec.source is not None,
        training_blocked=parts.blocked,
    )
    return conditions.settle(conditions.of(facts), given.status.conditions, given.generation, given.now)


def status_after(
    given: Given, parts: Parts, settled: list[Condition], decided: Decided, swept: Sweeping, events: Sequence[Event]
) -> ModelStatus:
    """The whole status; what it does not name is forgotten."""
    before, rollout, training = given.status, parts.rollout, parts.training
    serving = rollout.serving
    return ModelStatus(
        observed_generation=given.generation,
        conditions=settled,
        url=_url(given.owner) if serving else None,
        serving=serving,
        retired=parts.retired,
        candidate=rollout.candidate,
        route=rollout.route,
        replicas=rollout.replicas,
        ready_replicas=rollout.ready_replicas,
        selector=_selector(given.owner, serving.number) if serving else None,
        latest_revision=_latest(given, parts),
        source=training.source,
        watched=parts.watching.status,
        episode=training.episode,
        waiting=training.waiting,
        last_training=training.last,
        trainings=list(training.starts),
        checks=list(parts.checks),
        scheduled_at=training.scheduled_at,
        grown_at=training.grown_at,
        grows_at=causes.grows_at(given.spec, parts.serving, given.now),
        handled_retrain=training.handled_retrain,
        quarantine=list(rollout.quarantine),
        decisions=list(decided.kept),
        sweep=swept.status,
        restore=before.restore,
        notices=outbox(before.notices, given.observed.delivered, events, bool(given.spec.notify), given.now),
    )


def _latest(given: Given, parts: Parts) -> int:
    """The highest number that was ever given to a revision, of what was refused too."""
    last = parts.training.last
    used = last.revision if last and last.revision else 0
    return max([given.status.latest_revision, used, *(record.number for record in (*given.records, *given.rejected))])


def _selector(owner: Owner, number: int) -> str:
    """Of the pods that `kubectl scale` and an autoscaler count."""
    return f"{LABEL_MODEL}={owner.name},{LABEL_COMPONENT}={COMPONENT_SERVING},{LABEL_REVISION}={number}"


def _url(owner: Owner) -> str:
    port = "" if PORT_SERVICE == 80 else f":{PORT_SERVICE}"
    address, theirs = f"http://{owner.name}.{owner.namespace}.svc{port}", owner.spec.serving.container
    return address if theirs and theirs.protocol == "HTTP" else f"{address}/v2/models/{owner.name}"
