"""The published file: where it lies, what is there now, and its bytes with their digest."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stationkeeper.api.source import Source
from stationkeeper.workloads.artifacts.store import ObjectInfo, Store

MAX_BYTES: Final = 2**30
_CHUNK: Final = 1 << 20

Open = Callable[[str], Store]  # of a prefix


class Unusable(Exception):  # noqa: N818 - says what was found
    """There is no file that could be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """One file of one store."""

    store: Store
    key: str
    uri: str

    @classmethod
    def of(cls, source: Source, opened: Open) -> "Place":
        """Where a source says it is."""
        folder, _, key = source.uri.rpartition("/")
        return cls(opened(folder), key, source.uri)

    def look(self) -> ObjectInfo:
        """What is there now.

        Raises:
            Unusable: when nothing is, or too much.
            StoreError: when the store fails.
        """
        found = next((item for item in self.store.list(self.key) if item.key == self.key), None)
        if found is None:
            raise Unusable(f"there is no file {self.uri}; publish one, or correct spec.source.uri")
        if not 0 < found.size <= MAX_BYTES:
            raise Unusable(f"{self.uri} has {found.size} bytes; a model has at least one, and at most {MAX_BYTES}")
        return found

    def fetch(self, seen: ObjectInfo, path: Path) -> str | None:
        """Write the file to `path` and return its digest; None when it is not of the size that was seen any more.

        Raises:
            StoreError: when the store fails.
        """
        self.store.download(self.key, path)
        return digest_of(path) if path.stat().st_size == seen.size else None


def digest_of(path: Path) -> str:
    """The digest of a file, read in parts."""
    value = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            value.update(part)
    return f"sha256:{value.hexdigest()}"
