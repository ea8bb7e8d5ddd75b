"""What is a request and what is not, as tables."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.serving import protocol
from stationkeeper.workloads.serving.protocol import Contract, ProtocolError, SchemaError, parse
from tests.unit.workloads.serving.published import FEATURES, inputs

NUMBERS = [Column(name=name, kind=ColumnKind.NUMERIC) for name in ("a", "b")]


def contract(features: list[Column], outputs: tuple[str, ...] = ("predict", "predict_proba")) -> Contract:
    numeric = all(f.kind is ColumnKind.NUMERIC for f in features)
    return Contract(tuple(features), {f.name: f for f in features}, numeric, outputs)


MIXED = contract(FEATURES)
MATRIX = contract(NUMBERS)


def body(tensors: Any, **fields: Any) -> bytes:
    return json.dumps({"inputs": tensors, **fields}).encode()


def tensor(name: str = "x", shape: Any = (1,), datatype: Any = "FP64", data: Any = (1.0,), **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": list(data), **more}


def test_columns_become_arrays_of_their_kind() -> None:
    request = parse(body(inputs(distance=[1, None], hour=[3, 4], carrier=["AA", None], night=[True, None]), id="r1"), MIXED)
    assert request.id == "r1"
    assert request.rows == 2
    assert request.columns["distance"].dtype == np.float64
    np.testing.assert_array_equal(request.columns["distance"], [1.0, np.nan])
    assert request.columns["carrier"].tolist() == ["AA", None]
    assert request.columns["night"].tolist() == ["true", None]
    assert request.outputs == ("predict", "predict_proba")


@pytest.mark.parametrize(
    "datatype", ["FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"]
)
def test_a_numeric_column_takes_numbers_of_any_datatype(datatype: str) -> None:
    tensors = [tensor("a", [2], datatype, [1, None]), tensor("b", [2, 1], datatype, [[3], [4]])]
    columns = parse(body(tensors), MATRIX).columns
    np.testing.assert_array_equal(columns["a"], [1, np.nan])
    np.testing.assert_array_equal(columns["b"], [3, 4])


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]], ids=["flat", "nested"])
def test_a_matrix_is_columns_in_the_manifests_order(data: list[Any]) -> None:
    columns = parse(body([tensor("input-0", [2, 2], "FP32", data)]), MATRIX).columns
    assert {name: values.tolist() for name, values in columns.items()} == {"a": [1, 3], "b": [2, 4]}


def test_a_matrix_of_one_feature_has_any_name() -> None:
    one = contract(NUMBERS[:1])
    assert parse(body([tensor("whatever", [2, 1], data=[1, 2])]), one).columns["a"].tolist() == [1, 2]


def test_unknown_columns_are_ignored_and_named() -> None:
    request = parse(body([*inputs(), tensor("surprise"), tensor("pair", [1, 2], data=[1, 2])]), MIXED)
    assert request.extra == ("surprise", "pair")
    assert set(request.columns) == {"distance", "hour", "carrier", "night"}


def test_outputs_select() -> None:
    assert parse(body(inputs(), outputs=[{"name": "predict_proba"}]), MIXED).outputs == ("predict_proba",)
    assert parse(body(inputs(), outputs=[]), MIXED).outputs == ("predict", "predict_proba")


DEEP = b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "not UTF-8": (b"\xff\xfe", "not JSON"),
    "deep": (DEEP, "not JSON"),
    "NaN": (b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[NaN]}]}', "send null for a missing value"),
    "beyond double": (b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1e999]}]}', "not JSON"),
    "no object": (b"[1]", "must be a JSON object"),
    "no inputs": (b"{}", "inputs: must be a list"),
    "no tensor": (body([]), "at least one tensor"),
    "inputs is an object": (body({"a": 1}), "inputs: must be a list"),
    "tensor is a number": (body([1]), "inputs[0]: must be an object"),
    "no name": (body([{"shape": [1], "datatype": "FP64", "data": [1]}]), "inputs[0].name"),
    "name is a list": (body([tensor(["a"])]), "inputs[0].name"),  # type: ignore[arg-type]
    "unknown datatype": (body([tensor(datatype="FLOAT")]), "'FLOAT' is unknown"),
    "datatype is a list": (body([tensor(datatype=[])]), "is unknown"),
    "no shape": (body([{"name": "a", "datatype": "FP64", "data": [1]}]), "shape must be"),
    "negative": (body([tensor(shape=[-1])]), "shape must be"),
    "boolean size": (body([tensor(shape=[True])]), "shape must be"),
    "three dimensions": (body([tensor(shape=[1, 1, 1])]), "shape must be"),
    "no rows": (body([tensor(shape=[0], data=[])]), "has no rows"),
    "no columns": (body([tensor(shape=[1, 0], data=[])]), "has no rows"),
    "too few values": (body([tensor(shape=[3])]), "has 1 values where shape [3] wants 3"),
    "too many values": (body([tensor("a", [1], data=[1, 2])]), "has 2 values"),
    "ragged": (body([tensor("x", [2, 2], data=[[1, 2], [3]])]), "nested data must be 2 lists of 2 values"),
    "half nested": (body([tensor("x", [2], data=[[1], 2])]), "nested data must be"),
    "too deep": (body([tensor("x", [1, 1], data=[[[1]]])]), "data[0] is [1], which is no FP64"),
    "data is text": (body([{"name": "a", "shape": [1], "datatype": "FP64", "data": "1"}]), "data must be a list"),
    "text in numbers": (body([tensor("a", data=["1.5"])]), "data[0] is '1.5', which is no FP64"),
    "boolean in numbers": (body([tensor("a", data=[True])]), "which is no FP64"),
    "fraction in integers": (body([tensor("a", datatype="INT64", data=[1.5])]), "which is no INT64"),
    "beyond the datatype": (body([tensor("a", datatype="INT8", data=[128])]), "beyond INT8"),
    "below the datatype": (body([tensor("a", datatype="UINT64", data=[-1])]), "beyond UINT64"),
    "object in data": (body([tensor("a", data=[{}])]), "which is no FP64"),
    "rows differ": (body([tensor("a"), tensor("b", [2], data=[1, 2])]), "inputs[1] 'b': has 2 rows where inputs[0] 'a' has 1"),
    "twice": (body([tensor("a"), tensor("a")]), "given twice"),
    "id is a number": (body([tensor("a"), tensor("b")], id=7), "id: must be"),
    "id breaks lines": (body([tensor("a"), tensor("b")], id="a\r\nx: y"), "id: must be"),
    "unknown output": (body([tensor("a"), tensor("b")], outputs=[{"name": "shap"}]), "outputs: the model has no 'shap'"),
    "outputs is text": (body([tensor("a"), tensor("b")], outputs="predict"), "outputs: must be"),
    "matrix too narrow": (body([tensor("m", [1, 3], data=[1, 2, 3])]), "has 3 columns; the model wants 2: 'a', 'b'"),
    "wide column": (body([tensor("a", [1, 2], data=[1, 2]), tensor("b")]), "a column has shape [1] or [1, 1]"),
}


@pytest.mark.parametrize(("request_body", "says"), BAD.values(), ids=BAD.keys())
def test_a_bad_request_is_told_what_is_wrong(request_body: bytes, says: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(request_body, MATRIX)
    assert says in str(caught.value)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 1000


def test_limits_are_413() -> None:
    for huge in (
        b" " * (protocol.MAX_BODY_BYTES + 1),
        body([tensor(shape=[10**15])]),
        body([tensor(shape=[protocol.MAX_ROWS + 1])]),
        body([{}] * (protocol.MAX_INPUTS + 1)),
    ):
        with pytest.raises(ProtocolError) as caught:
            parse(huge, MATRIX)
        assert caught.value.status == 413


def test_a_missing_column_is_refused_and_counted() -> None:
    with pytest.raises(SchemaError) as caught:
        parse(body(inputs(distance=[1, 2], hour=[1, 2], carrier=None, night=None)), MIXED)
    assert (caught.value.missing, caught.value.mismatched, caught.value.rows) == (("carrier", "night"), (), 2)
    assert "no tensor for 'carrier', 'night'" in str(caught.value)


@pytest.mark.parametrize(
    ("index", "datatype", "data", "says"),
    [
        (0, "BYTES", ["far"], "inputs[0] 'distance': datatype BYTES does not fit the numeric column; send FP64"),
        (2, "FP64", [1.0], "inputs[2] 'carrier': datatype FP64 does not fit the categorical column; send BYTES"),
        (3, "INT64", [1], "inputs[3] 'night': datatype INT64 does not fit the boolean column; send BOOL"),
        (3, "BYTES", ["perhaps"], "wants true or false"),
    ],
)
def test_a_mismatched_column_is_refused_and_counted(index: int, datatype: str, data: list[Any], says: str) -> None:
    tensors = inputs()
    tensors[index] |= {"datatype": datatype, "data": data}
    with pytest.raises(SchemaError) as caught:
        parse(body(tensors), MIXED)
    assert says in str(caught.value)
    assert (caught.value.missing, caught.value.mismatched, caught.value.rows) == ((), (tensors[index]["name"],), 1)


def test_a_text_matrix_counts_as_mismatch_of_every_column() -> None:
    with pytest.raises(SchemaError) as caught:
        parse(body([tensor("m", [1, 2], "BYTES", ["1", "2"])]), MATRIX)
    assert caught.value.mismatched == ("a", "b")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data", "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)
TENSORS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "c"]),
            "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
            "datatype": st.sampled_from(["FP64", "INT8", "BYTES", "BOOL", "X"]) | JSON,
            "data": st.lists(JSON, max_size=4) | JSON,
        }
    ),
    max_size=3,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines of tests are busy
@given(TENSORS | JSON, st.sampled_from([MIXED, MATRIX]))
def test_whatever_comes_is_a_request_or_a_protocol_error(tensors: Any, asked: Contract) -> None:
    try:
        request = parse(orjson.dumps({"inputs": tensors}), asked)
    except ProtocolError as refusal:
        status, lengths = refusal.status, set()
    else:
        status, lengths = 200, {len(values) for values in request.columns.values()} - {request.rows}
    assert status in (200, 400, 413)
    assert not lengths
