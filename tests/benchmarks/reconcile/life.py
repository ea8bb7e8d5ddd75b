"""The life of the benchmark's Models: what the cluster does in each phase, what must be there then, and what a client writes for it.

The objects come from planning itself, played once in the little world of the tests, so both sides write the very same.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stationkeeper.control.kube.diff import stamped
from tests.support import world

Object = dict[str, Any]
NAMESPACE, NAME, UID = "the-namespace", "the-model", "the-uid-of-the-model"  # replaced in the texts below
REPLICAS, MORE_REPLICAS = 1, 2
SELECTED = {"team": "ops"}


def model() -> Object:
    """The Model that all are made from."""
    made = world.model(NAME)
    made["metadata"] |= {"namespace": NAMESPACE, "uid": UID, "labels": SELECTED}
    made["spec"]["serving"] = {"replicas": REPLICAS}
    return made


def policy(namespace: str) -> Object:
    """One policy that watches them all."""
    made = world.policy(modelSelector={"matchLabels": SELECTED})
    del made["spec"]["modelRef"]
    made["metadata"]["namespace"] = namespace
    return made


@dataclass(frozen=True)
class Phase:
    """One phase of the measurement."""

    name: str
    what: str
    there: Callable[[Mapping[str, Object]], bool]  # by the Model's objects of each kind: whether all is written


def _status(objects: Mapping[str, Object]) -> Object:
    return objects.get("Model", {}).get("status") or {}


def _edited(objects: Mapping[str, Object]) -> bool:
    model = objects["Model"]
    scaled = objects["Deployment"]["spec"]["replicas"] == MORE_REPLICAS
    return scaled and bool(_status(objects)["observedGeneration"] == model["metadata"]["generation"] > 1)


PHASES = (
    Phase("create", "new Models: Job, status", lambda o: "Job" in o and "episode" in _status(o)),
    Phase(
        "publish",
        "trained: ModelRevision, Deployment, status",
        lambda o: {"ModelRevision", "Deployment"} <= o.keys() and "candidate" in _status(o),
    ),
    Phase(
        "serve", "pods ready: Service, CronJob, status", lambda o: {"Service", "CronJob"} <= o.keys() and "serving" in _status(o)
    ),
    Phase("edit", "edited: Deployment, status", _edited),
)


class _Scribe(world.World):
    """A world that writes down what changes: each child once a phase, and the status as it ends up."""

    def __init__(self) -> None:
        super().__init__(model(), (policy(NAMESPACE),))
        self._written: dict[tuple[str, str], Object] = {}
        self._phase: dict[tuple[str, str], Object] = {}

    def _apply(self, obj: Object) -> None:
        key = (obj["kind"], obj["metadata"]["name"])
        if self._written.get(key) != stamped(obj):
            self._written[key] = self._phase[key] = stamped(obj)
        super()._apply(obj)

    def _status(self, status: Object) -> None:
        identity = {"name": NAME, "namespace": NAMESPACE, "uid": UID}
        self._phase[("Model", NAME)] = {
            "apiVersion": self.model["apiVersion"],
            "kind": "Model",
            "metadata": identity,
            "status": status,
        }
        super()._status(status)

    def phase(self) -> list[str]:
        """What was written since the last call, as JSON texts."""
        self.settle()
        texts = [json.dumps(obj) for obj in self._phase.values()]
        self._phase = {}
        return texts


def writes() -> dict[str, list[str]]:
    """For each phase the objects that it takes, as JSON texts for one Model; a Model's own is its status."""
    scribe = _Scribe()
    found = {"create": scribe.phase()}
    scribe.advance(seconds=60)
    scribe.publish("first")
    found["publish"] = scribe.phase()
    scribe.advance(seconds=10)
    scribe.ready(1)
    found["serve"] = scribe.phase()
    scribe.advance(seconds=60)
    scribe.phase()
    scribe.model["spec"] = copy.deepcopy(scribe.model["spec"])
    scribe.model["spec"]["serving"]["replicas"] = MORE_REPLICAS
    scribe.edit("more replicas")
    found["edit"] = scribe.phase()
    return found
