"""A store in memory that can be told to fail, die, lie or be slow."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.store import MAX_OBJECT_BYTES, ObjectInfo

Hook = Callable[[str, str], None]  # (operation, key); raises to fail, may change `objects` to lie


class MemoryStore:
    """Implements `Store`.

    `before` and `after` are called around each operation: an error raised in `before` means that nothing happened, one
    raised in `after` that it happened and the answer was lost. `log` lists every operation.
    """

    def __init__(self, objects: dict[str, bytes] | None = None, name: str = "s3://test/model") -> None:
        self.objects: dict[str, bytes] = dict(objects or {})
        self.name = name
        self.log: list[tuple[str, str]] = []
        self.modified: dict[str, datetime] = {}  # by the server's clock; 2013 where nothing is said
        self.before: Hook = lambda _operation, _key: None
        self.after: Hook = lambda _operation, _key: None

    def get(self, key: str, *, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        self._enter("get", key)
        if key not in self.objects:
            raise NotFound(f"cannot read {self.uri(key)}: there is no such object")
        data = self.objects[key]
        if len(data) > max_bytes:
            raise MalformedArtifact(f"{self.uri(key)} is larger than the {max_bytes} bytes that it may have")
        self.after("get", key)
        return data

    def put(self, key: str, data: bytes) -> None:
        self._enter("put", key)
        self.objects[key] = bytes(data)
        self.after("put", key)

    def create(self, key: str, data: bytes) -> bool:
        self._enter("create", key)
        created = key not in self.objects
        self.objects.setdefault(key, bytes(data))
        self.after("create", key)
        return created

    def delete(self, key: str) -> None:
        self._enter("delete", key)
        self.objects.pop(key, None)
        self.modified.pop(key, None)
        self.after("delete", key)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        self._enter("list", prefix)
        for key in sorted(self.objects):
            if key.startswith(prefix) and key > start_after:
                data = self.objects[key]
                etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
                yield ObjectInfo(key, len(data), etag, self.modified.get(key, datetime(2013, 1, 1, tzinfo=UTC)))
        self.after("list", prefix)

    def exists(self, key: str) -> bool:
        self._enter("exists", key)
        return key in self.objects

    def uri(self, key: str) -> str:
        return f"{self.name}/{key}"

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(self.get(key))

    def _enter(self, operation: str, key: str) -> None:
        self.log.append((operation, key))
        self.before(operation, key)
