"""The frozen list of training objects: retried pods train on the same rows or not at all."""

import logging

from stationkeeper.api.base import Tolerant, canonical_json, sha256
from stationkeeper.api.training import Data
from stationkeeper.workloads.artifacts.errors import BucketMissing
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.ending import invalid

log = logging.getLogger(__name__)

MAX_OBJECTS = 100_000


class InputObject(Tolerant):
    """One training object as it was when it was frozen."""

    key: str
    size: int
    etag: str


class Inputs(Tolerant):
    """The file `inputs.json`."""

    uri: str
    objects: list[InputObject]

    @property
    def digest(self) -> str:
        """Digest of what was frozen; two attempts of the same digest read the same bytes."""
        return sha256(canonical_json(self.wire()))


def freeze(artifacts: Store, source: Store, key: str, data: Data, own_prefix: str) -> Inputs:
    """List the objects of `source` and freeze them under `key`, or reuse what an earlier pod froze.

    Raises:
        AttemptEnded: InvalidData when there is none, or when one that was frozen has changed or gone.
    """
    found = Inputs(uri=data.uri, objects=_list(source, data, own_prefix))
    if not found.objects and not artifacts.exists(key):
        raise invalid(
            "NoData", f"no object under {data.uri} ends in .{data.format}; write some, or correct data.uri or data.format"
        )
    if artifacts.create(key, canonical_json(found.wire())):
        return found
    frozen = Inputs.model_validate_json(artifacts.get(key))
    _unchanged(frozen, found)
    log.info("reusing the frozen list of %d objects", len(frozen.objects))
    return frozen


def _list(source: Store, data: Data, own_prefix: str) -> list[InputObject]:
    suffix = f".{data.format}"
    objects: list[InputObject] = []
    try:
        for item in source.list(""):
            # Our own captures are Parquet too: data may lie above the prefix of the Model, never in it.
            if item.key.endswith(suffix) and not source.uri(item.key).startswith(own_prefix):
                objects.append(InputObject(key=item.key, size=item.size, etag=item.etag))
            if len(objects) > MAX_OBJECTS:
                raise invalid("TooManyObjects", f"more than {MAX_OBJECTS} objects under {data.uri}; compact them")
    except BucketMissing as error:
        raise invalid("NoData", f"data.uri {data.uri}: {error}") from error
    return objects


def _unchanged(frozen: Inputs, found: Inputs) -> None:
    now = {item.key: item for item in found.objects}
    for item in frozen.objects:
        if item.key not in now:
            raise invalid("InputChanged", f"{frozen.uri}: {item.key} has gone since this attempt froze it; restore it or retrain")
        if now[item.key] != item:
            raise invalid("InputChanged", f"{frozen.uri}: {item.key} has changed since this attempt froze it; retrain")
