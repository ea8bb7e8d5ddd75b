"""The Service of a Model. Its label names the revision that serves: it is the one place where that is decided."""

from stationkeeper.api.meta import COMPONENT_SERVING, LABEL_COMPONENT, LABEL_MODEL, LABEL_REVISION, PORT_SERVICE
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Object, Owner, labels, metadata


def model_service(owner: Owner, revision: int, *, shared: bool = False) -> Object:
    """The Service that sends requests to the pods of `revision`.

    `shared`: to those of a canary too. Only the two have pods then, so the selector names neither, and the label says
    which one is stable.
    """
    selector = {LABEL_MODEL: owner.name, LABEL_COMPONENT: COMPONENT_SERVING}
    if not shared:
        selector[LABEL_REVISION] = str(revision)
    stable = {LABEL_REVISION: str(revision)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, names.service(owner.name), labels(owner, COMPONENT_SERVING, **stable)),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": "http", "port": PORT_SERVICE, "targetPort": "http", "protocol": "TCP"}],
        },
    }
