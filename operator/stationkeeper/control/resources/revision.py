"""The `ModelRevision` of a training that made a model, published or refused."""

from stationkeeper.api.meta import API_VERSION, LABEL_REVISION
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Object, Owner, labels, metadata


def model_revision(owner: Owner, spec: ModelRevisionSpec) -> Object:
    """The complete record."""
    name = names.revision(owner.name, owner.uid, spec.number, spec.digest)
    child_labels = labels(owner, **{LABEL_REVISION: str(spec.number)})
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelRevision",
        "metadata": metadata(owner, name, child_labels),
        "spec": spec.wire(),
    }
