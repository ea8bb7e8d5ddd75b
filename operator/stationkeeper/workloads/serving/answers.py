"""Predictions as Open Inference Protocol v2 responses, metadata and error bodies. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from stationkeeper.api.jobs import RevisionIdentity
from stationkeeper.api.manifest import Column, ColumnKind, Manifest, Task
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.serving.protocol import PREDICT, PREDICT_PROBA

_LABEL_TYPES = {"string": "BYTES", "integer": "INT64", "boolean": "BOOL"}
_PLATFORMS = {"onnx": "onnx_onnxruntime", "skops": "sklearn_skops", "xgboost": "xgboost_json", "lightgbm": "lightgbm_text"}
_COLUMN_TYPES = {ColumnKind.NUMERIC: "FP64", ColumnKind.CATEGORICAL: "BYTES", ColumnKind.BOOLEAN: "BOOL"}


class Renderer:
    """Writes the responses of one revision."""

    def __init__(self, name: str, revision: RevisionIdentity, manifest: Manifest, outputs: Sequence[str]) -> None:
        self.name = name
        self.version = str(revision.number)
        self._manifest = manifest
        self._outputs = outputs
        self.datatype = "FP64" if manifest.task is Task.REGRESSION else _LABEL_TYPES[manifest.class_kind]
        self._parameters: dict[str, Any] = {"revision": revision.number, "digest": revision.digest}
        if manifest.classes:
            self._parameters["classes"] = manifest.classes
        self._values: dict[Any, Any] = {name: class_value(name, manifest.class_kind) for name in manifest.classes}

    def response(self, request_id: str, answers: Predictions, outputs: Sequence[str]) -> bytes:
        """The body of a successful inference; a number that is not finite becomes null."""
        document = {
            "model_name": self.name,
            "model_version": self.version,
            "id": request_id,
            "parameters": self._parameters,
            "outputs": [self._output(name, answers) for name in outputs],
        }
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    def _output(self, name: str, answers: Predictions) -> dict[str, Any]:
        if name == PREDICT_PROBA:
            assert answers.probabilities is not None
            flat = np.ascontiguousarray(answers.probabilities).reshape(-1)
            return {"name": name, "datatype": "FP64", "shape": answers.probabilities.shape, "data": flat}
        if answers.values is not None:
            return {"name": name, "datatype": self.datatype, "shape": answers.values.shape, "data": answers.values}
        assert answers.labels is not None
        data = [self._values.get(label, label) for label in answers.labels.tolist()]
        return {"name": name, "datatype": self.datatype, "shape": [len(data)], "data": data}

    def metadata(self) -> bytes:
        """The body of the model's metadata."""
        outputs: list[dict[str, Any]] = [{"name": PREDICT, "datatype": self.datatype, "shape": [-1]}]
        if PREDICT_PROBA in self._outputs:
            outputs.append({"name": PREDICT_PROBA, "datatype": "FP64", "shape": [-1, len(self._manifest.classes)]})
        document = {
            "name": self.name,
            "versions": [self.version],
            "platform": _PLATFORMS[self._manifest.format],
            "inputs": [_input(feature) for feature in self._manifest.features],
            "outputs": outputs,
            "parameters": self._parameters,
        }
        return orjson.dumps(document)


def _input(feature: Column) -> dict[str, Any]:
    return {"name": feature.name, "datatype": _COLUMN_TYPES[feature.kind], "shape": [-1]}


def class_value(name: str, kind: str) -> str | int | bool:
    """A class as responses have it: of the kind that the target had."""
    if kind == "integer":
        return int(name)
    return name.lower() == "true" if kind == "boolean" else name


def error(message: str) -> bytes:
    """The body of an error."""
    return orjson.dumps({"error": message})
