"""The signature of an ONNX file: one input for all columns, or one for each, or one for each type."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import onnx

from stationkeeper.api.manifest import Binding, Column, ColumnKind, TensorInput
from stationkeeper.api.source import Source
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.foreign import text_of
from stationkeeper.workloads.artifacts.runtime import onnx_session
from stationkeeper.workloads.imports.signature import Answer, ClassKind, Signature, column, mismatch, signature, unusable

_FLOATS: Final = ("float", "double", "float16")
_TYPES: Final = (*_FLOATS, "int64", "int32", "bool", "string")
_LABELS: Final = ("int64", "int32", "string", "bool")
_NAMES: Final = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


def read(source: Source, data: bytes) -> Signature:
    """What an ONNX file is asked and answers.

    Raises:
        AttemptEnded: InvalidData with InvalidModel or SignatureMismatch.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # of protobuf, which has no public base for them
        raise unusable(f"{source.uri} is not ONNX: {_line(error)}") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise unusable(f"{source.uri} keeps its weights in other files; save it with all of them inside")
    try:
        session = onnx_session(data)
    except MalformedArtifact as error:
        raise unusable(f"{source.uri}: {_line(error)}") from error
    inputs = [_Input.of(tensor) for tensor in session.get_inputs()]
    features, bound = _columns(source, inputs)
    label, scores, answer = _answers(source, session.get_outputs(), model.graph)
    return signature(source, features, Binding(inputs=bound, label=label, scores=scores), answer)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _tensors(model: Any) -> Iterator[Any]:
    """Every constant of a model: of its graph, of the graphs inside that, and of its functions."""
    graphs, nodes = [model.graph], [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            yield from (part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))
            nodes += graph.node
        for attribute in (attribute for node in nodes for attribute in node.attribute):
            yield from (attribute.t, attribute.sparse_tensor.values, *attribute.tensors)
            graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
        nodes = []


class _Input:
    """An input of the model: its type, and how many columns it takes; None where the file leaves that open."""

    def __init__(self, name: str, type_: str, width: int | None, *, flat: bool) -> None:
        self.name = name
        self.type = type_
        self.width = width
        self.flat = flat

    @classmethod
    def of(cls, tensor: Any) -> "_Input":
        kind = tensor.type.removeprefix("tensor(").removesuffix(")")
        if kind not in _TYPES or len(tensor.shape) not in (1, 2):
            raise mismatch(
                f"the input {tensor.name!r} is {tensor.type} of shape {tensor.shape}; rows of columns can fill tensors of "
                f"{', '.join(_TYPES)} of shape [rows] or [rows, columns]"
            )
        if isinstance(tensor.shape[0], int) and tensor.shape[0] > 0:
            raise mismatch(f"the input {tensor.name!r} takes exactly {tensor.shape[0]} rows; export it for any number of them")
        flat = len(tensor.shape) == 1
        width = 1 if flat else tensor.shape[1] if isinstance(tensor.shape[1], int) else None
        return cls(tensor.name, kind, width, flat=flat)

    @property
    def kind(self) -> tuple[ColumnKind, bool]:
        """Of its columns, and whether they hold whole numbers only."""
        if self.type == "string":
            return ColumnKind.CATEGORICAL, False
        return (ColumnKind.BOOLEAN, False) if self.type == "bool" else (ColumnKind.NUMERIC, self.type not in _FLOATS)

    def bound(self, columns: Sequence[Column]) -> TensorInput:
        return TensorInput.model_validate(
            {"name": self.name, "type": self.type, "columns": [c.name for c in columns], "flat": self.flat}
        )

    def takes(self, feature: Column) -> bool:
        """Whether a column can fill it: text and booleans as text where there is no other place for them."""
        if self.type == "string":
            return feature.kind is not ColumnKind.NUMERIC
        return feature.kind is not ColumnKind.CATEGORICAL


def _columns(source: Source, inputs: list[_Input]) -> tuple[list[Column], list[TensorInput]]:
    if not inputs:
        raise unusable(f"{source.uri} has no input")
    if source.features is None:
        return _declared(inputs)
    features = [column(feature) for feature in source.features]
    by_name = {feature.name: feature for feature in features}
    if set(by_name) == {i.name for i in inputs} and all(i.width in (1, None) for i in inputs):
        return features, [_fitting(i, [by_name[i.name]]) for i in inputs]
    return features, _filled(inputs, features)


