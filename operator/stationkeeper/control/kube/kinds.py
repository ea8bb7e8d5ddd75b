"""The kinds that the operator deals with, and their paths in the API."""

from dataclasses import dataclass
from typing import Any

from stationkeeper.api.meta import API_VERSION, LABEL_MANAGED_BY, MANAGED_BY


@dataclass(frozen=True)
class Kind:
    """One kind of the API."""

    api_version: str
    kind: str
    plural: str
    selector: str = ""  # label selector of what is watched

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Path below the API server's address."""
        base = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        where = f"/namespaces/{namespace}" if namespace else ""
        tail = f"/{name}" if name else ""
        return f"{base}{where}/{self.plural}{tail}" + (f"/{subresource}" if subresource else "")


_OURS = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

WATCHED = (
    Kind(API_VERSION, "Model", "models"),
    Kind(API_VERSION, "DriftPolicy", "driftpolicies"),
    Kind(API_VERSION, "ModelRevision", "modelrevisions"),
    Kind("apps/v1", "Deployment", "deployments", _OURS),
    Kind("v1", "Service", "services", _OURS),
    Kind("batch/v1", "CronJob", "cronjobs", _OURS),
    Kind("batch/v1", "Job", "jobs", _OURS),
    Kind("v1", "Pod", "pods", _OURS),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", _OURS),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", _OURS),
)
# Kinds of others, which a cluster may not have, or which the operator may have been given no right to.
OPTIONAL = (Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", _OURS),)
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
EVENT = Kind("events.k8s.io/v1", "Event", "events")
_BY_NAME = {kind.kind: kind for kind in (*WATCHED, *OPTIONAL, LEASE, EVENT)}


def register(kind: Kind) -> None:
    """Let the operator deal with a kind that its administrator named, before the first reconcile.

    Raises:
        ValueError: when another kind has that name.
    """
    known = _BY_NAME.setdefault(kind.kind, kind)
    if (known.api_version, known.plural) != (kind.api_version, kind.plural):
        raise ValueError(f"{kind.api_version} {kind.kind} ({kind.plural}) has the name of {known.api_version} ({known.plural})")


def kind_of(obj: dict[str, Any] | str) -> Kind:
    """The kind of an object or of a kind's name."""
    return _BY_NAME[obj if isinstance(obj, str) else obj["kind"]]
