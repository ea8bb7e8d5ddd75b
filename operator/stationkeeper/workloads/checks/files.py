"""Files of rows as one table (`drift.table`): Parquet, CSV and NDJSON, read column by column however large they are.

Small files are read whole, and neighbours together. Large text is written once as Parquet: its columns cannot be read one by one.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from stationkeeper.api.meta import ENV_ACCESS_KEY, ENV_SECRET_KEY
from stationkeeper.workloads.artifacts.errors import ArtifactError, StoreDenied, StoreError
from stationkeeper.workloads.drift.table import AT_ONCE, Part
from stationkeeper.workloads.training.reading import NULLS

PARQUET, CSV, NDJSON = (".parquet", ".pq"), (".csv", ".csv.gz"), (".ndjson", ".jsonl")
ROWS: Final = (*PARQUET, *CSV, *NDJSON)
UNREADABLE: Final = (StoreError, ArtifactError, PolarsError, PanicException, OSError, UnicodeDecodeError)
_SMALL_TEXT: Final = 16 * 2**20  # bytes of a text file that is read whole
_ALL_TEXT: Final = 4 * _SMALL_TEXT  # of all of them
_SMALL: Final = 2 * AT_ONCE  # values of a Parquet file that is read whole
_TYPING_ROWS: Final = 10_000


class SourceError(Exception):
    """What was named cannot be read; the message names the file and what to do.

    Args:
        message: for people.
        file: the one file that is damaged or foreign, where others may be read without it.
    """

    def __init__(self, message: str, file: str | None = None) -> None:
        super().__init__(message)
        self.file = file


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Say by name what cannot be read."""
    try:
        yield
    except UNREADABLE as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: BaseException) -> SourceError:
    """What is said of something by that name when one of `UNREADABLE` was raised."""
    if isinstance(error, StoreDenied):
        return SourceError(denied(error))
    if isinstance(error, StoreError):
        return SourceError(str(error))
    line = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return SourceError(f"{name} cannot be read: {line}; replace or remove it", name)


def denied(error: StoreDenied) -> str:
    """What a person does about it, where there is no Secret to name."""
    return f"{str(error).partition('; ')[0]}; set {ENV_ACCESS_KEY} and {ENV_SECRET_KEY}, and --endpoint-url where it is not AWS"


@dataclass(frozen=True)
class Readable:
    """One file: its columns, its rows, and how to read some of them."""

    name: str
    rows: int
    schema: Mapping[str, pl.DataType]
    scan: pl.LazyFrame

    @property
    def small(self) -> bool:
        """Whether it is read whole."""
        return self.rows * len(self.schema) <= _SMALL

    def read(self, names: Sequence[str], start: int, rows: int) -> pl.DataFrame:
        """Some columns, as far as the file has them, of some rows.

        Raises:
            SourceError: when they cannot be read.
        """
        with reading(self.name):
            return self.scan.slice(start, rows).select([name for name in names if name in self.schema]).collect()


def files_of(paths: Mapping[str, Path], texts: Collection[str], scratch: Path) -> "Files":
    """Files by their endings; those that cannot be read are left out, and kept in mind.

    Args:
        paths: where each is, by what it is called.
        texts: the columns that hold text: CSV does not tell `"1"` from 1.
        scratch: a folder for what must be written to be read column by column.

    Raises:
        SourceError: when none can be read.
    """
    text = sum(path.stat().st_size for name, path in paths.items() if not name.endswith(PARQUET) and path.exists())
    kept, files, lost = _SMALL_TEXT if text <= _ALL_TEXT else 0, list[Readable](), list[SourceError]()
    for name, path in paths.items():
        try:
            files.append(_readable(name, path, texts, scratch, kept))
        except SourceError as error:
            lost.append(error)
    if not files:
        raise lost[0]
    return Files.fitting(files, lost)


def _readable(name: str, path: Path, texts: Collection[str], scratch: Path, kept: int) -> Readable:
    with reading(name):
        if name.endswith(PARQUET):
            return _parquet(name, path)
        scans = _csv(path, texts) if name.endswith(CSV) else [pl.scan_ndjson(path, infer_schema_length=None)]
        if path.stat().st_size <= kept and not name.endswith(".gz"):
            rows = _first(scans, lambda scan: scan.collect())
            return Readable(name, rows.height, rows.schema, rows.lazy())
        written = scratch / f"{len(list(scratch.iterdir())):06}.parquet"
        _first(scans, lambda scan: scan.sink_parquet(written, compression="lz4"))
        return _parquet(name, written)


def _parquet(name: str, path: Path) -> Readable:
    scan = pl.scan_parquet(path, glob=False)
    return Readable(name, int(scan.select(pl.len()).collect().item()), scan.collect_schema(), scan)


