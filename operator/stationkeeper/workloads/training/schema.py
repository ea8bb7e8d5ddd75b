"""What the columns are, and whether one can learn from them."""

import logging
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import polars as pl

from stationkeeper.api.data import Data
from stationkeeper.api.manifest import Column, ColumnKind, Manifest, Task
from stationkeeper.api.training import Training
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.segments import segment_columns

log = logging.getLogger(__name__)

MAX_CLASSES: Final = 1000
KEY_SHARE: Final = 0.5  # text that differs in more than this share of the rows names things, it does not describe them
ClassKind = Literal["string", "integer", "boolean"]


def check_names(data: Data) -> None:
    """Refuse features that would give the answer away.

    Raises:
        AttemptEnded: InvalidData with InvalidSpec.
    """
    reserved = {data.target, data.timestamp} & set(data.features or ())
    if reserved:
        raise invalid(
            "InvalidSpec", f"data.features must not name the target or the timestamp: {sorted(map(str, reserved))[0]!r}"
        )
    if data.target == data.timestamp:
        raise invalid("InvalidSpec", "data.target and data.timestamp are the same column")
    if data.features and len(set(data.features)) < len(data.features):
        raise invalid("InvalidSpec", "data.features names a column twice")


def check_present(present: set[str], data: Data, where: str) -> None:
    """Make sure that target and time are among the columns.

    Raises:
        AttemptEnded: InvalidData.
    """
    if data.target not in present:
        raise invalid(
            "MissingTargetColumn",
            f"the target {data.target!r} is missing in the data under {where}; restore it, or correct data.target",
        )
    if data.timestamp and data.timestamp not in present:
        raise invalid(
            "MissingTimestampColumn",
            f"the timestamp {data.timestamp!r} is missing in the data under {where}; correct data.timestamp",
        )


def wanted_columns(present: set[str], training: Training, champion: Manifest | None) -> set[str]:
    """The columns that are read: all of them, until a spec or a revision has settled which ones matter."""
    data = training.data
    if data.features is None and champion is None:
        return present
    known = [column.name for column in champion.features] if champion else []
    time = [data.timestamp] if data.timestamp else []
    return {data.target, *time, *(data.features or ()), *known, *segment_columns(training.evaluation.gates)}


def choose_features(frame: pl.DataFrame, data: Data, champion: Manifest | None) -> list[Column]:
    """The features: those of the spec, else those of the champion, else every column that can be one.

    Raises:
        AttemptEnded: InvalidData when one is missing, empty, or of a type that no model can take.
    """
    if data.features is not None:
        return [_column(frame, name, data) for name in data.features]
    if champion is not None and champion.target == data.target:
        return [_frozen(frame, column, data) for column in champion.features]
    names = [name for name in frame.columns if name not in (data.target, data.timestamp)]
    features = [_column(frame, name, data) for name in names if _usable(frame[name])]
    if not features:
        raise invalid("MissingFeatureColumn", f"no column under {data.uri} can be a feature; name them in data.features")
    return features


def _usable(series: pl.Series) -> bool:
    if series.null_count() == len(series):
        log.warning("column %r is empty and no feature", series.name)
        return False
    if series.dtype == pl.String and len(series) >= 100 and series.n_unique() > KEY_SHARE * len(series):
        log.warning("column %r looks like a key and is no feature", series.name)
        return False
    return True


def _column(frame: pl.DataFrame, name: str, data: Data) -> Column:
    if name not in frame.columns or frame[name].null_count() == frame.height:
        raise invalid("MissingFeatureColumn", _missing(frame, name, data))
    series = frame[name]
    nullable = series.null_count() > 0
    if series.dtype == pl.Boolean:
        return Column(name=name, kind=ColumnKind.BOOLEAN, nullable=nullable)
    if series.dtype.is_numeric():
        nullable = nullable or (series.dtype.is_float() and bool(series.is_nan().any()))
        return Column(name=name, kind=ColumnKind.NUMERIC, integer=_whole(series), nullable=nullable)
    if series.dtype == pl.String or isinstance(series.dtype, pl.Categorical | pl.Enum):
        return Column(name=name, kind=ColumnKind.CATEGORICAL, nullable=nullable)
    raise invalid(
        "UnsupportedColumnType",
        f"the column {name!r} holds {series.dtype}, which no model can take; leave it out of data.features, or turn it "
        "into numbers, text or booleans",
    )


def _missing(frame: pl.DataFrame, name: str, data: Data) -> str:
    what = "has no values" if name in frame.columns else "is missing"
    return f"the feature {name!r} {what} in the data under {data.uri}; restore it, or leave it out of data.features"


