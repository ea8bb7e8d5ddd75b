"""Open Inference Protocol v2 over JSON: requests into columns, predictions into responses. Pure.

    ProtocolError               status and message of an error response
    └── SchemaError             the request's columns are not the model's: refused, and counted by drift profiles

A request carries one tensor per column by name, of shape [n] or [n, 1], or, for a model whose features are all numbers, one
tensor of shape [n, features] in the manifest's order. Data may be flat or nested; `null` is a missing value. A tensor with the
times of the rows may come beside either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stationkeeper.api.manifest import Column, ColumnKind, Manifest
from stationkeeper.workloads.artifacts.columns import Array, ColumnError, from_lists
from stationkeeper.workloads.serving.moments import Told

MAX_BODY_BYTES: Final = 16 * 2**20
MAX_ROWS: Final = 65_536
MAX_INPUTS: Final = 4_096
MAX_ID_LENGTH: Final = 128
PREDICT: Final = "predict"
PREDICT_PROBA: Final = "predict_proba"

_FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})
_RANGES: Final = {
    f"{prefix}{bits}": (int(np.iinfo(f"{kind}{bits}").min), int(np.iinfo(f"{kind}{bits}").max))
    for prefix, kind in (("INT", "int"), ("UINT", "uint"))
    for bits in (8, 16, 32, 64)
}
# What JSON may hold in a tensor of each datatype. `type` tells bool from int, `isinstance` would not.
_ALLOWED: Final[dict[str, frozenset[type]]] = {
    "BOOL": frozenset({bool, type(None)}),
    "BYTES": frozenset({str, type(None)}),
    **{name: frozenset({int, float, type(None)}) for name in _FLOATS},
    **{name: frozenset({int, type(None)}) for name in _RANGES},
}
_FITTING: Final[dict[ColumnKind, tuple[frozenset[str], str]]] = {
    ColumnKind.NUMERIC: (_FLOATS | _RANGES.keys() | {"BOOL"}, "FP64"),
    ColumnKind.CATEGORICAL: (frozenset({"BYTES"}), "BYTES"),
    ColumnKind.BOOLEAN: (frozenset({"BOOL", "BYTES"}), "BOOL"),
}


class ProtocolError(Exception):
    """A request that is answered with an error."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class SchemaError(ProtocolError):
    """The columns of a request are not those of the model.

    `rows` is how many rows it carried, at most `MAX_ROWS`; `told` when they happened, where the request says so.
    """

    told: Told | None = None

    def __init__(self, message: str, rows: int, missing: Sequence[str] = (), mismatched: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.rows = rows
        self.missing = tuple(missing)
        self.mismatched = tuple(mismatched)


@dataclass(frozen=True, slots=True)
class Contract:
    """What a revision can be asked: the features by name, and whether it answers with probabilities.

    `event_time` names the column with the times of the rows; it may be a feature too.
    """

    features: tuple[Column, ...]
    by_name: Mapping[str, Column]
    all_numeric: bool
    outputs: tuple[str, ...]
    event_time: str | None = None

    @classmethod
    def of(cls, manifest: Manifest, probabilities: bool, event_time: str | None = None) -> "Contract":
        """The contract of a manifest."""
        features = tuple(manifest.features)
        numeric = bool(features) and all(f.kind is ColumnKind.NUMERIC for f in features)
        outputs = (PREDICT, PREDICT_PROBA) if probabilities else (PREDICT,)
        return cls(features, {f.name: f for f in features}, numeric, outputs, event_time)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A valid request: `rows` rows of columns as `artifacts.columns` describes them."""

    id: str | None
    rows: int
    columns: dict[str, Array]
    outputs: tuple[str, ...]
    extra: tuple[str, ...]  # names of columns that the model does not know
    told: Told | None = None  # when the rows happened


@dataclass(frozen=True, slots=True)
class _Tensor:
    index: int
    name: str
    datatype: str
    rows: int
    width: int | None  # second dimension
    data: list[Any]  # flat

    @property
    def where(self) -> str:
        return f"inputs[{self.index}] {_shown(self.name)}"


def parse(body: bytes | bytearray, contract: Contract) -> InferRequest:
    """Read an inference request.

    Raises:
        ProtocolError: when it is not one, with the field at fault and what to send instead.
        SchemaError: when a column is missing or of another type.
    """
    document = _document(body)
    outputs = _outputs(document.get("outputs"), contract)
    tensors = _tensors(document.get("inputs"))
    rows = tensors[0].rows
    told, tensors = _told(tensors, contract)
    try:
        columns, extra = _inputs(tensors, rows, contract)
    except SchemaError as refusal:
        refusal.told = told
        raise
    return InferRequest(request_id(document), rows, columns, outputs, extra, told)


def request_id(document: Mapping[str, Any]) -> str | None:
    """The `id` of a request document.

    Raises:
        ProtocolError: when it is no printable string of at most `MAX_ID_LENGTH` characters.
    """
    value = document.get("id")
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_ID_LENGTH or not value.isprintable():
        raise ProtocolError(f"id: must be a printable string of at most {MAX_ID_LENGTH} characters")
    return value


def _document(body: bytes | bytearray) -> dict[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise ProtocolError(f"the body is over the limit of {MAX_BODY_BYTES} bytes; send fewer rows", 413)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = "; NaN and Infinity are not JSON, send null for a missing value" if b"NaN" in body or b"Infinity" in body else ""
        raise ProtocolError(f"the body is not JSON: {error}{hint}") from None
    if not isinstance(document, dict):
        raise ProtocolError("the body must be a JSON object with the field inputs")
    return document


def _outputs(wanted: Any, contract: Contract) -> tuple[str, ...]:
    if wanted is None or wanted == []:
        return contract.outputs
    if not isinstance(wanted, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in wanted):
        raise ProtocolError('outputs: must be a list of objects like {"name": "predict"}')
    names = {output["name"] for output in wanted}
    if unknown := sorted(names - set(contract.outputs)):
        raise ProtocolError(f"outputs: the model has no {_shown(unknown[0])}; it has {', '.join(contract.outputs)}")
    return tuple(name for name in contract.outputs if name in names)


def _tensors(inputs: Any) -> list[_Tensor]:
    if not isinstance(inputs, list) or not inputs:
        raise ProtocolError("inputs: must be a list of at least one tensor")
    if len(inputs) > MAX_INPUTS:
        raise ProtocolError(f"inputs: {len(inputs)} tensors are over the limit of {MAX_INPUTS}", 413)
    tensors = [_tensor(index, value) for index, value in enumerate(inputs)]
    names: set[str] = set()
    for tensor in tensors:
        if tensor.rows != tensors[0].rows:
            raise ProtocolError(f"{tensor.where}: has {tensor.rows} rows where {tensors[0].where} has {tensors[0].rows}")
        if tensor.name in names:
            raise ProtocolError(f"{tensor.where}: the name is given twice")
        names.add(tensor.name)
    return tensors


def _tensor(index: int, value: Any) -> _Tensor:
    if not isinstance(value, dict):
        raise ProtocolError(f"inputs[{index}]: must be an object with name, shape, datatype and data")
    name, datatype = value.get("name"), value.get("datatype")
    if not isinstance(name, str) or not name:
        raise ProtocolError(f"inputs[{index}].name: must be a non-empty string")
    try:
        if not isinstance(datatype, str) or datatype not in _ALLOWED:
            raise ProtocolError(f"datatype {_shown(datatype)} is unknown; known are {', '.join(sorted(_ALLOWED))}")
        rows, width = _shape(value.get("shape"))
        data = _flat(value.get("data"), rows, width)
        _check(data, datatype)
    except ProtocolError as error:
        raise ProtocolError(f"inputs[{index}] {_shown(name)}: {error}", error.status) from None
    return _Tensor(index, name, datatype, rows, width, data)


def _shape(shape: Any) -> tuple[int, int | None]:
    if not isinstance(shape, list) or len(shape) not in (1, 2) or any(type(n) is not int or n < 0 for n in shape):
        raise ProtocolError("shape must be [rows] or [rows, columns]")
    if 0 in shape:
        raise ProtocolError(f"shape {shape} has no rows")
    if shape[0] > MAX_ROWS:
        raise ProtocolError(f"{shape[0]} rows are over the limit of {MAX_ROWS}; send several requests", 413)
    return shape[0], shape[1] if len(shape) == 2 else None


def _flat(data: Any, rows: int, width: int | None) -> list[Any]:
    """The values of a tensor row by row; `data` is flat or a list of rows."""
    if not isinstance(data, list):
        raise ProtocolError("data must be a list")
    values: list[Any] = data
    columns = width or 1
    if data and isinstance(data[0], list):
        if len(data) != rows or any(not isinstance(row, list) or len(row) != columns for row in data):
            raise ProtocolError(f"nested data must be {rows} lists of {columns} values, as shape says")
        values = [value for row in data for value in row]
    if len(values) != rows * columns:
        shape = [rows] if width is None else [rows, width]
        raise ProtocolError(f"has {len(values)} values where shape {shape} wants {rows * columns}")
    return values


def _check(data: list[Any], datatype: str) -> None:
    """Hold every value to the datatype."""
    if wrong := set(map(type, data)) - _ALLOWED[datatype]:
        at = next(i for i, item in enumerate(data) if type(item) in wrong)
        raise ProtocolError(f"data[{at}] is {_shown(data[at])}, which is no {datatype}")
    if datatype in _RANGES:
        present = [value for value in data if value is not None] if None in data else data
        low, high = _RANGES[datatype]
        if present and (min(present) < low or max(present) > high):
            raise ProtocolError(f"a value is beyond {datatype}, which ends at {low} and {high}")


def _told(tensors: list[_Tensor], contract: Contract) -> tuple[Told | None, list[_Tensor]]:
    """The times of the rows, and the tensors that are the model's business. What is no column of times is read as none."""
    name = contract.event_time
    if name is None:
        return None, tensors
    others = tensors if name in contract.by_name else [tensor for tensor in tensors if tensor.name != name]
    found = next((tensor for tensor in tensors if tensor.name == name and tensor.width in (None, 1)), None)
    return None if found is None else Told(found.datatype, found.data), others


def _inputs(tensors: list[_Tensor], rows: int, contract: Contract) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The columns that the model knows, and the names of those that it does not."""
    if len(tensors) == 1 and _is_matrix(tensors[0], contract):
        return _matrix(tensors[0], contract), ()
    return _columns(tensors, rows, contract)


def _is_matrix(tensor: _Tensor, contract: Contract) -> bool:
    if tensor.width is None or tensor.name in contract.by_name:
        return False
    # A column under an unknown name is a missing column, not a matrix of one feature.
    return tensor.width > 1 or (contract.all_numeric and len(contract.features) == 1)


def _matrix(tensor: _Tensor, contract: Contract) -> dict[str, Array]:
    names = [feature.name for feature in contract.features]
    if not contract.all_numeric:
        raise ProtocolError(f"{tensor.where}: this model wants one tensor for each column: {_listed(names)}")
    if tensor.width != len(names):
        raise ProtocolError(f"{tensor.where}: has {tensor.width} columns; the model wants {len(names)}: {_listed(names)}")
    if tensor.datatype == "BYTES":
        raise SchemaError(f"{tensor.where}: datatype BYTES does not fit numeric columns; send FP64", tensor.rows, (), names)
    values: NDArray[np.float64] = np.array(tensor.data, dtype=np.float64).reshape(tensor.rows, len(names))
    return {name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(names)}


def _columns(tensors: list[_Tensor], rows: int, contract: Contract) -> tuple[dict[str, Array], tuple[str, ...]]:
    given = {tensor.name: tensor for tensor in tensors}
    if missing := [f.name for f in contract.features if f.name not in given]:
        raise SchemaError(f"inputs: no tensor for {_listed(missing)}; send null for values that are missing", rows, missing)
    if wrong := [(t, f) for f in contract.features if (t := given[f.name]).datatype not in _FITTING[f.kind][0]]:
        raise SchemaError("; ".join(_mismatch(t, f) for t, f in wrong[:5]), rows, (), [f.name for _, f in wrong])
    for tensor in tensors:
        if tensor.width not in (None, 1) and tensor.name in contract.by_name:
            raise ProtocolError(f"{tensor.where}: a column has shape [{rows}] or [{rows}, 1]")
    try:
        columns = from_lists({f.name: _values(given[f.name], f) for f in contract.features}, contract.features)
    except ColumnError as error:
        where = given[error.column].where if error.column in given else "inputs"
        raise SchemaError(f"{where}: {error}", rows, (), [error.column]) from None
    return columns, tuple(name for name in given if name not in contract.by_name)


def _values(tensor: _Tensor, feature: Column) -> Array | list[Any]:
    # What `_check` let through are numbers: numpy need not be told again, which it would be value by value.
    return np.array(tensor.data, dtype=np.float64) if feature.kind is ColumnKind.NUMERIC else tensor.data


def _mismatch(tensor: _Tensor, feature: Column) -> str:
    wanted = _FITTING[feature.kind][1]
    return f"{tensor.where}: datatype {tensor.datatype} does not fit the {feature.kind.value} column; send {wanted}"


def _listed(names: Sequence[str], limit: int = 20) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(_shown(name) for name in names[:limit]) + rest


def _shown(value: Any, limit: int = 64) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
