"""The Service of a Model, whose label names the revision that serves: it is the one place where that is decided.

And Services of single revisions, where a route or a shadow must reach just their pods.
"""

from stationkeeper.api.jobs import RevisionIdentity
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
    return _service(owner, names.service(owner.name), revision, selector)


def revision_service(owner: Owner, revision: RevisionIdentity) -> Object:
    """The Service of one revision's pods, whoever serves."""
    selector = {LABEL_MODEL: owner.name, LABEL_COMPONENT: COMPONENT_SERVING, LABEL_REVISION: str(revision.number)}
    name = names.revision(owner.name, owner.uid, revision.number, revision.digest)
    return _service(owner, name, revision.number, selector)


def revision_url(owner: Owner, revision: RevisionIdentity) -> str:
    """Where requests to just this revision go inside the cluster."""
    name = names.revision(owner.name, owner.uid, revision.number, revision.digest)
    return f"http://{name}.{owner.namespace}.svc:{PORT_SERVICE}/v2/models/{owner.name}/infer"


def _service(owner: Owner, name: str, revision: int, selector: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, name, labels(owner, COMPONENT_SERVING, **{LABEL_REVISION: str(revision)})),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": "http", "port": PORT_SERVICE, "targetPort": "http", "protocol": "TCP"}],
        },
    }