def _frozen(frame: pl.DataFrame, column: Column, data: Data) -> Column:
    """A champion's feature as it is today: of the same kind, or the data is wrong."""
    today = _column(frame, column.name, data)
    if today.kind is not column.kind:
        raise invalid(
            "MalformedData",
            f"the feature {column.name!r} was {column.kind} and is now {today.kind}; restore it, or list data.features anew",
        )
    return today


def _whole(series: pl.Series) -> bool:
    if not series.dtype.is_float():
        return True
    finite = series.filter(series.is_finite())
    return bool((finite == finite.round(0)).all())


def check_readable(frame: pl.DataFrame, features: Sequence[Column]) -> None:
    """Read every feature once as training will.

    Raises:
        AttemptEnded: InvalidData with MalformedData.
    """
    try:
        from_frame(frame, features)
    except ColumnError as error:
        raise invalid("MalformedData", str(error)) from error


def check_not_vanished(train: pl.DataFrame, holdout: pl.DataFrame, features: Sequence[Column]) -> None:
    """A feature that has stopped coming is a bug upstream, and one never learns from a bug.

    Raises:
        AttemptEnded: InvalidData with MissingFeatureColumn.
    """
    for feature in features:
        before, now = train[feature.name].null_count() / train.height, holdout[feature.name].null_count() / holdout.height
        if now == 1.0 and before < 0.5:
            raise invalid(
                "MissingFeatureColumn",
                f"the feature {feature.name!r} has no values in the newest {holdout.height} rows; restore it upstream",
            )


def class_label(dtype: pl.DataType) -> ClassKind:
    """How class labels of a column look to clients."""
    if dtype == pl.Boolean:
        return "boolean"
    return "string" if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum) else "integer"


def with_target(frame: pl.DataFrame, target: str, *, classifier: bool) -> pl.DataFrame:
    """Rows with a target only; class labels as text, other targets as float.

    Raises:
        AttemptEnded: InvalidData when the target is of another type than the estimator needs.
    """
    series = frame[target]
    if series.dtype.is_float():
        frame = frame.with_columns(pl.col(target).fill_nan(None))
    frame = frame.filter(pl.col(target).is_not_null())
    series = frame[target]
    if not classifier:
        if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
            raise invalid("MalformedTarget", f"the target {target!r} holds {series.dtype}; a regressor needs numbers")
        if not series.cast(pl.Float64).is_finite().all():
            raise invalid("MalformedTarget", f"the target {target!r} holds infinite numbers")
        return frame.with_columns(pl.col(target).cast(pl.Float64))
    if series.dtype.is_nested() or series.dtype.is_temporal() or series.dtype == pl.Binary:
        raise invalid("MalformedTarget", f"the target {target!r} holds {series.dtype}; classes are text, integers or booleans")
    if series.dtype.is_numeric():
        if not _whole(series):
            raise invalid("MalformedTarget", f"the target {target!r} holds fractions; use a regressor, or whole class labels")
        frame = frame.with_columns(pl.col(target).cast(pl.Int64))
    return frame.with_columns(pl.col(target).cast(pl.String))


def classes_of(labels: pl.Series, kind: ClassKind, positive: str | None) -> tuple[Task, list[str], str | None]:
    """Task, classes in order and the positive label, from the labels of the training rows.

    Raises:
        AttemptEnded: InvalidData with ConstantTarget, TooManyClasses or InvalidSpec.
    """
    found: list[str] = labels.unique().to_list()
    classes = sorted(found, key=int) if kind == "integer" else sorted(found)
    if len(classes) < 2:
        raise invalid(
            "ConstantTarget", f"every training row has the target {classes[0] if classes else None!r}; widen the window"
        )
    if len(classes) > MAX_CLASSES:
        raise invalid("TooManyClasses", f"the target has {len(classes)} classes, more than {MAX_CLASSES}; use a regressor?")
    if len(classes) > 2:
        return Task.MULTICLASS, classes, None
    if positive is not None and positive not in classes:
        raise invalid(
            "InvalidSpec", f"data.positiveLabel {positive!r} is not a class; the classes are {classes[0]!r}, {classes[1]!r}"
        )
    return Task.BINARY, classes, positive or classes[1]


def positions(labels: pl.Series, classes: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Labels as positions in `classes`; -1 for a class that is not there."""
    index = {label: position for position, label in enumerate(classes)}
    return np.fromiter((index.get(label, -1) for label in labels.to_list()), dtype=np.int64, count=len(labels))
