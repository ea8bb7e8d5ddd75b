"""Files stored under the SHA-256 of their bytes."""

from stationkeeper.api.base import sha256
from stationkeeper.api.manifest import FileRef
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import DigestMismatch
from stationkeeper.workloads.artifacts.store import Store


def put_blob(store: Store, data: bytes) -> FileRef:
    """Store bytes under their digest; storing the same bytes again is no error and no second object."""
    ref = FileRef(digest=sha256(data), size=len(data))
    store.create(keys.blob(ref.digest), data)
    return ref


def get_blob(store: Store, ref: FileRef) -> bytes:
    """Fetch bytes and hash them again.

    Raises:
        DigestMismatch: when they are not the bytes that the reference names.
    """
    key = keys.blob(ref.digest)
    # One byte more than promised is enough to see that the object is not the one.
    data = store.get(key, max_bytes=ref.size + 1)
    if sha256(data) != ref.digest:
        raise DigestMismatch(f"{store.uri(key)} does not hash to its name; restore the object or retrain")
    return data
