"""What a person names on the command line: rows (Parquet, CSV, NDJSON) or a stored profile, here or in S3."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import polars as pl
from pydantic import ValidationError

from stationkeeper.api.storage import Storage
from stationkeeper.workloads.artifacts.ahead import get_each
from stationkeeper.workloads.artifacts.errors import StoreDenied, StoreError
from stationkeeper.workloads.artifacts.store import ObjectInfo, Store
from stationkeeper.workloads.checks.files import ROWS, UNREADABLE, Files, SourceError, denied, files_of, reading, unreadable
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.table import Table, frame

__all__ = ["Opened", "Server", "SourceError", "load_reference", "open_current", "open_reference"]

_REFERENCE, _PROFILE = ".json", ".profile"
_AT_ONCE: Final = 16 * 2**10  # bytes


@dataclass(frozen=True, slots=True)
class Server:
    """The S3 server of `s3://` addresses; credentials come from the environment."""

    endpoint_url: str | None = None
    region: str = "us-east-1"


class _File(NamedTuple):
    """One file, here or in a store."""

    name: str
    at: str  # a path, or a key of the store
    store: Store | None = None
    info: ObjectInfo | None = None  # of an object that was listed

    def local(self, scratch: Path) -> Path:
        """Where it is on this machine; an object of a store is fetched, so that its columns can be read one by one.

        Raises:
            SourceError: when it cannot be fetched.
        """
        if self.store is None:
            return Path(self.at)
        path = scratch / f"{len(list(scratch.iterdir())):06}-{self.name.rpartition('/')[2]}"
        with reading(self.name):
            self.store.download(self.at, path)
        return path

    def content(self) -> bytes:
        """All bytes."""
        if self.store is not None:
            return self.store.get(self.at)
        return _content(self.at)


def _content(path: str) -> bytes:
    """All bytes of a file here. A thousand small ones take half of what `open` does, which asks for more than the bytes."""
    file, parts = os.open(path, os.O_RDONLY), []
    try:
        while part := os.read(file, _AT_ONCE):
            parts.append(part)
    finally:
        os.close(file)
    return b"".join(parts)


def open_reference(address: str, server: Server, scratch: Path) -> Table | ReferenceProfile:
    """Rows of a file or of all files of a folder, or a revision's `reference.json`.

    Args:
        address: a path, or `s3://bucket/path`.
        server: of addresses in S3.
        scratch: a folder for what must be written to be read column by column; it has to outlive the table.

    Raises:
        SourceError: when it is neither.
    """
    files = _files(address, server)
    if len(files) == 1 and files[0].name.endswith(_REFERENCE):
        with reading(files[0].name):
            return ReferenceProfile.decode(files[0].content())
    rows = _table(files, (), scratch)
    if rows.lost:  # without some of its rows it would be another reference
        raise rows.lost[0]
    return rows


@dataclass(frozen=True, slots=True)
class Opened:
    """What is to be judged, and what is wrong with the files that could not be read beside it."""

    rows: Files | Profile
    lost: Sequence[SourceError] = ()

    def without(self, error: SourceError) -> "Opened":
        """The same without a file that turned out to be damaged as its rows were read.

        Raises:
            SourceError: this one, when it is about no such file, or no other is left.
        """
        if isinstance(self.rows, Profile):
            raise error
        rows = self.rows.without(error)
        return Opened(rows, rows.lost)


def open_current(address: str, server: Server, reference: Table | ReferenceProfile, scratch: Path) -> Opened:
    """Rows, or profiles in the bins of the reference: one `.profile`, or a folder of them, which are merged.

    Raises:
        SourceError: when it is neither, or nothing of it can be read.
    """
    files = _files(address, server)
    if not all(file.name.endswith(_PROFILE) for file in files):
        rows = _table(files, _texts(reference), scratch)
        return Opened(rows, rows.lost)
    if not isinstance(reference, ReferenceProfile):
        raise SourceError(f"{address} holds counts in the bins of a reference.json: give that file as the reference")
    unread: dict[int, SourceError] = {}
    total, damaged = Profile.empty(reference).total(_contents(files, unread))
    lost = [unread.get(place) or unreadable(files[place].name, error) for place, error in damaged.items()]
    if len(lost) == len(files):
        raise lost[0]
    return Opened(total, lost)


def load_reference(address: str, server: Server) -> pl.DataFrame | ReferenceProfile:
    """`open_reference`, with all rows in memory.

    Raises:
        SourceError: when it is neither rows nor a reference.
    """
    with TemporaryDirectory(prefix="stationkeeper-") as scratch:
        found = open_reference(address, server, Path(scratch))
        return found if isinstance(found, ReferenceProfile) else frame(found)


def _contents(files: Sequence[_File], unread: dict[int, SourceError]) -> Iterator[bytes]:
    """What is in the files; of a folder in S3 the next ones are on their way. Nothing is in those that end up in `unread`, by place.

    Raises:
        SourceError: when it is not a file but the store that fails.
    """
    store, listed = files[0].store, [file.info for file in files if file.info]
    each: Iterator[Callable[[], bytes]] = (file.content for file in files)
    if store is not None and len(listed) == len(files):
        each = (got.result for _, got in get_each(store, listed))
    for place, (file, content) in enumerate(zip(files, each, strict=True)):
        try:
            found = content()
        except UNREADABLE as error:
            unread[place], found = unreadable(file.name, error), b""
            if unread[place].file is None:
                raise unread[place] from error
        yield found


def _texts(reference: Table | ReferenceProfile) -> list[str]:
    """The columns that hold text: CSV does not tell `"1"` from 1."""
    if isinstance(reference, ReferenceProfile):
        return [column.name for column in reference.features if column.kind == "categorical"]
    return [name for name, dtype in reference.schema.items() if dtype == pl.String]


def _files(address: str, server: Server) -> list[_File]:
    try:
        files = _remote(address, server) if address.startswith("s3://") else _local(Path(address))
    except StoreDenied as error:
        raise SourceError(denied(error)) from error
    except (StoreError, OSError) as error:
        raise SourceError(str(error)) from error
    except ValidationError as error:
        raise SourceError(f"{address}: {error.errors()[0]['msg']}; write s3://bucket/path") from error
    if not files:
        raise SourceError(f"{address} is no file, and no folder with files in it ({', '.join(ROWS)}, {_PROFILE})")
    return files


def _listable(name: str) -> bool:
    return name.endswith((*ROWS, _PROFILE))


def _local(path: Path) -> list[_File]:
    if not path.is_dir():
        return [_File(str(path), str(path))] if path.exists() else []
    with os.scandir(path) as inside:
        found = sorted(entry.path for entry in inside if _listable(entry.name) and entry.is_file())
    return [_File(at, at) for at in found]


def _remote(address: str, server: Server) -> list[_File]:
    folder, _, name = address.rpartition("/")
    if not folder.removeprefix("s3:/").strip("/"):
        folder, name = address, ""
    from stationkeeper.workloads.artifacts.s3 import S3Store  # a tenth of a second, and 10 MB: not for files that are here

    storage = Storage.model_validate({"uri": folder, "endpointURL": server.endpoint_url, "region": server.region})
    store: Store = S3Store.open(storage)
    if name:
        return [_File(store.uri(name), name, store)]
    return [_File(store.uri(info.key), info.key, store, info) for info in store.list("") if _listable(info.key)]


def _table(files: Sequence[_File], texts: Collection[str], scratch: Path) -> Files:
    for file in files:
        if file.name.endswith(_PROFILE):
            raise SourceError(f"{file.name} holds counts only; name rows, or as the reference the reference.json of the counts")
        if not file.name.endswith(ROWS):
            raise SourceError(
                f"{file.name} has an ending that says nothing; name it {', '.join(ROWS)}, {_PROFILE} (counts) "
                f"or {_REFERENCE} (a revision's reference)"
            )
    return files_of({file.name: file.local(scratch) for file in files}, texts, scratch)
