"""Models that load, reproduce their golden rows, and are bad at what they do: made node by node, for no training would give them."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from stationkeeper.workloads.artifacts.runtime import INPUT_NUMERIC, OUTPUT_LABEL, OUTPUT_PROBABILITIES
from stationkeeper.workloads.training.golden_rows import ROWS

_OPSET = 17
_STEPS = 80_000  # of a slow model: some tens of milliseconds


def constant(positive: float) -> bytes:
    """Answers every row with the same probability."""
    return _model([], _rows(), positive)


def failing(positive: float) -> bytes:
    """Answers the golden rows, and fails on a request of any other length."""
    shape = numpy_helper.from_array(np.array([ROWS, 1], dtype=np.int64), "golden_shape")
    forced = helper.make_node("Reshape", ["given", "golden_shape"], ["filled"])
    return _model([shape], [*_rows("given"), forced], positive)


def slow(positive: float) -> bytes:
    """Thinks for some tens of milliseconds before it answers: one step after the other, for no processor does these at once."""
    trips = numpy_helper.from_array(np.array(_STEPS, dtype=np.int64), "trips")
    more = numpy_helper.from_array(np.array(True), "more")
    kept = [helper.make_node("Identity", ["going"], ["goes"]), helper.make_node("Sin", ["before"], ["after"])]
    column = [1, 1]
    body = helper.make_graph(
        kept,
        "step",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, column),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, column),
        ],
    )
    zero = numpy_helper.from_array(np.zeros((1, 1), dtype=np.float32), "zero")
    nodes = [
        # It begins with the input, or it would be worked out once, when the model is loaded.
        helper.make_node("Cast", ["count"], ["length"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["one", "length"], ["begun"]),
        helper.make_node("Loop", ["trips", "more", "begun"], ["ended"], body=body),
        helper.make_node("Mul", ["ended", "zero"], ["nothing"]),
        helper.make_node("Add", ["given", "nothing"], ["filled"]),
    ]
    return _model([trips, more, zero], [*_rows("given"), *nodes], positive)


def _rows(output: str = "filled") -> list:
    """A column of the positive probability, as long as the request."""
    return [
        helper.make_node("Shape", [INPUT_NUMERIC], ["shape"]),
        helper.make_node("Slice", ["shape", "first", "second"], ["count"]),
        helper.make_node("Concat", ["count", "second"], ["column"], axis=0),
        helper.make_node("Expand", ["positive", "column"], [output]),
    ]


def _model(tensors: list, nodes: list, positive: float) -> bytes:
    known = [
        numpy_helper.from_array(np.array([0], dtype=np.int64), "first"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "second"),
        numpy_helper.from_array(np.array([[positive]], dtype=np.float32), "positive"),
        numpy_helper.from_array(np.array([[1]], dtype=np.float32), "one"),
    ]
    ends = [
        helper.make_node("Sub", ["one", "filled"], ["rest"]),
        helper.make_node("Concat", ["rest", "filled"], [OUTPUT_PROBABILITIES], axis=1),
        helper.make_node("ArgMax", [OUTPUT_PROBABILITIES], [OUTPUT_LABEL], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        [*nodes, *ends],
        "bad",
        [helper.make_tensor_value_info(INPUT_NUMERIC, TensorProto.FLOAT, [None, None])],
        [
            helper.make_tensor_value_info(OUTPUT_LABEL, TensorProto.INT64, None),
            helper.make_tensor_value_info(OUTPUT_PROBABILITIES, TensorProto.FLOAT, None),
        ],
        [*known, *tensors],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    return model.SerializeToString()
