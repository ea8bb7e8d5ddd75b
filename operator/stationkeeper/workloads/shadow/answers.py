"""What a candidate answered, in the columns that captured rows have. Pure."""

from typing import Any

import numpy as np
import orjson
import polars as pl

from stationkeeper.api.manifest import Manifest, Task
from stationkeeper.workloads.artifacts.outputs import LABEL, PROBABILITY, VALUE, positive, probability_of
from stationkeeper.workloads.serving.answers import class_value
from stationkeeper.workloads.serving.protocol import PREDICT, PREDICT_PROBA


class NoAnswerError(Exception):
    """The body of an answer is not what the protocol says."""


def answers(body: bytes, manifest: Manifest, rows: int) -> pl.DataFrame:
    """The answers to a request of `rows` rows, a row for each.

    Raises:
        NoAnswerError: when the body is no answer of a revision with this manifest to so many rows.
    """
    try:
        outputs = {output["name"]: output for output in orjson.loads(body)["outputs"]}
        columns = _columns(outputs, manifest, rows)
        return pl.DataFrame(columns)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError, pl.exceptions.PolarsError) as error:
        raise NoAnswerError(f"no answer of the protocol: {type(error).__name__}: {error}") from error


def _columns(outputs: dict[str, Any], manifest: Manifest, rows: int) -> dict[str, Any]:
    predicted = outputs[PREDICT]["data"]
    if len(predicted) != rows:
        raise ValueError(f"{len(predicted)} answers to {rows} rows")
    if manifest.task is Task.REGRESSION:
        return {VALUE: np.array(predicted, dtype=np.float64)}
    names = {class_value(name, manifest.class_kind): name for name in manifest.classes}
    columns: dict[str, Any] = {LABEL: [names[value] for value in predicted]}
    if PREDICT_PROBA not in outputs:
        return columns
    table = np.array(outputs[PREDICT_PROBA]["data"], dtype=np.float64).reshape(rows, len(manifest.classes))
    if manifest.task is Task.BINARY:
        columns[PROBABILITY] = table[:, manifest.classes.index(positive(manifest))]
    return columns | {probability_of(name): table[:, i] for i, name in enumerate(manifest.classes)}
