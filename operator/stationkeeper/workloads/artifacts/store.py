"""Object storage: the protocol that everything else is written against."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

MAX_OBJECT_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    key: str  # relative to the prefix of the store
    size: int  # bytes
    etag: str  # without quotes; an opaque token that changes with the content
    modified: datetime  # the server's clock, UTC


class Store(Protocol):
    """Objects under one prefix. Keys are relative to it; every method may raise `errors.StoreError`."""

    def get(self, key: str, *, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """The bytes of an object.

        Raises:
            NotFound: when there is none.
            MalformedArtifact: when it is larger than `max_bytes`.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing what is there."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless the key exists (`If-None-Match: *`); False when it existed already."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Objects whose keys start with `prefix`, in the order of their keys, after `start_after` when that is given."""
        ...

    def exists(self, key: str) -> bool:
        """Whether an object has this key."""
        ...

    def uri(self, key: str) -> str:
        """The full address of a key, for messages and records."""
        ...

    def download(self, key: str, path: Path) -> None:
        """Write an object to a file without holding it in memory; the file appears whole or not at all."""
        ...