def _declared(inputs: list[_Input]) -> tuple[list[Column], list[TensorInput]]:
    """The columns as the inputs themselves name them."""
    features: list[Column] = []
    bound = []
    for tensor in inputs:
        if tensor.width is None:
            raise mismatch(f"the input {tensor.name!r} does not say how many columns it takes; list source.features")
        kind, integer = tensor.kind
        alone = len(inputs) == 1
        names = [tensor.name] if tensor.width == 1 else [f"f{i}" if alone else f"{tensor.name}_{i}" for i in range(tensor.width)]
        mine = [Column(name=name, kind=kind, integer=integer) for name in names]
        features += mine
        bound.append(tensor.bound(mine))
    return features, bound


def _filled(inputs: list[_Input], features: list[Column]) -> list[TensorInput]:
    """The columns of the spec, in their order, into the inputs that take their type, in theirs."""
    left = list(features)
    bound = []
    for tensor in inputs:
        mine = [feature for feature in left if tensor.takes(feature) and not _belongs(feature, tensor, inputs)]
        if tensor.width is not None:
            mine = mine[: tensor.width]
        if not mine or (tensor.width is not None and len(mine) < tensor.width):
            raise mismatch(f"the input {tensor.name!r} takes {tensor.width or 'some'} columns of {tensor.type}, and "
                           f"source.features lists {len(mine)} for it")  # fmt: skip
        left = [feature for feature in left if feature not in mine]
        bound.append(_fitting(tensor, mine))
    if left:
        raise mismatch(f"the file has no input for the column {left[0].name!r} of source.features")
    return bound


def _belongs(feature: Column, tensor: _Input, inputs: list[_Input]) -> bool:
    """Whether another input than this is the place for a boolean: one of booleans, else one of text, else one of numbers."""
    if feature.kind is not ColumnKind.BOOLEAN:
        return False
    types = {i.type for i in inputs}
    best = next((t for t in ("bool", "string") if t in types), None)
    return best is not None and tensor.type != best


def _fitting(tensor: _Input, columns: Sequence[Column]) -> TensorInput:
    wrong = next((c for c in columns if not tensor.takes(c) or (tensor.type == "bool" and c.kind is ColumnKind.NUMERIC)), None)
    if wrong is not None:
        raise mismatch(
            f"the input {tensor.name!r} takes {tensor.type}, and source.features says that {wrong.name!r} is {wrong.kind}"
        )
    return tensor.bound(columns)


def _answers(source: Source, outputs: Sequence[Any], graph: Any) -> tuple[str | None, str | None, Answer]:
    """The outputs with labels and with scores, and what they mean."""
    labels = [o for o in outputs if o.type in {f"tensor({t})" for t in _LABELS}]
    scores = [o for o in outputs if o.type in {f"tensor({t})" for t in _FLOATS} or o.type.startswith("seq(map(")]
    if len(labels) > 1 or len(scores) > 1 or not (labels or scores):
        shown = ", ".join(f"{o.name} {o.type}" for o in outputs)[:300]
        raise mismatch(f"the file must answer with one output of labels, of probabilities or values, or of both; it has {shown}")
    label, score = next(iter(labels), None), next(iter(scores), None)
    names, kind = _class_names(graph)
    if names is None and label is not None and label.type == "tensor(string)":
        if source.classes is None:
            raise mismatch("the file does not name its classes; list source.classes in the order of its probabilities")
        names = list(source.classes)
    width = _width(score)
    # A single column of numbers is a value, or the probability of one class: only the spec can tell.
    classifies = label is not None or (width or 1) > 1 or (score is not None and score.type.startswith("seq("))
    answer = Answer(classifies, names if classifies else None, kind, 2 if width == 1 else width)
    return label.name if label else None, score.name if score else None, answer


def _width(score: Any) -> int | None:
    """How many scores a row gets, where the file says it."""
    if score is None or not score.type.startswith("tensor(") or len(score.shape) != 2:
        return None
    return score.shape[1] if isinstance(score.shape[1], int) else None


def _class_names(graph: Any) -> tuple[list[str] | None, ClassKind]:
    """The classes as the last node that knows any names them."""
    for node in reversed(graph.node):
        for attribute in node.attribute:
            if attribute.name in _NAMES and (attribute.strings or attribute.ints):
                kind: ClassKind = "string" if attribute.strings else "integer"
                return [text_of(value) for value in attribute.strings or attribute.ints], kind
    return None, "integer"
