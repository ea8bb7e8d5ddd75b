"""What keeps the stable revision's pods in number: an autoscaler, and a budget for what may be taken away at once."""

from stationkeeper.api.meta import COMPONENT_SERVING, LABEL_COMPONENT, LABEL_MODEL, LABEL_REVISION
from stationkeeper.api.serving import Autoscaling
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Object, Owner, labels, metadata


def autoscaler(owner: Owner, deployment: str, wanted: Autoscaling) -> Object:
    """The HorizontalPodAutoscaler of the stable revision's Deployment; promotion turns it to the next one."""
    utilization = {"type": "Utilization", "averageUtilization": wanted.target_cpu_utilization}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(owner, names.serving(owner.name, owner.uid), labels(owner, COMPONENT_SERVING)),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": wanted.min_replicas,
            "maxReplicas": wanted.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
        },
    }


def disruption_budget(owner: Owner, revision: int) -> Object:
    """One pod of the stable revision may be evicted at a time; a broken one always, for it answers nobody."""
    selector = {LABEL_MODEL: owner.name, LABEL_COMPONENT: COMPONENT_SERVING, LABEL_REVISION: str(revision)}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(owner, names.serving(owner.name, owner.uid), labels(owner, COMPONENT_SERVING)),
        "spec": {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": {"matchLabels": selector}},
    }
