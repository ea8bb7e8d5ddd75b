"""Models that were made elsewhere, asked as they want to be asked: the manifest's `Binding` says how.

They are given the columns as they came, in double precision where they take it: nothing is known of how they were trained. A
class is what the model itself calls it, or the likeliest where it gives probabilities alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Binding, Column, ColumnKind, Task, TensorInput
from stationkeeper.workloads.artifacts import boosters
from stationkeeper.workloads.artifacts.columns import Array, ColumnError, Columns, ModelInput, is_numeric
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.runtime import Meaning, Predictions, Predictor, load_skops, onnx_session

_NUMBERS: Final = {
    "float": np.float32, "double": np.float64, "float16": np.float16, "int64": np.int64, "int32": np.int32,
}  # fmt: skip
_TRUE: Final = "true"
_BINARY: Final = 2


class _Model(Protocol):
    """A loaded model: labels as it says them, and probabilities (rows, classes), positive ones (rows,), or values."""

    def ask(self, columns: Columns) -> tuple[Array | None, Array | None]:
        """Labels and scores, as far as it gives them."""
        ...


class ForeignPredictor:
    """A `Predictor` of a model that was made elsewhere."""

    def __init__(self, meaning: Meaning, binding: Binding, model: _Model) -> None:
        self.meaning = meaning
        self._model = model
        self._position = {label: position for position, label in enumerate(binding.labels)}

    def predict(self, columns: Columns) -> Predictions:
        """See `Predictor.predict`.

        Raises:
            ColumnError: when a column is missing, or holds what the model cannot take.
            ValueError: when the model answers otherwise than its binding says.
        """
        for feature in self.meaning.features:
            if feature.name not in columns:
                raise ColumnError(feature.name, "is missing")
        try:
            labels, scores = self._model.ask(columns)
        except Exception:  # whatever a library raises on it
            self._refuse_missing(columns)
            raise
        if scores is not None and not np.isfinite(scores).all():
            self._refuse_missing(columns)
        if self.meaning.task is Task.REGRESSION:
            return Predictions(values=np.asarray(scores, dtype=np.float64).reshape(-1))
        probabilities = None if scores is None else self._probabilities(np.asarray(scores, dtype=np.float64))
        return Predictions(self._labels(labels, probabilities), probabilities)

    def _refuse_missing(self, columns: Columns) -> None:
        """Blame what is missing, where the import has found that the model does not answer without it.

        Raises:
            ColumnError: when such a value is missing; none is: the trouble is another.
        """
        for feature in self.meaning.features:
            values = columns[feature.name]
            missing = np.isnan(values).any() if is_numeric(feature) else None in values.tolist()
            if missing and not feature.nullable:
                raise ColumnError(feature.name, "the model takes no missing values here")

    def answer(self, data: ModelInput) -> Predictions:
        """See `Predictor.answer`."""
        return self.predict(columns_of(data, self.meaning.features))

    def _probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(self.meaning.classes) == _BINARY and (scores.ndim == 1 or scores.shape[1] == 1):
            positive = scores.reshape(-1)
            return np.column_stack((1 - positive, positive))
        return scores

    def _labels(self, labels: Array | None, probabilities: NDArray[np.float64] | None) -> Array:
        classes = np.array(self.meaning.classes, dtype=object)
        if labels is None:
            if probabilities is None:
                raise ValueError("the model gives neither labels nor probabilities")
            likeliest: Array = classes[probabilities.argmax(axis=1)]
            return likeliest
        try:
            named: Array = classes[[self._position[text_of(label)] for label in np.asarray(labels).reshape(-1).tolist()]]
        except KeyError as unknown:
            raise ValueError(f"the model answers with the class {unknown}, which it did not declare") from None
        return named


def text_of(label: Any) -> str:
    """A class label as text: `true`, `3`, `late`."""
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return label.decode() if isinstance(label, bytes) else str(label)


def columns_of(data: ModelInput, features: Sequence[Column]) -> dict[str, Array]:
    """The matrices of a model that was trained here, as columns again."""
    numbers = iter(data.numeric.astype(np.float64).T)
    texts = iter(data.text.T)
    return {f.name: next(numbers) if is_numeric(f) else _absent(next(texts)) for f in features}


def _absent(text: Array) -> Array:
    made = text.copy()
    made[made == ""] = None
    return made


def load(meaning: Meaning, binding: Binding, form: str, data: bytes) -> Predictor:
    """Load a model of a format.

    Raises:
        MalformedArtifact: when the bytes are none, or could run code when loaded.
    """
    if form == "onnx":
        return ForeignPredictor(meaning, binding, _Onnx(binding, meaning.features, data))
    if form == "skops":
        return ForeignPredictor(meaning, binding, _Sklearn(binding, meaning, load_skops(data)))
    if form in ("xgboost", "lightgbm"):
        return ForeignPredictor(meaning, binding, _Booster(meaning.features, _booster(form, data)))
    raise MalformedArtifact(f"this version knows no model of the format {form}")


class _Onnx:
    def __init__(self, binding: Binding, features: Sequence[Column], data: bytes) -> None:
        self._session = onnx_session(data)
        self._binding = binding
        self._kinds = {feature.name: feature.kind for feature in features}
        self._outputs = [name for name in (binding.label, binding.scores) if name]
        self._keys = binding.labels

    def ask(self, columns: Columns) -> tuple[Array | None, Array | None]:
        feed = {tensor.name: self._tensor(tensor, columns) for tensor in self._binding.inputs}
        answers = dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))
        label, scores = (answers[name] if name else None for name in (self._binding.label, self._binding.scores))
        return label, self._matrix(scores) if isinstance(scores, list) else scores

    def _tensor(self, tensor: TensorInput, columns: Columns) -> Array:
        arrays = [self._values(tensor, name, columns[name]) for name in tensor.columns]
        return arrays[0] if tensor.flat else np.column_stack(arrays)

    def _values(self, tensor: TensorInput, name: str, values: Array) -> Array:
        if tensor.type == "string":
            return np.array(["" if value is None else value for value in values.tolist()], dtype=object)
        if self._kinds[name] is not ColumnKind.NUMERIC:
            if tensor.type == "bool" and None in values.tolist():
                raise ColumnError(name, "the model takes no missing values here")
            values = _number(Column(name=name, kind=self._kinds[name]), values)
        if tensor.type == "bool":
            return values.astype(np.bool_)
        if tensor.type in ("int64", "int32") and not np.isfinite(values).all():
            raise ColumnError(name, "the model takes whole numbers here, none missing")
        with np.errstate(over="ignore"):
            return values.astype(_NUMBERS[tensor.type])

    def _matrix(self, rows: Sequence[Mapping[Any, float]]) -> Array:
        """A sequence of maps from label to probability, as converters of scikit-learn write it."""
        return np.array([[named[key] for key in self._keys] for named in ({text_of(k): v for k, v in r.items()} for r in rows)])


def _booster(form: str, data: bytes) -> boosters.XGBoostModel | boosters.LightGBMModel:
    return boosters.XGBoostModel(data) if form == "xgboost" else boosters.LightGBMModel(data)


class _Booster:
    def __init__(self, features: Sequence[Column], model: boosters.XGBoostModel | boosters.LightGBMModel) -> None:
        self._features = features
        self._model = model

    def ask(self, columns: Columns) -> tuple[Array | None, Array | None]:
        return self._model.ask(np.column_stack([_number(feature, columns[feature.name]) for feature in self._features]))


def _number(feature: Column, values: Array) -> NDArray[np.float64]:
    if feature.kind is ColumnKind.NUMERIC:
        return np.asarray(values, dtype=np.float64)
    return np.array([np.nan if value is None else value == _TRUE for value in values.tolist()], dtype=np.float64)


class _Sklearn:
    def __init__(self, binding: Binding, meaning: Meaning, model: Any) -> None:
        self._model = model
        self._features = meaning.features
        self._named = binding.named
        self._regression = meaning.task is Task.REGRESSION

    def ask(self, columns: Columns) -> tuple[Array | None, Array | None]:
        rows = self._rows(columns)
        answers = self._model.predict(rows)
        if self._regression:
            return None, answers
        return answers, self._model.predict_proba(rows) if hasattr(self._model, "predict_proba") else None

    def _rows(self, columns: Columns) -> Any:
        made = {feature.name: _typed(feature, columns[feature.name]) for feature in self._features}
        if self._named:
            return pl.DataFrame(made)
        return np.column_stack([np.asarray(values.to_numpy()) for values in made.values()])


def _typed(feature: Column, values: Array) -> pl.Series:
    if feature.kind is ColumnKind.NUMERIC:
        return pl.Series(feature.name, values, dtype=pl.Float64)
    if feature.kind is ColumnKind.BOOLEAN:
        return pl.Series(feature.name, [None if v is None else v == _TRUE for v in values.tolist()], dtype=pl.Boolean)
    return pl.Series(feature.name, values.tolist(), dtype=pl.String)
