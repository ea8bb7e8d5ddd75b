"""Loading a revision's model and predicting with it, the same way in serving and in evaluation.

Two formats, neither of which can execute code when loaded: ONNX on ONNX Runtime, and skops. Both answer with the class
labels of the manifest: inside, models know classes by their position only.
"""

import io
import zipfile
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from stationkeeper.api.manifest import FILE_ONNX, FILE_SKOPS, Column, Task
from stationkeeper.workloads.artifacts.columns import Array, Columns, ModelInput, model_input
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.trusted import TRUSTED

INPUT_NUMERIC: Final = "numeric"
INPUT_TEXT: Final = "text"
OUTPUT_LABEL: Final = "label"
OUTPUT_PROBABILITIES: Final = "probabilities"
_MAX_UNPACKED = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers for n rows.

    labels: object array of n class labels (`str`), for classifiers.
    probabilities: float64 of shape (n, classes), in the order of `Manifest.classes`; None where the model has none.
    values: float64 of shape (n,), for regressors.
    """

    labels: Array | None = None
    probabilities: NDArray[np.float64] | None = None
    values: NDArray[np.float64] | None = None


class Meaning(Protocol):
    """What a model's inputs and answers mean: its manifest, or the schema that becomes one."""

    @property
    def task(self) -> Task:
        """See `Task`."""

    @property
    def features(self) -> list[Column]:
        """The columns, in the order of the model's input."""

    @property
    def classes(self) -> list[str]:
        """Class labels in the order of the probabilities."""


class Predictor(Protocol):
    """A loaded model."""

    meaning: Meaning

    def predict(self, columns: Columns) -> Predictions:
        """Answer for columns as `artifacts.columns` describes them; columns that are no features are ignored.

        Raises:
            ColumnError: when a feature is missing.
        """
        ...

    def answer(self, data: ModelInput) -> Predictions:
        """Answer for the matrices that the columns become."""
        ...


def onnx_session(data: bytes) -> onnxruntime.InferenceSession:
    """ONNX Runtime on one thread.

    Raises:
        MalformedArtifact: when it cannot load the bytes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        raise MalformedArtifact(f"{FILE_ONNX} cannot be loaded: {error}") from error


class OnnxPredictor:
    """A model on ONNX Runtime. One thread: replicas are how serving scales, and small batches gain nothing from more."""

    def __init__(self, meaning: Meaning, data: bytes) -> None:
        self.meaning = meaning
        self._session = onnx_session(data)
        self._inputs = {i.name for i in self._session.get_inputs()}
        self._outputs = [o.name for o in self._session.get_outputs()]

    def predict(self, columns: Columns) -> Predictions:
        """See `Predictor.predict`."""
        return self.answer(model_input(columns, self.meaning.features))

    def answer(self, data: ModelInput) -> Predictions:
        """See `Predictor.answer`."""
        feed = {INPUT_NUMERIC: data.numeric, INPUT_TEXT: data.text}
        answers = self._session.run(self._outputs, {name: value for name, value in feed.items() if name in self._inputs})
        if self.meaning.task is Task.REGRESSION:
            return Predictions(values=answers[0].astype(np.float64).reshape(-1))
        named = dict(zip(self._outputs, answers, strict=True))
        return classified(self.meaning.classes, named[OUTPUT_LABEL], named.get(OUTPUT_PROBABILITIES))


class SklearnPredictor:
    """A scikit-learn pipeline: the fallback where ONNX has no conversion or another result."""

    def __init__(self, meaning: Meaning, pipeline: Any) -> None:
        self.meaning = meaning
        self._pipeline = pipeline

    def predict(self, columns: Columns) -> Predictions:
        """See `Predictor.predict`."""
        return self.answer(model_input(columns, self.meaning.features))

    def answer(self, data: ModelInput) -> Predictions:
        """See `Predictor.answer`. The pipeline's classes are positions in the list of classes."""
        frame, pipeline = data.frame(), self._pipeline
        if self.meaning.task is Task.REGRESSION:
            return Predictions(values=np.asarray(pipeline.predict(frame), dtype=np.float64).reshape(-1))
        probabilities = pipeline.predict_proba(frame) if hasattr(pipeline, "predict_proba") else None
        # The label of almost every classifier is the likeliest class, but not of all: ask it.
        return classified(self.meaning.classes, pipeline.predict(frame), probabilities)


def classified(classes: list[str], positions: Array, probabilities: Array | None) -> Predictions:
    """Predictions from class positions."""
    labels = np.array(classes, dtype=object)[np.asarray(positions, dtype=np.int64).reshape(-1)]
    return Predictions(labels=labels, probabilities=None if probabilities is None else np.asarray(probabilities, np.float64))


def dump_skops(pipeline: Any) -> bytes:
    """A fitted pipeline as skops bytes."""
    import skops.io  # brings scikit-learn, scipy and pandas: serving ONNX needs none of them

    return bytes(skops.io.dumps(pipeline))


def load_skops(data: bytes) -> Any:
    """Load a pipeline of trusted types only.

    Raises:
        MalformedArtifact: when the bytes are no skops archive (a pickle, say) or name types that are not trusted.
    """
    import skops.io

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_UNPACKED:
            raise MalformedArtifact(f"{FILE_SKOPS} would unpack to {size} bytes")
        foreign = sorted(set(skops.io.get_untrusted_types(data=data)) - TRUSTED)
        if foreign:
            raise MalformedArtifact(f"{FILE_SKOPS} holds types that are not trusted: {', '.join(foreign)[:300]}")
        return skops.io.loads(data, trusted=sorted(TRUSTED))
    except MalformedArtifact:
        raise
    except Exception as error:  # any way in which a hostile or torn archive can fail
        raise MalformedArtifact(f"{FILE_SKOPS} is not a skops archive of a model: {type(error).__name__}: {error}") from error
