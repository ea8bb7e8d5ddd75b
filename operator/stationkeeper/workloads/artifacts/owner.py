"""One prefix, one Model: `owner.json` says whose artifacts these are."""

import json

from pydantic import ValidationError

from stationkeeper.api.base import canonical_json
from stationkeeper.api.jobs import ModelIdentity
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import NotFound, OwnerConflict
from stationkeeper.workloads.artifacts.store import Store


def adopt(store: Store, model: ModelIdentity) -> str:
    """Make the prefix this Model's own, whoever had it. Returns the UID of the first that had it: its lineage.

    Raises:
        OwnerConflict: when what is there says nothing of an owner.
    """
    try:
        found = json.loads(store.get(keys.OWNER, max_bytes=65536))
        lineage = str(found.get("lineage") or found["uid"])
    except NotFound:
        lineage = model.uid
    except (ValueError, KeyError, AttributeError):
        raise OwnerConflict(f"{store.uri(keys.OWNER)} is not ours; give the Model a prefix of its own") from None
    store.put(keys.OWNER, canonical_json(model.wire() | {"lineage": lineage}))
    return lineage


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
            f"set spec.storage.adopt to take over what it left, or use another spec.storage.uri"
        )
    return f"{store.uri('')} belongs to the Model {name} (uid {owner.uid}); use another spec.storage.uri"
