"""Columns of data as arrays, and arrays as the input of a model. The one place that says how values are represented.

`Columns` maps a feature's name to a one-dimensional array:

    numeric      float64; missing is NaN
    categorical  object, of `str` or None for missing
    boolean      object, of "true", "false" or None

A model sees two matrices (`ModelInput`): `numeric` float32, features in the order of the manifest, and `text` of strings
in the same order, categorical and boolean. There missing text is the empty string; an infinite number is missing; a number
beyond float32 is the largest float32. Training rounds to float32 too, so ONNX and scikit-learn see the same numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Column, ColumnKind

Array = NDArray[Any]
Columns = Mapping[str, Array]

MISSING_TEXT: Final = ""
_LARGEST = float(np.finfo(np.float32).max)
_BOOLEANS: Final[dict[object, str | None]] = {
    None: None, True: "true", False: "false", "true": "true", "false": "false", "True": "true", "False": "false", "": None,
}  # fmt: skip


class ColumnError(ValueError):
    """A column is missing or holds values that are not of its kind. `column` names it."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(f"column {column!r}: {message}")
        self.column = column


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What a model is given: `numeric` float32 of shape (rows, numeric features), `text` object of (rows, other features)."""

    numeric: NDArray[np.float32]
    text: Array

    def frame(self) -> pl.DataFrame:
        """The same as a frame, for scikit-learn: columns n0, n1, ... and then t0, t1, ..."""
        data: dict[str, Any] = {f"n{i}": self.numeric[:, i] for i in range(self.numeric.shape[1])}
        data |= {f"t{i}": pl.Series(self.text[:, i], dtype=pl.String) for i in range(self.text.shape[1])}
        return pl.DataFrame(data)


def is_numeric(feature: Column) -> bool:
    """Whether a feature goes into the numeric matrix."""
    return feature.kind is ColumnKind.NUMERIC


def from_frame(frame: pl.DataFrame, features: Sequence[Column]) -> dict[str, Array]:
    """The features of a frame as columns.

    Raises:
        ColumnError: when one is missing from the frame or cannot be read as its kind.
    """
    return {feature.name: _from_series(frame, feature) for feature in features}


def _from_series(frame: pl.DataFrame, feature: Column) -> Array:
    if feature.name not in frame.columns:
        raise ColumnError(feature.name, "is missing")
    series = frame[feature.name]
    if feature.kind is ColumnKind.NUMERIC:
        if not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
            raise ColumnError(feature.name, f"wants numbers, and the data has {series.dtype}")
        return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if feature.kind is ColumnKind.BOOLEAN and series.dtype != pl.Boolean:
        return _booleans(feature.name, series.to_list())
    if series.dtype.is_numeric() or series.dtype.is_nested() or series.dtype.is_temporal() or series.dtype == pl.Binary:
        raise ColumnError(feature.name, f"wants text, and the data has {series.dtype}")
    return _objects(series.cast(pl.String).to_list())


def from_lists(values: Mapping[str, Sequence[Any] | Array], features: Sequence[Column]) -> dict[str, Array]:
    """The features of a request (None for missing, or arrays) as columns; columns that are no features are left out.

    Raises:
        ColumnError: when a feature is missing, has values of another kind, or another length than the rest.
    """
    columns: dict[str, Array] = {}
    rows: int | None = None
    for feature in features:
        if feature.name not in values:
            raise ColumnError(feature.name, "is missing")
        column = _from_values(feature, values[feature.name])
        rows = len(column) if rows is None else rows
        if len(column) != rows:
            raise ColumnError(feature.name, f"has {len(column)} values where others have {rows}")
        columns[feature.name] = column
    return columns


def _from_values(feature: Column, values: Sequence[Any] | Array) -> Array:
    if feature.kind is ColumnKind.NUMERIC:
        return _numbers(feature.name, values)
    items: Sequence[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return _booleans(feature.name, items) if feature.kind is ColumnKind.BOOLEAN else _texts(feature.name, items)


def _numbers(name: str, values: Sequence[Any] | Array) -> Array:
    if not (isinstance(values, np.ndarray) and values.dtype.kind in "fiub"):
        # numpy would read "1.5" as a number: text in a numeric column is a mismatch that drift checks must see.
        wrong = next((v for v in values if not isinstance(v, int | float | np.number | np.bool_ | None)), None)
        if wrong is not None:
            raise ColumnError(name, f"wants numbers, not {_shown(wrong)}")
    try:
        return np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise ColumnError(name, f"wants numbers: {error}") from None


def _texts(name: str, values: Sequence[Any]) -> Array:
    texts: list[str | None] = []
    for value in values:
        if value is None or isinstance(value, str):
            texts.append(value)
        elif isinstance(value, bytes):
            texts.append(_decoded(name, value))
        else:
            raise ColumnError(name, f"wants text, not {_shown(value)}")
    return _objects(texts)


def _booleans(name: str, values: Sequence[Any]) -> Array:
    try:
        return _objects([_BOOLEANS[_decoded(name, v) if isinstance(v, bytes) else v] for v in values])
    except (KeyError, TypeError):
        wrong = next(v for v in values if not isinstance(v, str | bytes | int | None) or v not in _BOOLEANS)
        raise ColumnError(name, f"wants true or false, not {_shown(wrong)}") from None


def _decoded(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ColumnError(name, "holds bytes that are not UTF-8") from None


def _objects(values: Sequence[str | None]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _shown(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


def to_lists(columns: Columns) -> dict[str, list[Any]]:
    """Columns as plain lists for JSON, NaN as None: the inverse of `from_lists`."""
    return {
        name: [None if v != v else v for v in column.tolist()] if column.dtype.kind == "f" else column.tolist()
        for name, column in columns.items()
    }


def model_input(columns: Columns, features: Sequence[Column]) -> ModelInput:
    """The matrices that a model of these features is given.

    Raises:
        ColumnError: when a feature is missing.
    """
    for feature in features:
        if feature.name not in columns:
            raise ColumnError(feature.name, "is missing")
    rows = len(columns[features[0].name]) if features else 0
    numeric = _matrix([columns[f.name] for f in features if is_numeric(f)], rows, np.float64)
    with np.errstate(invalid="ignore"):
        numeric[np.isinf(numeric)] = np.nan
        np.clip(numeric, -_LARGEST, _LARGEST, out=numeric)
    text = _matrix([columns[f.name] for f in features if not is_numeric(f)], rows, object)
    text[text == None] = MISSING_TEXT  # noqa: E711 - elementwise
    return ModelInput(numeric.astype(np.float32), text)


def _matrix(arrays: list[Array], rows: int, dtype: type) -> Array:
    matrix: Array = np.empty((rows, len(arrays)), dtype=dtype)
    for index, array in enumerate(arrays):
        matrix[:, index] = array
    return matrix
