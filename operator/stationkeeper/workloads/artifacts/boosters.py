"""Gradient boosting in the libraries' own formats: XGBoost's JSON or UBJSON, LightGBM's text. Neither can run code when loaded.

    XGBoost     https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
    LightGBM    https://lightgbm.readthedocs.io, `Booster.model_to_string`

Each library is loaded where a model needs it, and by nothing else.
"""

import json
import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.workloads.artifacts.errors import MalformedArtifact

_BYTES: Final = 400  # of a library's message
_RAISED_AT: Final = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ")


def load_xgboost(data: bytes) -> Any:
    """A booster from JSON or UBJSON.

    Raises:
        MalformedArtifact: when the bytes are neither.
    """
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(data))
        booster.set_param({"nthread": 1})  # replicas are how serving scales
    except xgboost.core.XGBoostError as error:
        raise MalformedArtifact(f"it is no XGBoost model in JSON or UBJSON: {said(error)[:_BYTES]}") from error
    return booster


def said(error: BaseException) -> str:
    """The first line of an exception's message; of XGBoost's without the time and the place in the source that it was built from."""
    return _RAISED_AT.sub("", (str(error).strip().splitlines() or [""])[0])


def objective_of(booster: Any) -> str:
    """What an XGBoost model was trained for, as in `binary:logistic`."""
    return str(json.loads(booster.save_config())["learner"]["objective"]["name"])


def load_lightgbm(data: bytes) -> Any:
    """A booster from text.

    Raises:
        MalformedArtifact: when the bytes are none, or end before the model does.
    """
    text = whole(data)
    import lightgbm

    try:
        return lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError, KeyError) as error:
        raise MalformedArtifact(f"it is no LightGBM model: {str(error)[:_BYTES]}") from error


def whole(data: bytes) -> str:
    """The text of a LightGBM model that has a beginning and an end: on a torn one the library does not raise but aborts.

    Raises:
        MalformedArtifact: when it lacks either.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedArtifact("it is no LightGBM model: it is not text") from error
    if not text.startswith("tree\n") or "\nend of trees\n" not in text:
        raise MalformedArtifact(
            "it is no LightGBM model, or not all of one: it must begin with `tree` and have an `end of trees`"
        )
    return text


class XGBoostModel:
    """An XGBoost model, asked with a matrix of doubles."""

    def __init__(self, data: bytes) -> None:
        self._booster = load_xgboost(data)
        self._hinge = objective_of(self._booster) in LABELLING
        self._trees = _trees(self._booster)

    def ask(self, matrix: NDArray[np.float64]) -> tuple[Any, Any]:
        """Labels, where the objective gives labels, or else scores."""
        answers = self._booster.inplace_predict(
            matrix.astype(np.float32), iteration_range=self._trees, missing=np.nan, validate_features=False
        )
        return (answers, None) if self._hinge else (None, answers)


LABELLING: Final = ("binary:hinge", "multi:softmax")  # objectives that answer with numbers of classes


def _trees(booster: Any) -> tuple[int, int]:
    """scikit-learn's side of XGBoost answers with the trees up to the best; a booster alone with all of them."""
    best = booster.attr("best_iteration") if booster.attr("scikit_learn") else None
    return (0, int(best) + 1) if best else (0, 0)


class LightGBMModel:
    """A LightGBM model, asked with a matrix of doubles."""

    def __init__(self, data: bytes) -> None:
        self._booster = load_lightgbm(data)

    def ask(self, matrix: NDArray[np.float64]) -> tuple[None, Any]:
        """Scores."""
        return None, self._booster.predict(matrix, num_threads=1)
