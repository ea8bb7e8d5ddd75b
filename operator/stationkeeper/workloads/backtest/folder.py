"""A store in a folder of this machine: what a replay trains, serves and captures stays here and ends with it."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.store import MAX_OBJECT_BYTES, ObjectInfo


class FolderStore:
    """A `Store` for one process: keys are paths below a folder."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._name = name  # as in s3://...: what addresses begin with

    def get(self, key: str, *, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """See `Store.get`."""
        path = self._existing(key)
        if path.stat().st_size > max_bytes:
            raise MalformedArtifact(f"{self.uri(key)} is larger than the {max_bytes} bytes that it may have")
        return path.read_bytes()

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def create(self, key: str, data: bytes) -> bool:
        """See `Store.create`."""
        if self.exists(key):
            return False
        self.put(key, data)
        return True

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        (self._root / key).unlink(missing_ok=True)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        top = self._root / prefix.rpartition("/")[0]
        found = (Path(folder, name).relative_to(self._root).as_posix() for folder, _, names in os.walk(top) for name in names)
        for key in sorted(key for key in found if key.startswith(prefix) and key > start_after):
            known = (self._root / key).stat()
            etag = hashlib.sha256(f"{known.st_size} {known.st_mtime_ns}".encode()).hexdigest()[:32]
            yield ObjectInfo(key, known.st_size, etag, datetime.fromtimestamp(known.st_mtime, UTC))

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        return (self._root / key).is_file()

    def uri(self, key: str) -> str:
        """See `Store.uri`."""
        return f"{self._name}/{key}"

    def download(self, key: str, path: Path) -> None:
        """See `Store.download`."""
        shutil.copyfile(self._existing(key), path)

    def path(self, key: str) -> Path:
        """Where an object is, or may be written by others."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def below(self, prefix: str) -> "FolderStore":
        """The store of what is below a prefix that ends in a slash."""
        return FolderStore(self._root / prefix, self.uri(prefix.rstrip("/")))

    def _existing(self, key: str) -> Path:
        if not self.exists(key):
            raise NotFound(f"cannot read {self.uri(key)}: there is no such object")
        return self._root / key
