"""What a person names on the command line: rows (Parquet, CSV, NDJSON) or a stored profile, here or in S3."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError
from pydantic import ValidationError

from stationkeeper.api.meta import ENV_ACCESS_KEY, ENV_SECRET_KEY
from stationkeeper.api.storage import Storage
from stationkeeper.workloads.artifacts.errors import ArtifactError, StoreDenied, StoreError
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.training.reading import NULLS

MAX_BYTES: Final = 8 * 2**30  # of one object
_TYPING_ROWS: Final = 10_000
_REFERENCE, _PROFILE = ".json", ".profile"
_PARQUET, _CSV, _NDJSON = (".parquet", ".pq"), (".csv", ".csv.gz"), (".ndjson", ".jsonl")
_ROWS: Final = (*_PARQUET, *_CSV, *_NDJSON)


class SourceError(Exception):
    """What was named cannot be read; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """The S3 server of `s3://` addresses; credentials come from the environment."""

    endpoint_url: str | None = None
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class _File:
    """One file, here or in a store."""

    name: str
    at: Path | str  # a path, or a key of the store
    store: Store | None = None

    def open(self) -> Path | io.BytesIO:
        """What Polars reads."""
        if self.store is not None:
            return io.BytesIO(self.store.get(str(self.at), max_bytes=MAX_BYTES))
        return Path(self.at)

    def content(self) -> bytes:
        """All bytes."""
        source = self.open()
        return source.read_bytes() if isinstance(source, Path) else source.getvalue()


def load_reference(address: str, server: Server) -> pl.DataFrame | ReferenceProfile:
    """Rows of a file or of all files of a folder, or a revision's `reference.json`.

    Raises:
        SourceError: when it is neither.
    """
    files = _files(address, server)
    if len(files) == 1 and files[0].name.endswith(_REFERENCE):
        with _reading(files[0]):
            return ReferenceProfile.decode(files[0].content())
    return _rows(files, ())


def load_current(address: str, server: Server, reference: pl.DataFrame | ReferenceProfile) -> pl.DataFrame | Profile:
    """Rows, or profiles in the bins of the reference: one `.profile`, or a folder of them, which are merged.

    Raises:
        SourceError: when it is neither, or the profiles belong to another reference.
    """
    files = _files(address, server)
    if not all(file.name.endswith(_PROFILE) for file in files):
        return _rows(files, _texts(reference))
    if not isinstance(reference, ReferenceProfile):
        raise SourceError(f"{address} holds counts in the bins of a reference.json: give that file as the reference")
    total = Profile.empty(reference)
    for file in files:
        with _reading(file):
            total = total.merge(total.read(file.content()))
    return total


def _texts(reference: pl.DataFrame | ReferenceProfile) -> list[str]:
    """The columns that hold text: CSV does not tell `"1"` from 1."""
    if isinstance(reference, pl.DataFrame):
        return [name for name, dtype in reference.schema.items() if dtype == pl.String]
    return [column.name for column in reference.features if column.kind == "categorical"]


def _files(address: str, server: Server) -> list[_File]:
    try:
        files = _remote(address, server) if address.startswith("s3://") else _local(Path(address))
    except StoreDenied as error:
        raise SourceError(
            f"{error}; set {ENV_ACCESS_KEY} and {ENV_SECRET_KEY}, and --endpoint-url where it is not AWS"
        ) from error
    except (StoreError, OSError) as error:
        raise SourceError(str(error)) from error
    except ValidationError as error:
        raise SourceError(f"{address}: {error.errors()[0]['msg']}; write s3://bucket/path") from error
    if not files:
        raise SourceError(f"{address} is no file, and no folder with files ({', '.join(_ROWS)}, {_PROFILE})")
    return files


def _listable(name: str) -> bool:
    return name.endswith((*_ROWS, _PROFILE))


def _local(path: Path) -> list[_File]:
    inside = sorted(p for p in path.iterdir() if p.is_file() and _listable(p.name)) if path.is_dir() else [path]
    return [_File(str(path), path) for path in inside if path.exists()]


def _remote(address: str, server: Server) -> list[_File]:
    folder, _, name = address.rpartition("/")
    if not folder.removeprefix("s3:/").strip("/"):
        folder, name = address, ""
    storage = Storage.model_validate({"uri": folder, "endpointURL": server.endpoint_url, "region": server.region})
    store: Store = S3Store.open(storage)
    keys = [name] if name else [info.key for info in store.list("") if _listable(info.key)]
    return [_File(store.uri(key), key, store) for key in keys]


@contextmanager
def _reading(file: _File) -> Iterator[None]:
    try:
        yield
    except (ArtifactError, StoreError, PolarsError, OSError, UnicodeDecodeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise SourceError(f"{file.name} cannot be read: {line}") from error


def _rows(files: Sequence[_File], texts: Collection[str]) -> pl.DataFrame:
    frames = []
    for file in files:
        with _reading(file):
            frames.append(_frame(file, texts))
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except PolarsError as error:
        raise SourceError(f"{files[0].name} and its neighbours do not fit together: {str(error).splitlines()[0]}") from error


def _frame(file: _File, texts: Collection[str]) -> pl.DataFrame:
    if file.name.endswith(_PARQUET):
        return pl.read_parquet(file.open(), glob=False)
    if file.name.endswith(_NDJSON):
        return pl.read_ndjson(file.open(), infer_schema_length=None)
    if file.name.endswith(_CSV):
        return _csv(file, texts)
    if file.name.endswith(_PROFILE):
        raise SourceError(f"{file.name} holds counts only; name rows, or as the reference the reference.json of the counts")
    raise SourceError(f"{file.name} has an ending that says nothing; name it {', '.join(_ROWS)}, {_PROFILE} or {_REFERENCE}")


def _csv(file: _File, texts: Collection[str]) -> pl.DataFrame:
    names = pl.read_csv(file.open(), n_rows=0, glob=False).columns
    types = {name: pl.String for name in names if name in texts}
    try:
        return _typed_csv(file, types, _TYPING_ROWS)
    except PolarsError:  # a column changes its type further down: then it is text, and that is no error but a finding
        return _typed_csv(file, types, None)


def _typed_csv(file: _File, types: Mapping[str, type[pl.String]], rows: int | None) -> pl.DataFrame:
    """The rows; types are chosen by the first `rows` of them (None: by all, which is slow)."""
    return pl.read_csv(
        file.open(), glob=False, null_values=NULLS, infer_schema_length=rows, try_parse_dates=True, schema_overrides=types
    )
