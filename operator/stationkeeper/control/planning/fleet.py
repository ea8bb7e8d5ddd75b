"""The serving Deployments and pods of one Model, looked up by revision."""

from dataclasses import dataclass

from stationkeeper.api.meta import LABEL_REVISION
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.control.planning import evidence
from stationkeeper.control.planning.types import Object, Observed, Ref
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Owner


def serving_number(observed: Observed, owner: Owner) -> int | None:
    """Number of the revision that the label of the Model's Service names; None when there is no such Service of ours."""
    for service in observed.services:
        if service["metadata"]["name"] == names.service(owner.name) and evidence.controlled_by(service, owner.uid):
            labels = service["metadata"].get("labels") or {}
            selector = (service.get("spec") or {}).get("selector") or {}  # where an earlier version put it
            text = labels.get(LABEL_REVISION) or selector.get(LABEL_REVISION, "")
            return int(text) if text.isdigit() else None
    return None


def number(child: Object) -> int:
    """The revision that a Deployment or a Service is of, by its label."""
    text = (child["metadata"].get("labels") or {}).get(LABEL_REVISION, "0")
    return int(text) if text.isdigit() else 0


@dataclass(frozen=True)
class Fleet:
    """What serves, or is about to."""

    observed: Observed
    owner: Owner

    def deployment(self, record: ModelRevisionSpec) -> Object | None:
        """The Deployment of a revision, if it exists."""
        name = names.revision(self.owner.name, self.owner.uid, record.number, record.digest)
        return next((d for d in self.observed.deployments if d["metadata"]["name"] == name), None)

    def size(self, stable: ModelRevisionSpec | None) -> int:
        """How many pods the stable revision shall have: what the spec says, or what the autoscaler made of it."""
        serving = self.owner.spec.serving
        if serving.autoscaling is None:
            return serving.replicas
        least, most = serving.autoscaling.min_replicas, serving.autoscaling.max_replicas
        return min(max(self.live_size(stable), least), most)

    def live_size(self, record: ModelRevisionSpec | None) -> int:
        """How many pods the Deployment of a revision is asked for at this moment; 0 without one."""
        deployment = self.deployment(record) if record else None
        return int(deployment["spec"].get("replicas") or 0) if deployment else 0

    def ready(self, record: ModelRevisionSpec) -> int:
        """Pods of a revision that are ready and of today's template; 0 while the controller has not seen its newest size."""
        deployment = self.deployment(record)
        if deployment is None:
            return 0
        live = deployment.get("status") or {}
        if int(live.get("observedGeneration") or 0) < int(deployment["metadata"].get("generation") or 0):
            return 0
        ready = min(int(live.get("readyReplicas") or 0), int(live.get("updatedReplicas") or 0))
        return min(ready, self.live_size(record))

    def answering(self, record: ModelRevisionSpec) -> int:
        """Pods of a revision that are ready at this moment, whatever its size shall be."""
        return int(((self.deployment(record) or {}).get("status") or {}).get("readyReplicas") or 0)

    def pods(self, record: ModelRevisionSpec) -> list[Object]:
        """Pods of a revision that are not ending."""
        wanted = str(record.number)
        return [
            pod
            for pod in self.observed.pods
            if (pod["metadata"].get("labels") or {}).get(LABEL_REVISION) == wanted
            and not pod["metadata"].get("deletionTimestamp")
        ]

    def ending(self, record: ModelRevisionSpec) -> bool:
        """Whether a pod of a revision is being ended: until it has, its room is taken."""
        mine = [p for p in self.observed.pods if number(p) == record.number]
        return any(pod["metadata"].get("deletionTimestamp") for pod in mine)

    def blocked(self, record: ModelRevisionSpec) -> evidence.Blocked | None:
        """Why a pod of a revision cannot start, when that is not the model's fault."""
        return next((found for pod in self.pods(record) if (found := evidence.blocked(pod))), None)

    def others(self, *kept: ModelRevisionSpec | None) -> list[Object]:
        """Deployments of other revisions than these."""
        numbers = {record.number for record in kept if record}
        ours = [d for d in self.observed.deployments if evidence.controlled_by(d, self.owner.uid)]
        return [d for d in ours if number(d) not in numbers and not d["metadata"].get("deletionTimestamp")]

    def services(self, *kept: ModelRevisionSpec) -> list[Ref]:
        """Services of single revisions, but of these."""
        numbers, shared = {record.number for record in kept}, names.service(self.owner.name)
        ours = [s for s in self.observed.services if evidence.controlled_by(s, self.owner.uid)]
        alone = [s for s in ours if s["metadata"]["name"] != shared and not s["metadata"].get("deletionTimestamp")]
        return [Ref.to(service) for service in alone if number(service) not in numbers]
