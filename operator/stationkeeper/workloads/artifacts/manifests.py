"""Publishing and loading manifests. The digest of its canonical JSON is a revision's identity."""

from pydantic import ValidationError

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.manifest import Manifest
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import DigestMismatch, MalformedArtifact
from stationkeeper.workloads.artifacts.store import Store

_MAX_BYTES = 4 * 2**20


def publish_manifest(store: Store, manifest: Manifest) -> str:
    """Write a manifest once; its files must be there already. Returns its digest."""
    data = canonical_json(manifest.wire())
    digest = sha256(data)
    store.create(keys.manifest(digest), data)
    return digest


def load_manifest(store: Store, digest: str) -> Manifest:
    """Fetch a manifest and hash it again.

    Raises:
        DigestMismatch: when the bytes are not those of the digest.
        MalformedArtifact: when they are not a manifest that this version can read.
    """
    key = keys.manifest(digest)
    data = store.get(key, max_bytes=_MAX_BYTES)
    if sha256(data) != digest:
        raise DigestMismatch(f"{store.uri(key)} does not hash to its name; restore the object or retrain")
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise MalformedArtifact(f"{store.uri(key)} is not a manifest that this version can read: {error}") from error
