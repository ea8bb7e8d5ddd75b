"""The frozen list of training objects: retried pods train on the same rows or not at all."""

import logging
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from stationkeeper.api.base import Tolerant, canonical_json, sha256
from stationkeeper.api.data import Data, DataFormat, DataSource
from stationkeeper.workloads.artifacts.errors import BucketMissing
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.reading import InputFile

log = logging.getLogger(__name__)

MAX_OBJECTS = 100_000

Opened = Callable[[str], Store]  # the store at an address


class InputObject(Tolerant):
    """One training object as it was when it was frozen."""

    key: str
    size: int
    etag: str
    uri: str | None = None  # of the further source that it belongs to


class Inputs(Tolerant):
    """The file `inputs.json`."""

    uri: str
    objects: list[InputObject]

    @property
    def digest(self) -> str:
        """Digest of what was frozen; two attempts of the same digest read the same bytes."""
        return sha256(canonical_json(self.wire()))


def freeze(artifacts: Store, opened: Opened, key: str, data: Data, own_prefix: str) -> Inputs:
    """List the objects of all sources and freeze them under `key`, or reuse what an earlier pod froze.

    Raises:
        AttemptEnded: InvalidData when a source has none, or when one that was frozen has changed or gone.
    """
    found, seen, lacking = Inputs(uri=data.uri, objects=[]), set[str](), list[DataSource]()
    for source in [DataSource(uri=data.uri, format=data.format), *data.sources]:
        store = opened(source.uri)
        objects = _list(store, source, own_prefix)
        lacking += [] if objects else [source]
        # Prefixes may lie in one another: an object is read once.
        new = [item for item in objects if store.uri(item.key) not in seen]
        seen |= {store.uri(item.key) for item in new}
        further = None if source.uri == data.uri else source.uri
        found.objects.extend(item.model_copy(update={"uri": further}) for item in new)
    if len(found.objects) > MAX_OBJECTS:
        raise invalid("TooManyObjects", f"more than {MAX_OBJECTS} objects under all sources; compact them")
    if lacking and not artifacts.exists(key):
        raise _nothing(lacking[0], data)
    if artifacts.create(key, canonical_json(found.wire())):
        return found
    frozen = Inputs.model_validate_json(artifacts.get(key))
    for uri in dict.fromkeys(item.uri for item in frozen.objects):
        unchanged(uri or frozen.uri, *([item for item in inputs.objects if item.uri == uri] for inputs in (frozen, found)))
    log.info("reusing the frozen list of %d objects", len(frozen.objects))
    return frozen


def _nothing(source: DataSource, data: Data) -> Exception:
    field = "data.uri or data.format" if source.uri == data.uri else "data.sources"
    return invalid("NoData", f"no object under {source.uri} ends in .{source.format}; write some, or correct {field}")


def _list(store: Store, source: DataSource, own_prefix: str) -> list[InputObject]:
    objects: list[InputObject] = []
    try:
        for item in store.list(""):
            # Our own captures are Parquet too: data may lie above the prefix of the Model, never in it.
            if item.key.endswith(f".{source.format}") and not store.uri(item.key).startswith(own_prefix):
                objects.append(InputObject(key=item.key, size=item.size, etag=item.etag))
            if len(objects) > MAX_OBJECTS:
                raise invalid("TooManyObjects", f"more than {MAX_OBJECTS} objects under {source.uri}; compact them")
    except BucketMissing as error:
        raise invalid("NoData", f"the data at {source.uri}: {error}") from error
    return objects


def unchanged(uri: str, frozen: Sequence[InputObject], found: Collection[InputObject]) -> None:
    """Make sure that frozen objects are what they were.

    Raises:
        AttemptEnded: InvalidData with InputChanged.
    """
    now = {item.key: item for item in found}
    for item in frozen:
        if item.key not in now:
            raise invalid("InputChanged", f"{uri}: {item.key} has gone since this attempt froze it; restore it or retrain")
        if now[item.key] != item:
            raise invalid("InputChanged", f"{uri}: {item.key} has changed since this attempt froze it; retrain")


def fetch(opened: Opened, inputs: Inputs, folder: Path) -> list[InputFile]:
    """Download the frozen objects, in their order.

    Raises:
        AttemptEnded: InvalidData when one has changed since.
    """
    stores = {uri: opened(uri) for uri in dict.fromkeys(item.uri or inputs.uri for item in inputs.objects)}
    files = []
    for number, item in enumerate(inputs.objects):
        place, uri = folder / str(number), item.uri or inputs.uri
        place.mkdir(parents=True, exist_ok=True)
        # The name is for messages; it comes from outside, so it is made harmless first.
        path = place / re.sub(r"[^A-Za-z0-9._=-]", "_", item.key)[-100:]
        stores[uri].download(item.key, path)
        if path.stat().st_size != item.size:
            raise invalid(
                "InputChanged", f"{stores[uri].uri(item.key)} changed while it was read; retrain when writing has ended"
            )
        files.append(InputFile(path, _format(item.key), uri, item.key))
    log.info("fetched %d objects, %.1f MB", len(files), sum(item.size for item in inputs.objects) / 1e6)
    return files


def _format(key: str) -> DataFormat:
    """What an object is, by the suffix that it was listed for."""
    return "csv" if key.endswith(".csv") else "ndjson" if key.endswith(".ndjson") else "parquet"
