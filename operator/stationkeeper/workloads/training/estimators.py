"""The estimator that a spec names: scikit-learn's own classifiers and regressors, and those of two libraries of boosting."""

import difflib
import hashlib
import importlib
from functools import cache
from typing import Any, Final

from sklearn.base import is_classifier
from sklearn.utils.discovery import all_estimators

from stationkeeper.api.training import Estimator
from stationkeeper.workloads.training.ending import AttemptEnded, invalid

# Beside scikit-learn's own list. They are loaded where one is named.
_BOOSTING: Final = {
    "xgboost.XGBClassifier",
    "xgboost.XGBRegressor",
    "xgboost.XGBRFClassifier",
    "xgboost.XGBRFRegressor",
    "lightgbm.LGBMClassifier",
    "lightgbm.LGBMRegressor",
}
_CODE: Final = ("callbacks",)  # parameters that want objects, not values
_QUIET: Final = {"lightgbm": {"verbose": -1}}  # unless the spec says otherwise


@cache
def _known() -> dict[str, type]:
    return {name: cls for kind in ("classifier", "regressor") for name, cls in all_estimators(type_filter=kind)}


def build(spec: Estimator, seed: int) -> Any:
    """An unfitted estimator, seeded where it accepts a seed and the spec gives none.

    Raises:
        AttemptEnded: InvalidData with UnknownEstimator or InvalidParameters.
    """
    cls = _resolve(spec.class_)
    try:
        estimator: Any = cls()
    except TypeError as error:
        raise invalid("UnknownEstimator", f"{spec.class_} wraps other estimators, which a spec cannot give") from error
    valid = estimator.get_params(deep=False)
    unknown = sorted(set(spec.params) - set(valid))
    if unknown:
        raise invalid(
            "InvalidParameters", f"{spec.class_} has no parameter {unknown[0]!r}; it has {', '.join(sorted(valid))}"[:900]
        )
    if named := sorted(set(spec.params) & set(_CODE)):
        raise invalid("InvalidParameters", f"{spec.class_}: {named[0]} takes code, which a spec cannot give")
    seeded = {"random_state": seed} if "random_state" in valid else {}
    try:
        estimator.set_params(**(seeded | _QUIET.get(spec.class_.partition(".")[0], {}) | spec.params))
        if spec.class_ not in _BOOSTING:
            # Checks each value against scikit-learn's own declaration; private, yet the only check before fit.
            estimator._validate_params()
    except (TypeError, ValueError) as error:
        raise invalid("InvalidParameters", f"{spec.class_}: {error}"[:900]) from error
    return estimator


def classifies(estimator: Any) -> bool:
    """Whether an estimator is a classifier; if not it is a regressor."""
    return bool(is_classifier(estimator))


def seed_of(uid: str, episode: str, attempt: int) -> int:
    """The seed of an attempt: a retried pod trains the same model. Fits a signed 32-bit integer."""
    return int.from_bytes(hashlib.sha256(f"{uid}/{episode}/{attempt}".encode()).digest()[:4], "big") >> 1


def _resolve(path: str) -> type:
    module, _, name = path.rpartition(".")
    if path in _BOOSTING:
        booster: type = getattr(importlib.import_module(module), name)
        return booster
    known = _known()
    if name not in known:
        raise _unknown(path, name)
    found: type = known[name]
    # The module is imported only to see that it is where the class is public, and only within scikit-learn.
    try:
        public = getattr(importlib.import_module(module), name, None) if module.startswith("sklearn.") else None
    except ImportError:
        public = None
    if public is not found:
        raise invalid("UnknownEstimator", f"{path} does not exist; {name} is {found.__module__.split('._')[0]}.{name}")
    return found  # type: ignore[no-any-return, unused-ignore]


def _unknown(path: str, name: str) -> AttemptEnded:
    near = difflib.get_close_matches(name, [*_known(), *(boosting.partition(".")[2] for boosting in _BOOSTING)], 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return invalid("UnknownEstimator", f"{path} is not a classifier or regressor of scikit-learn, XGBoost or LightGBM{hint}")