def _csv(path: Path, texts: Collection[str]) -> list[pl.LazyFrame]:
    """The rows by the types of the first ones; and by those of all, which is slow, where a column changes its type further down:
    then it is text, and that is no error but a finding.
    """
    names = [name or "" for name in pl.read_csv(path, n_rows=1, has_header=False, infer_schema=False, glob=False).row(0)]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ArtifactError(f"it names the column {twice[0]!r} twice: which of the two is meant is not known")
    types = {name: pl.String for name in names if name in texts}
    return [
        pl.scan_csv(path, glob=False, null_values=NULLS, infer_schema_length=rows, try_parse_dates=True, schema_overrides=types)
        for rows in (_TYPING_ROWS, None)
    ]


def _first(scans: Sequence[pl.LazyFrame], work: Callable[[pl.LazyFrame], Any]) -> Any:
    """What work gives for the first of these that can be read."""
    for scan in scans[:-1]:
        try:
            return work(scan)
        except PolarsError:
            continue
    return work(scans[-1])


class Files:
    """All rows of some files. A column that a file lacks is missing there; of several types the one that holds all is taken.

    Args:
        files: which fit together.
        schema: of all of them.
        lost: what is wrong with the others.
    """

    def __init__(self, files: Sequence[Readable], schema: Mapping[str, pl.DataType], lost: Sequence[SourceError] = ()) -> None:
        self._files, self._schema, self.lost = files, schema, tuple(lost)

    @classmethod
    def fitting(cls, files: Sequence[Readable], lost: Sequence[SourceError] = ()) -> "Files":
        """Those whose types have something in common, of which most files decide; the others are lost, too."""
        alike, mixed = Counter(tuple(file.schema.items()) for file in files), _mixed(files)
        whole, foreign = pl.DataFrame(), dict[str, SourceError]()
        for file in sorted(files, key=lambda file: -alike[tuple(file.schema.items())]):
            schema = dict(file.schema) | {name: pl.String() for name in mixed if name in file.schema}
            try:
                whole = pl.concat([whole, pl.DataFrame(schema=schema)], how="diagonal_relaxed")
            except PolarsError as error:
                why = str(error).splitlines()[0]
                said = f"{file.name} does not fit the other files: {why}; replace or remove it"
                foreign[file.name] = SourceError(said, file.name)
        return cls([file for file in files if file.name not in foreign], whole.schema, [*lost, *foreign.values()])

    def without(self, error: SourceError) -> "Files":
        """The others, when one turned out to be damaged as its rows were read.

        Raises:
            SourceError: this one, when it is about none of the files, or no other is left.
        """
        others = [file for file in self._files if file.name != error.file]
        if not others or len(others) == len(self._files):
            raise error
        return Files.fitting(others, [*self.lost, error])

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """See `Table.schema`."""
        return self._schema

    @property
    def rows(self) -> int:
        """See `Table.rows`."""
        return sum(file.rows for file in self._files)

    def parts(self, names: Sequence[str]) -> Iterator[Part]:
        """See `Table.parts`."""
        small: list[pl.DataFrame] = []
        for file in self._files:
            if file.small:
                small.append(self._fitted(file, names, 0, file.rows))
            if small and (not file.small or sum(frame.height for frame in small) * max(len(names), 1) > _SMALL):
                yield _together(small)
                small = []
            if not file.small:
                for start in range(0, file.rows, AT_ONCE):
                    rows = min(AT_ONCE, file.rows - start)
                    yield Part(rows, partial(self._fitted, file, start=start, rows=rows))
        if small:
            yield _together(small)

    def _fitted(self, file: Readable, names: Sequence[str], start: int, rows: int) -> pl.DataFrame:
        """Some columns of a file in the types of the table."""
        found = file.read(names, start, rows)
        with reading(file.name):
            columns = [
                found[name].cast(dtype) if name in file.schema else pl.repeat(None, rows, dtype=dtype, eager=True).alias(name)
                for name, dtype in ((name, self._schema[name]) for name in names)
            ]
        return pl.DataFrame(columns)


def _mixed(files: Sequence[Readable]) -> frozenset[str]:
    """Columns of times here and of something else there: Polars would take the ones for the others' numbers, as text they are told apart."""
    times, others = set[str](), set[str]()
    for file in files:
        for name, dtype in file.schema.items():
            if dtype != pl.Null:
                (times if dtype.is_temporal() else others).add(name)
    return frozenset(times & others)


def _together(frames: Sequence[pl.DataFrame]) -> Part:
    whole = pl.concat(frames) if len(frames) > 1 else frames[0]
    return Part(whole.height, whole.select)
