"""Golden rows are made up from quantiles and common categories: no person's data goes into an immutable object."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training.pipeline import MIN_CATEGORY_ROWS

ROWS: Final = 32
_WITH_MISSING: Final = 4  # rows in which every nullable column is missing in turn
_MARGIN: Final = 1e-3


def synthesise(train: pl.DataFrame, features: Sequence[Column], seed: int) -> dict[str, NDArray[Any]]:
    """Rows for the parity check, as columns; the order within each column is shuffled, so rows combine anew."""
    rng = np.random.default_rng(seed)
    known = from_frame(train, features)
    columns: dict[str, NDArray[Any]] = {}
    for feature in features:
        make = _numbers if feature.kind is ColumnKind.NUMERIC else _texts
        columns[feature.name] = make(feature, known[feature.name], rng)
    return columns


def _numbers(feature: Column, values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.full(ROWS, np.nan)
    # The extremes may be one person's; between the 2nd and the 98th percentile a value is one of many, or of none.
    made: NDArray[np.float64] = np.quantile(finite, rng.permutation(np.linspace(0.02, 0.98, ROWS)))
    if feature.integer:
        made = np.round(made)
    if feature.nullable:
        made[rng.permutation(ROWS)[:_WITH_MISSING]] = np.nan
    return made


def _texts(feature: Column, values: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    found, counts = np.unique([value for value in values if value is not None], return_counts=True)
    common = [str(name) for count, name in sorted(zip(-counts, found, strict=True)) if -count >= MIN_CATEGORY_ROWS][:ROWS]
    made = np.empty(ROWS, dtype=object)
    made[:] = [common[i % len(common)] if common else None for i in range(ROWS)]
    made = rng.permutation(made)
    if feature.nullable:
        made[rng.permutation(ROWS)[:_WITH_MISSING]] = None
    return made


def clear_rows(answers: Predictions) -> NDArray[np.bool_]:
    """Rows whose label does not hang on the last digits, which differ between processors."""
    if answers.probabilities is None:
        given = answers.values if answers.labels is None else answers.labels
        return np.ones(0 if given is None else len(given), dtype=bool)
    top = np.sort(answers.probabilities, axis=1)
    clear: NDArray[np.bool_] = top[:, -1] - top[:, -2] > _MARGIN
    return clear if clear.any() else np.ones_like(clear)
