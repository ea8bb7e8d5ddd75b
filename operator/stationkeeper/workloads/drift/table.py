"""Rows that are read as they are counted: a bounded number of values at once, however many there are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

AT_ONCE: Final = 1_000_000  # values that are read at once; also the most rows of a part


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows. Their columns are read when they are asked for, so many at once that memory stays small."""

    rows: int
    read: Callable[[Sequence[str]], pl.DataFrame]  # these columns; may be called by several threads

    def blocks(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        """The columns that are to be read together."""
        size = max(AT_ONCE // max(self.rows, 1), 1)
        return (names[start : start + size] for start in range(0, len(names), size))


class Table(Protocol):
    """Rows with named columns of one type each, in a file or in many."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The columns and their types."""
        ...

    @property
    def rows(self) -> int:
        """How many."""
        ...

    def parts(self, names: Sequence[str]) -> Iterator[Part]:
        """All rows in their order, of which no columns but these will be read. May be called again."""
        ...


class FrameTable:
    """Rows that are in memory."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """See `Table.schema`."""
        return self._frame.schema

    @property
    def rows(self) -> int:
        """See `Table.rows`."""
        return self._frame.height

    def parts(self, names: Sequence[str]) -> Iterator[Part]:
        """See `Table.parts`."""
        for rows in self._frame.select(names).iter_slices(AT_ONCE):
            yield Part(rows.height, rows.select)


def frame(table: Table, names: Sequence[str] | None = None) -> pl.DataFrame:
    """All rows in memory."""
    asked = list(table.schema) if names is None else list(names)
    frames = [part.read(asked) for part in table.parts(asked)]
    return pl.concat(frames) if frames else pl.DataFrame(schema={name: table.schema[name] for name in asked})


def chosen(rows: int, most: int, seed: int) -> NDArray[np.int64]:
    """The numbers of at most so many rows, ascending, each as likely as any other."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def rows_at(table: Table, names: Sequence[str], numbers: NDArray[np.int64]) -> pl.DataFrame:
    """These columns of the rows of these numbers, which ascend."""
    found, start = [pl.DataFrame(schema={name: table.schema[name] for name in names})], 0
    for part in table.parts(names):
        here = numbers[(numbers >= start) & (numbers < start + part.rows)] - start
        start += part.rows
        if here.size:
            found.append(pl.concat([part.read(block)[here] for block in part.blocks(names)], how="horizontal"))
    return pl.concat(found)
