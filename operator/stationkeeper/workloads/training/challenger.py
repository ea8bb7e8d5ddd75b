"""The model that a training left to be judged: a pipeline of scikit-learn as skops, or, from a team's own container, ONNX too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import ValidationError
from sklearn.pipeline import Pipeline

from stationkeeper.api.manifest import Task
from stationkeeper.api.meta import TERMINATION_LIMIT
from stationkeeper.api.summary import FailureSummary
from stationkeeper.workloads.artifacts.columns import ModelInput, from_frame, model_input
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.runtime import OnnxPredictor, Predictions, Predictor, SklearnPredictor, load_skops
from stationkeeper.workloads.training.ending import AttemptEnded, failed
from stationkeeper.workloads.training.handover import Paths, Schema

MAX_BYTES: Final = 2**30
_CONTRACT: Final = "see docs/reference/training.md, A team's own container"


@dataclass(frozen=True, slots=True)
class Challenger:
    """A model and what it is stored as: `pipeline`, or `onnx`."""

    predictor: Predictor
    pipeline: Pipeline | None = None
    onnx: bytes | None = None

    @classmethod
    def of(cls, pipeline: Pipeline, meaning: Schema) -> "Challenger":
        """A fitted pipeline."""
        return cls(SklearnPredictor(meaning, pipeline), pipeline=pipeline)


def input_of(meaning: Schema, rows: pl.DataFrame) -> ModelInput:
    """Rows as a model is given them."""
    return model_input(from_frame(rows, meaning.features), meaning.features)


def handed_over(paths: Paths, meaning: Schema, stretch: int = 0) -> Challenger:
    """Load what the training container left, of several challengers the one of a stretch.

    Raises:
        AttemptEnded: Failed, when it left no model, or one that is not trusted.
    """
    if (broken := content(paths.broken, TERMINATION_LIMIT)) is not None:
        raise _said(broken)
    fitted = paths.fitted_on(stretch)
    skops, onnx = content(fitted, MAX_BYTES), content(paths.onnx, MAX_BYTES)
    if (skops is None) == (onnx is None):
        found = "neither" if skops is None else "both"
        raise failed(
            "TrainingFailed",
            f"training left {found} of {fitted.name} and {paths.onnx.name}; it must leave one of them, of at most "
            f"{MAX_BYTES} bytes, in {paths.model}",
        )
    try:
        if onnx is not None:
            return Challenger(OnnxPredictor(meaning, onnx), onnx=onnx)
        return Challenger.of(load_skops(skops or b""), meaning)
    except MalformedArtifact as error:
        raise failed("TrainingFailed", str(error)[:900]) from error


def _said(broken: bytes) -> AttemptEnded:
    try:
        said = FailureSummary.model_validate_json(broken)
    except ValidationError:
        return failed("TrainingFailed", "training left a failed.json that says nothing readable; its log tells more")
    return failed(said.reason, said.message)


def content(path: Path, most: int) -> bytes | None:
    """A file that may have been left by anybody; None where there is no plain file of at most so many bytes."""
    # A team's own container may have left anything here, also a link to somewhere else.
    if path.is_symlink() or not path.is_file() or path.stat().st_size > most:
        return None
    return path.read_bytes()


def answers_of(challenger: Challenger, meaning: Schema, rows: pl.DataFrame) -> Predictions:
    """What a model says of rows.

    Raises:
        AttemptEnded: Failed, when it cannot answer, or not as the contract says.
    """
    try:
        answers = challenger.predictor.answer(input_of(meaning, rows))
        wrong = _wrong(answers, meaning, rows.height)
    except (AttemptEnded, MemoryError):
        raise
    except Exception as error:  # a team's model may fail in any way, and ONNX Runtime's exceptions share no base class
        wrong = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
    if wrong:
        raise failed("TrainingFailed", f"the model that training left does not answer the holdout: {wrong}; {_CONTRACT}")
    return answers


def _wrong(answers: Predictions, meaning: Schema, rows: int) -> str:
    """What is wrong about the shape of answers; empty when nothing is."""
    if meaning.task is Task.REGRESSION:
        return _misfit("values", answers.values, (rows,))
    if answers.labels is None or answers.labels.shape != (rows,):
        return _misfit("labels", answers.labels, (rows,))
    if answers.probabilities is None:
        return ""
    return _misfit("probabilities", answers.probabilities, (rows, len(meaning.classes)))


def _misfit(what: str, found: Any, shape: tuple[int, ...]) -> str:
    if found is None or found.shape != shape:
        return f"its {what} have the shape {None if found is None else found.shape} instead of {shape}"
    return "" if found.dtype == object or bool(np.isfinite(found).all()) else f"its {what} are not all finite numbers"
