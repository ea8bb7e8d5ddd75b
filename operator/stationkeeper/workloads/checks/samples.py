"""From rows to profiles: what columns are for, the reference of some rows, and the counts of others in its bins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from stationkeeper.workloads.drift.rowdata import typed
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.reading import utc

Array = NDArray[Any]
_BATCH: Final = 200_000  # rows that are counted at once
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
    rows: pl.DataFrame
    features: Sequence[Column]
    times: Array | None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """Current rows in the bins of a reference, as far as their columns can be read."""

    counts: Profile
    unread: frozenset[str] = frozenset()  # features that are missing or of another type
    notes: Sequence[str] = ()


def sample_of(rows: pl.DataFrame, roles: Roles) -> Sample:
    """Bins, counts and ordinary variation of the reference's rows.

    Raises:
        FrameError: when a named column is not there, or no column can be compared.
    """
    known(rows, sorted(roles.taken), "the reference")
    if not rows.height:
        raise FrameError("the reference has no rows")
    columns = {name: _column(rows[name]) for name in rows.columns if name not in roles.taken}
    features = [column for column in columns.values() if column]
    if not features:
        raise FrameError("the reference has no column of numbers, booleans or text to compare")
    times = _times(rows, roles.timestamp) if roles.timestamp else None
    outputs = {name: _output(rows[name]) for name in roles.predictions}
    profile = build_reference(rows, features, outputs, timestamps=times, prediction_timestamps=times if outputs else None)
    notes = [_left_out(rows[name], roles) for name, column in columns.items() if column is None]
    return Sample(profile, rows, features, times, notes)


def _column(series: pl.Series) -> Column | None:
    if series.dtype == pl.Boolean:
        return Column(name=series.name, kind=ColumnKind.BOOLEAN)
    if series.dtype.is_numeric() or series.dtype == pl.Null:
        return Column(name=series.name, kind=ColumnKind.NUMERIC, integer=series.dtype.is_integer())
    if series.dtype == pl.String or isinstance(series.dtype, pl.Categorical | pl.Enum):
        return Column(name=series.name, kind=ColumnKind.CATEGORICAL)
    return None


def _left_out(series: pl.Series, roles: Roles) -> str:
    hint = "; as the timestamp it would tell what ordinary weeks differ by" if roles.timestamp is None else ""
    hint = hint if series.dtype.is_temporal() else ""
    return f"{series.name} holds {series.dtype} and was not compared{hint}"


def count(rows: pl.DataFrame, reference: ReferenceProfile, roles: Roles) -> Counted:
    """The rows in the reference's bins.

    Columns that are missing or cannot be read are left out of the bins; they are violations, which rows show (`rowchecks`).

    Raises:
        FrameError: when a prediction that was named is not there, or no feature can be read.
    """
    known(rows, roles.predictions, "the current rows")
    lacking = {column.name for column in reference.predictions if column.name not in rows.columns}
    unread: set[str] = set()
    while (profile := _counts(rows, _narrowed(reference, unread, lacking), unread)) is None:
        pass
    named = {column.name for column in (*reference.features, *reference.predictions)}
    unknown = sorted(set(rows.columns) - named - roles.taken)
    profile.extra(unknown, rows.height)  # noqa: S610 - nobody's SQL
    notes = [f"{name} is not among the current rows: this prediction was not compared" for name in sorted(lacking)]
    return Counted(profile, frozenset(unread), notes)


def _counts(rows: pl.DataFrame, reference: ReferenceProfile, unread: set[str]) -> Profile | None:
    """The counts; None when a further column turns out to be unreadable, which `unread` then holds."""
    profile = Profile.empty(reference)
    for batch in rows.iter_slices(_BATCH):
        found = typed(batch, reference)
        if found.unread:
            unread.update(found.unread)
            return None
        profile.update(found.columns, {column.name: _output(batch[column.name]) for column in reference.predictions})
    return profile


def _narrowed(reference: ReferenceProfile, features: set[str], predictions: set[str]) -> ReferenceProfile:
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


def _output(series: pl.Series) -> Array:
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.array(series.cast(pl.String).to_list(), dtype=object)


def _times(rows: pl.DataFrame, name: str) -> Array:
    try:
        return utc(rows[name]).dt.replace_time_zone(None).to_numpy()
    except AttemptEnded as error:
        raise FrameError(error.message) from error


def span(rows: pl.DataFrame, timestamp: str | None) -> Window | None:
    """From the first to the last moment of the rows; None where they have no times."""
    if timestamp is None or timestamp not in rows.columns or not rows.height:
        return None
    times = pl.Series(_times(rows, timestamp)).dt.replace_time_zone("UTC")
    first, last = times.min(), times.max()
    return Window(first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None


def known(rows: pl.DataFrame, names: Sequence[str], where: str) -> None:
    """Make sure that columns are there.

    Raises:
        FrameError: when one is not.
    """
    for name in names:
        if name not in rows.columns:
            raise FrameError(f"there is no column {name!r} in {where}, but {_listed(rows.columns)}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"
