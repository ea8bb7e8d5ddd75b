"""From rows to profiles: what columns are for, the reference of some rows, and the counts of others in its bins."""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.drift.building import build_from
from stationkeeper.workloads.drift.counting import count_rows
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.rowdata import Looked
from stationkeeper.workloads.drift.table import FrameTable, Table
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.reading import utc

Array = NDArray[Any]
_LISTED: Final = 20  # columns in a message


class FrameError(ValueError):
    """Rows that cannot be compared; the message names the column and what to do."""


@dataclass(frozen=True, slots=True)
class Roles:
    """What columns are for; every other one is a feature."""

    timestamp: str | None = None
    predictions: Sequence[str] = ()
    ignore: Sequence[str] = ()

    @property
    def taken(self) -> set[str]:
        """The columns that are no features."""
        return {*self.predictions, *self.ignore} | ({self.timestamp} if self.timestamp else set())


@dataclass(frozen=True, slots=True)
class Sample:
    """The reference's rows, profiled."""

    profile: ReferenceProfile
    rows: Table
    features: Sequence[Column]
    times: Array | None
    notes: Sequence[str] = ()

    @property
    def whole(self) -> frozenset[str]:
        """The features of whole numbers."""
        return frozenset(column.name for column in self.features if column.integer)


@dataclass(frozen=True, slots=True)
class Current:
    """Current rows in the bins of a reference, as far as their columns can be read."""

    counts: Profile
    looked: Looked | None = None  # None where there are counts only
    notes: Sequence[str] = ()

    @property
    def unread(self) -> frozenset[str]:
        """The features that are missing or of another type."""
        return frozenset(self.looked.unread) if self.looked else frozenset()


def sample_of(rows: pl.DataFrame | Table, roles: Roles) -> Sample:
    """Bins, counts and ordinary variation of the reference's rows.

    Raises:
        FrameError: when a named column is not there, or no column can be compared.
    """
    table = FrameTable(rows) if isinstance(rows, pl.DataFrame) else rows
    known(table.schema, sorted(roles.taken), "the reference")
    if not table.rows:
        raise FrameError("the reference has no rows")
    columns = {name: _column(name, dtype) for name, dtype in table.schema.items() if name not in roles.taken}
    features = [column for column in columns.values() if column]
    if not features:
        raise FrameError("the reference has no column of numbers, booleans or text to compare")
    times = _times(table, roles.timestamp) if roles.timestamp else None
    profile = build_from(table, features, list(dict.fromkeys(roles.predictions)), timestamps=times)
    notes = [_left_out(name, table.schema[name], roles) for name, column in columns.items() if column is None]
    return Sample(profile, table, features, times, notes)


def _column(name: str, dtype: pl.DataType) -> Column | None:
    if dtype == pl.Boolean:
        return Column(name=name, kind=ColumnKind.BOOLEAN)
    if dtype.is_numeric() or dtype == pl.Null:
        return Column(name=name, kind=ColumnKind.NUMERIC, integer=dtype.is_integer())
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return Column(name=name, kind=ColumnKind.CATEGORICAL)
    return None


def _left_out(name: str, dtype: pl.DataType, roles: Roles) -> str:
    hint = "; as the timestamp it would tell what ordinary weeks differ by" if roles.timestamp is None else ""
    hint = hint if isinstance(dtype, pl.Datetime | pl.Date) else ""
    return f"{name} holds {dtype} and was not compared{hint}"


def count(table: Table, reference: ReferenceProfile, roles: Roles, whole: frozenset[str] = frozenset()) -> Current:
    """The rows in the reference's bins.

    Columns that are missing or cannot be read are left out of the bins; they are violations, which rows show (`rowdata`).

    Args:
        table: the current rows.
        reference: whose bins are used.
        roles: what columns are for.
        whole: the features of which only whole numbers are known.

    Raises:
        FrameError: when a prediction that was named is not there or of another type, or no feature can be read.
    """
    known(table.schema, roles.predictions, "the current rows")
    counted = count_rows(table, reference, whole=whole)
    for name in (name for name in roles.predictions if name in counted.wrong and table.rows):  # no rows have no type either
        raise FrameError(f"the prediction {name!r} in the current rows {_reason(counted.wrong[name])}, as in the reference")
    lacking = {
        column.name: "is not among the current rows" for column in reference.predictions if column.name not in table.schema
    }
    lacking |= {name: f"in the current rows {_reason(why)}" for name, why in counted.wrong.items()}
    profile = counted.profile(Profile.empty(_narrowed(reference, counted.looked.unread.keys(), lacking.keys())))
    named = {column.name for column in (*reference.features, *reference.predictions)}
    unknown = sorted(set(table.schema) - named - roles.taken)
    profile.extra(unknown, table.rows)  # noqa: S610 - nobody's SQL
    notes = [f"{name} {why}: this prediction was not compared" for name, why in sorted(lacking.items()) if table.rows]
    return Current(profile, counted.looked, notes)


def _reason(error: str) -> str:
    """What is wrong with a column, without its name."""
    return error.partition(": ")[2]


def _narrowed(reference: ReferenceProfile, features: Set[str], predictions: Set[str]) -> ReferenceProfile:
    """The reference without some columns.

    Raises:
        FrameError: when no feature is left.
    """
    if not features and not predictions:
        return reference
    if features >= {column.name for column in reference.features}:
        raise FrameError(f"the current rows have none of the reference's columns: {_listed(sorted(features))}")
    return ReferenceProfile(
        rows=reference.rows,
        prediction_rows=reference.prediction_rows,
        features=[column for column in reference.features if column.name not in features],
        predictions=[column for column in reference.predictions if column.name not in predictions],
        variation=reference.variation,
    )


def _times(table: Table, name: str) -> Array:
    """The times of all rows: eight bytes for each."""
    try:
        times = [utc(part.read([name])[name]).dt.replace_time_zone(None).to_numpy() for part in table.parts([name])]
    except AttemptEnded as error:
        raise FrameError(error.message) from error
    return np.concatenate([np.empty(0, dtype="datetime64[us]"), *times])


def span(table: Table, timestamp: str | None) -> Window | None:
    """From the first to the last moment of the rows; None where they have no times."""
    if timestamp is None or timestamp not in table.schema or not table.rows:
        return None
    times = pl.Series(_times(table, timestamp)).dt.replace_time_zone("UTC")
    first, last = times.min(), times.max()
    return Window(first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None


def known(columns: Collection[str], names: Sequence[str], where: str) -> None:
    """Make sure that columns are there.

    Raises:
        FrameError: when one is not.
    """
    for name in names:
        if name not in columns:
            raise FrameError(f"there is no column {name!r} in {where}, but {_listed(list(columns))}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"
