"""Rows for parity, of a model whose rows nobody has seen: made up from the types of its columns, or from the evaluation set."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Column, ColumnKind, Task
from stationkeeper.workloads.artifacts.boosters import said
from stationkeeper.workloads.artifacts.columns import Array
from stationkeeper.workloads.artifacts.golden import Golden
from stationkeeper.workloads.artifacts.runtime import Predictions, Predictor
from stationkeeper.workloads.imports.signature import Signature, unusable
from stationkeeper.workloads.training.convert import PROBABILITY_TOLERANCE
from stationkeeper.workloads.training.golden_rows import ROWS, clear_rows, synthesise

_TEXTS: Final = ("a", "b", "c")
_WITH_MISSING: Final = 4


def made_up(features: Sequence[Column], seed: int) -> dict[str, Array]:
    """Rows of every order of magnitude and both signs; what the model makes of them need not make sense, only stay the same."""
    rng = np.random.default_rng(seed)
    return {feature.name: _values(feature, rng) for feature in features}


def _values(feature: Column, rng: np.random.Generator) -> Array:
    if feature.kind is ColumnKind.NUMERIC:
        numbers = np.concatenate([np.linspace(-3, 3, ROWS // 2), np.logspace(0, 4, ROWS - ROWS // 2)])
        shuffled: Array = rng.permutation(np.round(numbers) if feature.integer else numbers)
        return shuffled
    texts = ("false", "true") if feature.kind is ColumnKind.BOOLEAN else _TEXTS
    made = np.empty(ROWS, dtype=object)
    made[:] = [texts[i % len(texts)] for i in range(ROWS)]
    return rng.permutation(made)


def learned(predictor: Predictor, found: Signature, rows: pl.DataFrame | None, seed: int) -> tuple[Golden, list[Column]]:
    """Golden rows with the model's answers, and its columns with whether they may be missing.

    Args:
        predictor: the model.
        found: what it is asked.
        rows: of the evaluation set; None where there is none.
        seed: of the rows that are made up.

    Raises:
        AttemptEnded: InvalidData with InvalidModel, when the model does not answer them.
    """
    columns = made_up(found.features, seed) if rows is None else synthesise(rows, found.features, seed)
    answers = answered(predictor, found, columns)
    features = [_nullable(predictor, found, columns, feature) for feature in found.features]
    absent = {f.name: _some_missing(columns[f.name], seed + i) if f.nullable else columns[f.name] for i, f in enumerate(features)}
    if any(feature.nullable for feature in features) and not wrong(_tried(predictor, absent), found, ROWS):
        columns = absent
        answers = answered(predictor, found, columns)
    clear = clear_rows(answers)
    columns = {name: values[clear] for name, values in columns.items()}
    return Golden.of(columns, answered(predictor, found, columns), PROBABILITY_TOLERANCE), features


def answered(predictor: Predictor, found: Signature, columns: Mapping[str, Array]) -> Predictions:
    """What the model says of columns.

    Raises:
        AttemptEnded: InvalidData with InvalidModel, when it cannot answer, or not in the shape that it declares.
    """
    given = _tried(predictor, columns)
    if said := wrong(given, found, len(next(iter(columns.values())))):
        advice = "list source.features with their types, or give source.evaluation, so that the values that it knows are known"
        raise unusable(f"the model does not answer rows of its columns: {said}; {advice}")
    assert isinstance(given, Predictions)
    return given


def _tried(predictor: Predictor, columns: Mapping[str, Array]) -> Predictions | str:
    try:
        return predictor.predict(columns)
    except MemoryError:
        raise  # the machine's fault
    except Exception as error:  # a model may fail in any way, and ONNX Runtime's exceptions share no base class
        return f"{type(error).__name__}: {said(error)[:300]}"


def wrong(given: Predictions | str, found: Signature, rows: int) -> str:
    """What is wrong about answers; empty when nothing is."""
    if isinstance(given, str):
        return given
    if found.task is Task.REGRESSION:
        return _misfit("values", given.values, (rows,))
    if given.labels is None or given.labels.shape != (rows,):
        return f"its labels have the shape {None if given.labels is None else given.labels.shape} instead of {(rows,)}"
    said = "" if given.probabilities is None else _misfit("probabilities", given.probabilities, (rows, len(found.classes)))
    if said or given.probabilities is None:
        return said
    sums = given.probabilities.sum(axis=1)
    if (given.probabilities < -1e-3).any() or (np.abs(sums - 1) > 1e-2).any():
        return "its scores are no probabilities: they must lie between 0 and 1 and add up to 1"
    return ""


def _misfit(what: str, given: NDArray[Any] | None, shape: tuple[int, ...]) -> str:
    if given is None or given.shape != shape:
        return f"its {what} have the shape {None if given is None else given.shape} instead of {shape}"
    return "" if bool(np.isfinite(given).all()) else f"its {what} are not all finite numbers"


def _nullable(predictor: Predictor, found: Signature, columns: Mapping[str, Array], feature: Column) -> Column:
    """Whether the model answers when this column is missing."""
    probe = {name: values[:1] for name, values in columns.items()} | {feature.name: _missing(feature)}
    return feature.model_copy(update={"nullable": not wrong(_tried(predictor, probe), found, 1)})


def _missing(feature: Column) -> Array:
    return np.array([np.nan]) if feature.kind is ColumnKind.NUMERIC else np.array([None], dtype=object)


def _some_missing(values: Array, seed: int) -> Array:
    made = values.copy()
    made[np.random.default_rng(seed).permutation(len(made))[:_WITH_MISSING]] = np.nan if made.dtype.kind == "f" else None
    return made
