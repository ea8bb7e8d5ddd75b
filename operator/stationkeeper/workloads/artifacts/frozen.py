"""Objects of a store as they were listed once: whoever reads them later sees no newer ones."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stationkeeper.workloads.artifacts.errors import StoreDenied
from stationkeeper.workloads.artifacts.store import MAX_OBJECT_BYTES, ObjectInfo, Store


class FrozenStore:
    """A `Store` that lists these objects and no others, and writes nothing."""

    def __init__(self, store: Store, objects: Sequence[ObjectInfo]) -> None:
        self._store = store
        self._objects = list(objects)

    def get(self, key: str, *, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """See `Store.get`."""
        return self._store.get(key, max_bytes=max_bytes)

    def put(self, key: str, data: bytes) -> None:  # noqa: ARG002 - the protocol's
        """Refused."""
        raise StoreDenied(f"{self.uri(key)}: a frozen list is read, not written")

    def create(self, key: str, data: bytes) -> bool:  # noqa: ARG002 - the protocol's
        """Refused."""
        raise StoreDenied(f"{self.uri(key)}: a frozen list is read, not written")

    def delete(self, key: str) -> None:
        """Refused."""
        raise StoreDenied(f"{self.uri(key)}: a frozen list is read, not written")

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        return (item for item in self._objects if item.key.startswith(prefix) and item.key > start_after)

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        return self._store.exists(key)

    def uri(self, key: str) -> str:
        """See `Store.uri`."""
        return self._store.uri(key)

    def download(self, key: str, path: Path) -> None:
        """See `Store.download`."""
        self._store.download(key, path)
