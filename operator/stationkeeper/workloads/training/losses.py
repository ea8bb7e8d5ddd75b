"""How large the errors of a regression are, and where: direct loss estimation.

A small forest learns the absolute error on the holdout from the prediction and the features; its leaves keep means and variances of
absolute and squared errors. Reference: NannyML, Direct Loss Estimation (2022); the trees are Breiman's (2001).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.ensemble import RandomForestRegressor

from stationkeeper.api.base import Tolerant
from stationkeeper.api.manifest import Column
from stationkeeper.workloads.artifacts.columns import MISSING_TEXT, Columns, is_numeric, model_input

Floats = NDArray[np.float64]

_TREES: Final = 20
_LEAVES: Final = 32
_LEAF_ROWS: Final = 50
_MAX_ROWS: Final = 20_000
_MAX_CATEGORIES: Final = 128
_DIGITS: Final = 6


class Tree(Tolerant):
    """One tree as arrays by node, the root first. In a leaf `feature` is -1."""

    feature: Annotated[list[int], Field(min_length=1, max_length=2 * _LEAVES)]
    threshold: list[float]  # a row goes left when its value is at most this
    left: list[int]
    right: list[int]
    missing_left: list[bool]
    rows: list[int]  # of the holdout, in the node
    absolute: list[float]  # mean absolute error there
    absolute_variance: list[float]
    square: list[float]  # mean squared error
    square_variance: list[float]

    def leaves(self, points: NDArray[np.float32]) -> NDArray[np.int64]:
        """The leaf of each point, shape (rows, features)."""
        nodes = np.zeros(len(points), dtype=np.int64)
        feature, threshold, left, right, missing = (
            np.array(part) for part in (self.feature, self.threshold, self.left, self.right, self.missing_left)
        )
        for _ in range(len(feature)):  # no branch is longer
            inner = np.flatnonzero(feature[nodes] >= 0)
            if not inner.size:
                break
            at = nodes[inner]
            values = points[inner, feature[at]]
            goes_left = np.where(np.isnan(values), missing[at], values <= threshold[at])
            nodes[inner] = np.where(goes_left, left[at], right[at])
        return nodes


class Losses(Tolerant):
    """What to expect of the errors, by prediction and features."""

    features: list[str]  # beside the prediction, in the order of the trees' columns 1, 2, ...
    codes: dict[str, dict[str, float]]  # of a feature that is not numeric: the mean absolute error of each common value
    other: float  # of every other value
    trees: Annotated[list[Tree], Field(max_length=_TREES)]

    def points(self, predictions: Floats, columns: Columns, features: Sequence[Column]) -> NDArray[np.float32]:
        """Rows as the trees take them.

        Raises:
            ColumnError: when a feature is missing.
        """
        known = [feature for feature in features if feature.name in self.features]
        data = model_input(columns, known)
        numbers, texts = iter(data.numeric.T), iter(data.text.T)
        made = [np.asarray(predictions, dtype=np.float32)]
        for feature in known:
            if is_numeric(feature):
                made.append(next(numbers))
            else:
                codes = self.codes[feature.name]
                made.append(np.array([codes.get(str(v), self.other) for v in next(texts)], dtype=np.float32))
        return np.column_stack(made)


def fit_losses(predictions: Floats, truth: Floats, columns: Columns, features: Sequence[Column], seed: int) -> Losses:
    """Learn where errors are large, from rows that the model had not learned from."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(len(truth), min(len(truth), _MAX_ROWS), replace=False))
    errors = np.abs(np.asarray(predictions - truth))[kept]
    chosen = {name: values[kept] for name, values in columns.items()}
    blank = Losses(
        features=[feature.name for feature in features],
        codes=_codes(chosen, features, errors),
        other=round(float(errors.mean()), _DIGITS),
        trees=[],
    )
    points = blank.points(predictions[kept], chosen, features)
    forest = RandomForestRegressor(
        _TREES, max_leaf_nodes=_LEAVES, min_samples_leaf=_LEAF_ROWS, max_features=0.5, n_jobs=1, random_state=seed
    ).fit(points, errors)
    return blank.model_copy(update={"trees": [_tree(found.tree_, points, errors) for found in forest.estimators_]})


def _codes(columns: Columns, features: Sequence[Column], errors: Floats) -> dict[str, dict[str, float]]:
    return {f.name: _code(columns[f.name], errors) for f in features if not is_numeric(f)}


def _code(values: NDArray[Any], errors: Floats) -> dict[str, float]:
    texts = np.array([MISSING_TEXT if value is None else value for value in values], dtype=object).astype(str)
    names, index, counts = np.unique(texts, return_inverse=True, return_counts=True)
    means = np.bincount(index, errors, len(names)) / counts
    common = np.argsort(-counts, kind="stable")[:_MAX_CATEGORIES]
    return {str(names[i]): round(float(means[i]), _DIGITS) for i in sorted(common) if counts[i] >= _LEAF_ROWS}


def _tree(found: Any, points: NDArray[np.float32], errors: Floats) -> Tree:
    nodes = found.apply(points)
    parts: Mapping[str, Floats] = {"absolute": errors, "square": errors**2}
    rows = np.bincount(nodes, minlength=found.node_count)
    stats: dict[str, list[float]] = {}
    for name, losses in parts.items():
        mean = np.bincount(nodes, losses, found.node_count) / np.maximum(rows, 1)
        squares = np.bincount(nodes, losses**2, found.node_count) / np.maximum(rows, 1)
        stats[name] = _rounded(mean)
        stats[f"{name}_variance"] = _rounded(np.maximum(squares - mean**2, 0.0))
    inner = found.feature >= 0
    return Tree(
        feature=np.where(inner, found.feature, -1).tolist(),
        threshold=np.where(inner, found.threshold, 0.0).tolist(),
        left=np.where(inner, found.children_left, 0).tolist(),
        right=np.where(inner, found.children_right, 0).tolist(),
        missing_left=[bool(value) for value in found.missing_go_to_left],
        rows=rows.tolist(),
        **stats,
    )


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
