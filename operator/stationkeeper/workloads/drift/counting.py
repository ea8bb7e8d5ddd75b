"""Rows counted as fast as they are read: one column after the other, so that memory is that of a few columns, not of the rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.drift.bins import CategoricalReference, NumericReference
from stationkeeper.workloads.drift.grid import Floats, Ints
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import AnyReference, ReferenceProfile
from stationkeeper.workloads.drift.rowdata import UNKNOWN, Looked, Seen, kind_of, written_as_floats
from stationkeeper.workloads.drift.table import Part, Table

_MANY: Final = 10_000  # distinct words of a part, of which not each is looked at

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Counted:
    """What all rows of a table show, in the bins of a reference."""

    looked: Looked
    outputs: Mapping[str, Ints] = field(default_factory=dict)  # bins of each prediction
    wrong: Mapping[str, str] = field(default_factory=dict)  # predictions that cannot be read as their kind, with the reason

    def profile(self, none: Profile) -> Profile:
        """The profile of these rows; `none` is that of no rows, against the columns that could be read."""
        reference = none.layout.reference
        features = [self.looked.seen[column.name].counts for column in reference.features]
        return none.of([*features, *(self.outputs[column.name] for column in reference.predictions)], self.looked.rows)


def count_rows(table: Table, reference: ReferenceProfile, *, whole: frozenset[str] = frozenset()) -> Counted:
    """Look at every row once. What cannot be read does not hold up the rest.

    Args:
        table: of which only the columns of the reference are read.
        reference: whose bins are used.
        whole: the numeric features of which only whole numbers are known.
    """
    known = table.schema
    features = {column.name: column for column in reference.features if column.name in known}
    outputs = {column.name: column for column in reference.predictions if column.name in known}
    unread = {c.name: str(ColumnError(c.name, "is missing")) for c in reference.features if c.name not in known}
    wrong: dict[str, str] = {}
    seen = {name: _nothing(column) for name, column in features.items()}
    answers = {name: np.zeros(column.bins, dtype=np.int64) for name, column in outputs.items()}

    def look(values: pl.Series) -> tuple[Seen | str | None, Ints | str | None]:
        feature, output = features.get(values.name), outputs.get(values.name)
        return (
            None if feature is None else _readable(lambda: _seen(feature, values, whole)),
            None if output is None else _readable(lambda: _counts(output, values)),
        )

    with each_column() as each:
        for part in table.parts(list({**features, **outputs})):
            for name, (feature, output) in each(part, list({**features, **outputs}), look):
                if isinstance(feature, str):
                    unread[name] = feature
                    features.pop(name), seen.pop(name)
                elif feature is not None:
                    seen[name] += feature
                if isinstance(output, str):
                    wrong[name] = output
                    outputs.pop(name), answers.pop(name)
                elif output is not None:
                    answers[name] += output
    return Counted(Looked(table.rows, seen, unread), answers, wrong)


def _nothing(column: AnyReference) -> Seen:
    return Seen(np.zeros(column.bins, dtype=np.int64))


def _readable(work: Callable[[], T]) -> T | str:
    try:
        return work()
    except ColumnError as error:
        return str(error)


class Each:
    """Does something with every column of a part: while one is looked at, the next is read."""

    def __init__(self, looking: ThreadPoolExecutor) -> None:
        self._looking = looking

    def __call__(self, part: Part, names: Sequence[str], work: Callable[[pl.Series], T]) -> Iterator[tuple[str, T]]:
        """What the work gives for each of these columns, in their order."""

        def look(columns: pl.DataFrame) -> list[tuple[str, T]]:
            return [(column.name, work(column)) for column in columns.iter_columns()]

        ahead: Future[list[tuple[str, T]]] | None = None
        for block in part.blocks(names):
            columns = part.read(block)
            if ahead is not None:
                yield from ahead.result()
            ahead = self._looking.submit(look, columns)
            del columns  # memory is that of two blocks
        if ahead is not None:
            yield from ahead.result()


@contextmanager
def each_column() -> Iterator[Each]:
    """The thread, as long as it is needed."""
    with ThreadPoolExecutor(1) as looking:
        yield Each(looking)


def _seen(column: AnyReference, values: pl.Series, whole: frozenset[str]) -> Seen:
    if isinstance(column, CategoricalReference):
        return Seen.of_words(column, *_tally(column, values, kind_of(column)))
    misread = 0
    if values.dtype == pl.String:
        texts, values = values, values.cast(pl.Float64, strict=False)
        misread = values.null_count() - texts.null_count()
    fractions = column.name in whole and not values.dtype.is_integer()
    looked = (Seen.of_numbers(column, numbers, whole=fractions) for numbers in numbers_of(values))
    return sum(looked, Seen(np.zeros(column.bins, dtype=np.int64), misread))


def _counts(column: AnyReference, values: pl.Series) -> Ints:
    """The bins of an output, which is numbers or whatever can be written as text."""
    if isinstance(column, NumericReference):
        return sum((column.count(numbers) for numbers in numbers_of(values)), np.zeros(column.bins, dtype=np.int64))
    return Seen.of_words(column, *_tally(column, values.cast(pl.String), ColumnKind.CATEGORICAL)).counts


def numbers_of(values: pl.Series) -> Iterator[Floats]:
    """A column as the file holds it: arrays are looked at where they are, and never copied into one.

    Raises:
        ColumnError: when it holds no numbers.
    """
    wanted = [Column(name=values.name, kind=ColumnKind.NUMERIC)]
    for chunk in values.get_chunks():
        yield from_frame(chunk.alias(values.name).to_frame(), wanted)[values.name]


def distinct_values(values: pl.Series, *, in_order: bool = False) -> pl.DataFrame:
    """Each value of a column, and in `rows` how many have it; `in_order` of their first ones, which takes more memory."""
    tally = values.to_frame().lazy().group_by(values.name, maintain_order=in_order).len("rows")
    return tally.collect(engine="in-memory" if in_order else "streaming")


def _tally(column: CategoricalReference, values: pl.Series, kind: ColumnKind) -> tuple[Mapping[Any, int], int]:
    """Rows of each distinct value, and the rows of those that are left out.

    Of very many values those are left out that the reference does not name, but for the most frequent.
    """
    distinct, rest = distinct_values(values, in_order=kind is ColumnKind.BOOLEAN), 0  # the first wrong one is told
    if distinct.height > _MANY and values.dtype == pl.String:
        telling = pl.Series([*column.categories, *written_as_floats(column)], dtype=pl.String)
        known = pl.col(values.name).is_null() | pl.col(values.name).is_in(telling.implode())
        others = distinct.filter(~known).sort("rows", values.name, descending=[True, False])
        rest = int(others["rows"][UNKNOWN:].sum())
        distinct = pl.concat((distinct.filter(known), others.head(UNKNOWN)))
    words = from_frame(distinct, [Column(name=values.name, kind=kind)])[values.name]
    tally: Counter[Any] = Counter()
    for word, times in zip(words.tolist(), distinct["rows"].to_list(), strict=True):
        tally[word] += times  # a boolean's words are fewer than its values
    return tally, rest
