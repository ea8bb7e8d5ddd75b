"""scikit-learn to ONNX, accepted only when both answer alike on the whole holdout."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import onnx.helper
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from stationkeeper.api.manifest import Task
from stationkeeper.workloads.artifacts.columns import ModelInput
from stationkeeper.workloads.artifacts.runtime import INPUT_NUMERIC, INPUT_TEXT, OUTPUT_PROBABILITIES, Predictions

log = logging.getLogger(__name__)

PROBABILITY_TOLERANCE: Final = 1e-4
VALUE_TOLERANCE: Final = 1e-4  # relative to the value, or to 1 where that is larger
SHARE_ALIKE: Final = 0.999
_PATCHING = threading.Lock()


def convert(pipeline: Pipeline, task: Task, data: ModelInput) -> bytes | None:
    """The pipeline as ONNX, or None where the converter fails; `data` tells the width of the inputs."""
    inputs: list[tuple[str, Any]] = []
    if data.numeric.shape[1]:
        inputs.append((INPUT_NUMERIC, FloatTensorType([None, data.numeric.shape[1]])))
    if data.text.shape[1]:
        inputs.append((INPUT_TEXT, StringTensorType([None, data.text.shape[1]])))
    options = {id(pipeline): {"zipmap": False}} if hasattr(pipeline, "predict_proba") else {}
    try:
        with _integers_for_booleans(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = to_onnx(pipeline, initial_types=inputs, options=options)
        if task is not Task.REGRESSION and not hasattr(pipeline, "predict_proba"):
            # The converter gives raw scores under the name of probabilities; they are none.
            kept = [output for output in model.graph.output if output.name != OUTPUT_PROBABILITIES]
            del model.graph.output[:]
            model.graph.output.extend(kept)
        return bytes(model.SerializeToString())
    except Exception as error:  # converters fail in any way; skops is the fallback
        log.warning("no ONNX for %s: %s", type(pipeline[-1]).__name__, str(error).splitlines()[:1])
        return None


@contextlib.contextmanager
def _integers_for_booleans() -> Iterator[None]:
    """skl2onnx 1.20 hands a bool to an integer attribute for histogram gradient boosting, which onnx 1.23 refuses."""
    original = onnx.helper.make_attribute

    def coerced(key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool | np.bool_):
            value = int(value)
        elif isinstance(value, list | tuple | np.ndarray) and any(isinstance(v, bool | np.bool_) for v in value):
            value = [int(v) if isinstance(v, bool | np.bool_) else v for v in value]
        return original(key, value, *args, **kwargs)

    with _PATCHING:
        onnx.helper.make_attribute = coerced
        try:
            yield
        finally:
            onnx.helper.make_attribute = original


def difference(ours: Predictions, theirs: Predictions) -> str | None:
    """Why two sets of predictions of the same rows are not alike; None when they are.

    Alike: probabilities within 1e-4, values within 1e-4 of their size, each in at least 99.9 % of the rows; labels equal
    in as many, rows left aside whose two likeliest classes are so close that this tolerance decides.
    """
    if (ours.probabilities is None) != (theirs.probabilities is None):
        return "only one gives probabilities"
    if ours.values is not None and theirs.values is not None:
        near = np.abs(ours.values - theirs.values) <= VALUE_TOLERANCE * np.maximum(1, np.abs(ours.values))
        return _share("values", np.asarray(near))
    assert ours.labels is not None
    assert theirs.labels is not None
    decided = np.ones(len(ours.labels), dtype=bool)
    if ours.probabilities is not None and theirs.probabilities is not None:
        near = np.asarray((np.abs(ours.probabilities - theirs.probabilities) <= PROBABILITY_TOLERANCE).all(axis=1))
        if said := _share("probabilities", near):
            return said
        top = np.sort(ours.probabilities, axis=1)
        decided = top[:, -1] - top[:, -2] > 2 * PROBABILITY_TOLERANCE
    wrong = int((decided & (ours.labels != theirs.labels)).sum())
    # A row in a thousand may fall on the other side of a split, by float32; its label then differs with it.
    return f"labels differ in {wrong} rows" if wrong > (1 - SHARE_ALIKE) * len(decided) else None


def _share(what: str, alike: NDArray[np.bool_]) -> str | None:
    share = float(alike.mean()) if alike.size else 1.0
    return None if share >= SHARE_ALIKE else f"{what} agree in {share:.2%} of the rows"
