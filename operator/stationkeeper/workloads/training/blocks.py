"""Rows cut into stretches of whole days, so that what is odd about a few of them shows."""

from dataclasses import dataclass
from typing import Final

import polars as pl

MIN_ROWS: Final = 200  # of a stretch; days with fewer are taken together with the next

_DAY: Final = "__day__"
_NUMBER: Final = "__number__"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one day, or of a few that follow each other."""

    name: str  # "2013-09-08", or "2013-09-07 to 2013-09-08"
    rows: pl.DataFrame


def by_days(rows: pl.DataFrame, timestamp: str, most: int) -> list[Stretch]:
    """The rows by stretches of whole days, oldest first; of `MIN_ROWS` or more, and about `most` of them at the most."""
    if rows.is_empty():
        return []
    dated = rows.with_columns(pl.col(timestamp).dt.date().alias(_DAY))
    counts = dated.group_by(_DAY).len("rows").sort(_DAY)
    least = max(MIN_ROWS, rows.height // max(most, 1))
    starts, held = [], 0
    for day, height in counts.iter_rows():
        if held == 0:
            starts.append(day)
        held = 0 if held + height >= least else held + height
    if held and len(starts) > 1:
        starts.pop()  # the last few belong to the stretch before
    number = pl.Series(_NUMBER, pl.Series(starts).search_sorted(dated[_DAY], side="right"))
    parts = dated.with_columns(number).sort(_NUMBER, maintain_order=True).partition_by(_NUMBER, maintain_order=True)
    return [Stretch(_name(part[_DAY]), part.drop(_DAY, _NUMBER)) for part in parts]


def _name(days: pl.Series) -> str:
    first, last = str(days.min()), str(days.max())
    return first if first == last else f"{first} to {last}"
