"""A look at what another pipeline has published: its digest. What follows from it, the operator decides."""

import logging
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from stationkeeper.api.base import Digest, Tolerant, canonical_json, sha256
from stationkeeper.api.jobs import LookConfig
from stationkeeper.api.summary import SourceSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import NotFound
from stationkeeper.workloads.artifacts.owner import claim
from stationkeeper.workloads.artifacts.store import ObjectInfo, Store
from stationkeeper.workloads.imports.place import Open, Place, Unusable

log = logging.getLogger(__name__)


class SourceLook(Tolerant):
    """What a file was found to be, so that it is read once however often it is looked at."""

    schema_version: Literal[1] = 1
    uri: str
    size: int
    etag: str
    digest: Digest


def look(config: LookConfig, store: Store, opened: Open, scratch: Path, now: datetime) -> SourceSummary:
    """What lies at the source now.

    Args:
        config: names the source.
        store: of the Model.
        opened: gives the store of a prefix.
        scratch: a directory that can be written.
        now: the time of the look.

    Raises:
        StoreError, ArtifactError: when a store fails, or the prefix is another Model's.
    """
    claim(store, config.model)
    place = Place.of(config.source, opened)
    try:
        seen = place.look()
        digest = _known(store, place, seen) or _read(store, place, seen, scratch)
    except Unusable as found:
        log.warning("%s", found)
        return SourceSummary(uri=place.uri, seen_at=now, message=str(found)[:512])
    log.info("%s is %s, %d bytes", place.uri, digest, seen.size)
    return SourceSummary(uri=place.uri, digest=digest, size=seen.size, seen_at=now)


def _key(place: Place, seen: ObjectInfo) -> str:
    return keys.source(sha256(canonical_json([place.uri, seen.size, seen.etag])))


def _known(store: Store, place: Place, seen: ObjectInfo) -> str | None:
    try:
        return SourceLook.model_validate_json(store.get(_key(place, seen), max_bytes=65536)).digest
    except (NotFound, ValidationError):
        return None  # what cannot be read is read anew


def _read(store: Store, place: Place, seen: ObjectInfo, scratch: Path) -> str:
    path = scratch / "source"
    digest = place.fetch(seen, path)
    path.unlink()
    if digest is None or place.look() != seen:
        raise Unusable(f"{place.uri} changed while it was read; it is looked at again")
    found = SourceLook(uri=place.uri, size=seen.size, etag=seen.etag, digest=digest)
    store.create(_key(place, seen), canonical_json(found.wire()))
    return digest
