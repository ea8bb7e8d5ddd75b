"""One prefix, one Model: `owner.json` says whose artifacts these are."""

from pydantic import ValidationError

from stationkeeper.api.base import canonical_json
from stationkeeper.api.jobs import ModelIdentity
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import OwnerConflict
from stationkeeper.workloads.artifacts.store import Store


def claim(store: Store, model: ModelIdentity) -> None:
    """Make the prefix this Model's own, or confirm that it is.

    Raises:
        OwnerConflict: when another Model has it, also one of the same name with another UID.
    """
    if store.create(keys.OWNER, canonical_json(model.wire())):
        return
    try:
        owner = ModelIdentity.model_validate_json(store.get(keys.OWNER, max_bytes=65536))
    except ValidationError:
        raise OwnerConflict(
            f"{store.uri(keys.OWNER)} is not ours; give the Model a prefix of its own in spec.storage.uri"
        ) from None
    if owner.uid != model.uid:
        raise OwnerConflict(_conflict(store, owner, model))


def _conflict(store: Store, owner: ModelIdentity, model: ModelIdentity) -> str:
    name = f"{owner.namespace}/{owner.name}"
    if (owner.namespace, owner.name) == (model.namespace, model.name):
        return (
            f"{store.uri('')} belongs to an earlier Model {name} (uid {owner.uid}), deleted or of another cluster; "
            f"use another spec.storage.uri, or remove {keys.OWNER} there to take over what it left"
        )
    return f"{store.uri('')} belongs to the Model {name} (uid {owner.uid}); use another spec.storage.uri"
