"""Preprocessing made from the schema, in shapes that convert to ONNX."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from stationkeeper.workloads.artifacts.columns import MISSING_TEXT, ModelInput

MIN_CATEGORY_ROWS: Final = 20  # rarer values are folded into "unknown": they tell of persons, not of the world
MAX_CATEGORIES: Final = 128
_BOOSTING = ("sklearn.ensemble._hist_gradient_boosting.", "xgboost.", "lightgbm.")
_TREES = ("sklearn.tree.", "sklearn.ensemble.", *_BOOSTING)


def build_pipeline(estimator: Any, data: ModelInput) -> Pipeline:
    """The unfitted pipeline for these training rows. `data` only says which categories there are."""
    module = type(estimator).__module__ + "."
    trees = module.startswith(_TREES)
    numeric, text = data.numeric.shape[1], data.text.shape[1]
    steps: list[tuple[str, Any, list[int]]] = []
    if numeric:
        steps.append(("numeric", _numbers(native=module.startswith(_BOOSTING), scale=not trees), list(range(numeric))))
    if text:
        # By position: names of columns are the user's and may be anything.
        steps.append(("text", _texts(data.text, ordinal=trees), list(range(numeric, numeric + text))))
    return Pipeline([("columns", ColumnTransformer(steps)), ("model", estimator)])


def _numbers(*, native: bool, scale: bool) -> Any:
    if native:
        return "passthrough"  # these learn from missing values as they are
    impute = ("impute", SimpleImputer(strategy="median", keep_empty_features=True))
    return Pipeline([impute, ("scale", StandardScaler())]) if scale else Pipeline([impute])


def _texts(text: NDArray[Any], *, ordinal: bool) -> Any:
    known = [frequent(text[:, i]) for i in range(text.shape[1])]
    if ordinal:
        return OrdinalEncoder(categories=known, handle_unknown="use_encoded_value", unknown_value=-1)
    return OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False)


def frequent(values: NDArray[Any]) -> list[str]:
    """Categories that are common enough, sorted; "missing" is always one, so that the list is never empty."""
    found, counts = np.unique(values.astype(str), return_counts=True)
    common = sorted(zip(-counts, found.tolist(), strict=True))[:MAX_CATEGORIES]
    return sorted({MISSING_TEXT} | {name for count, name in common if -count >= MIN_CATEGORY_ROWS})


def fit(pipeline: Pipeline, data: ModelInput, target: NDArray[Any]) -> Pipeline:
    """Fit on the rows of `data`."""
    fitted: Pipeline = pipeline.fit(data.frame(), target)
    return fitted
