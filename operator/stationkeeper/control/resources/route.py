"""The HTTPRoute of a Model: requests that come through a Gateway, by exact weights to the Services of single revisions."""

from collections.abc import Sequence

from stationkeeper.api.jobs import RevisionIdentity
from stationkeeper.api.meta import COMPONENT_SERVING, PORT_SERVICE
from stationkeeper.api.serving import Route
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Object, Owner, labels, metadata

API_VERSION = "gateway.networking.k8s.io/v1"


def http_route(owner: Owner, wanted: Route, shares: Sequence[tuple[RevisionIdentity, int]]) -> Object:
    """The complete HTTPRoute; `shares` are percentages that add up to 100, none of them 0."""
    path = {"path": {"type": "PathPrefix", "value": f"/v2/models/{owner.name}"}}
    rule = {"matches": [path], "backendRefs": [_backend(owner, revision, weight) for revision, weight in shares]}
    hostnames = {"hostnames": list(wanted.hostnames)} if wanted.hostnames else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "HTTPRoute",
        "metadata": metadata(owner, names.route(owner.name), labels(owner, COMPONENT_SERVING)),
        "spec": {"parentRefs": [wanted.gateway.wire()], **hostnames, "rules": [rule]},
    }


def _backend(owner: Owner, revision: RevisionIdentity, weight: int) -> Object:
    name = names.revision(owner.name, owner.uid, revision.number, revision.digest)
    return {"name": name, "port": PORT_SERVICE, "weight": weight}
