"""One feature that alone nearly predicts the target: it knows the answer, or was made from it."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from stationkeeper.api.manifest import Column, ColumnKind, Task
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.handover import Schema
from stationkeeper.workloads.training.schema import positions

SAMPLE: Final = 20_000
MIN_ROWS: Final = 100
MAX_AUC: Final = 0.999
MAX_CORRELATION: Final = 0.9999


def check_leakage(train: pl.DataFrame, schema: Schema, seed: int) -> None:
    """Look at each feature alone.

    Raises:
        AttemptEnded: InvalidData with SuspectedLeakage.
    """
    sample = train.sample(SAMPLE, seed=seed % 2**32) if train.height > SAMPLE else train
    if sample.height < MIN_ROWS:
        return
    for feature in schema.features:
        strength = _strength(sample, feature, schema)
        if strength is not None:
            raise invalid(
                "SuspectedLeakage",
                f"the feature {feature.name!r} alone predicts the target ({strength}); if it is known only afterwards, "
                "leave it out of data.features",
            )


def _strength(frame: pl.DataFrame, feature: Column, schema: Schema) -> str | None:
    values = from_frame(frame, [feature])[feature.name]
    if feature.kind is not ColumnKind.NUMERIC:
        return None if schema.task is Task.REGRESSION else _purity(frame, feature.name, schema.target)
    if schema.task is Task.REGRESSION:
        correlation = _correlation(values, frame[schema.target].to_numpy())
        return f"correlation {correlation:.5f}" if correlation > MAX_CORRELATION else None
    if schema.task is Task.BINARY:
        auc = _auc(values, positions(frame[schema.target], schema.classes))
        return f"ROC AUC {auc:.4f}" if auc > MAX_AUC else None
    return None


def _auc(values: NDArray[np.float64], target: NDArray[np.int64]) -> float:
    if min((target == 0).sum(), (target == 1).sum()) < 30:
        return 0.5
    # That a value is missing may leak as well: below all others it counts as one more value.
    low = np.nanmin(values, initial=0.0) - 1.0
    auc = float(roc_auc_score(target, np.clip(np.nan_to_num(values, nan=low), -1e300, 1e300)))
    return max(auc, 1.0 - auc)


def _correlation(values: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    known = np.isfinite(values)
    if known.sum() < MIN_ROWS or np.ptp(values[known]) == 0.0 or np.ptp(target[known]) == 0.0:
        return 0.0
    return abs(float(np.corrcoef(values[known], target[known])[0, 1]))


def _purity(frame: pl.DataFrame, name: str, target: str) -> str | None:
    """Share of rows whose class is the commonest one of their category, where the class is not nearly constant anyway."""
    counts = frame.group_by(name, target).len()
    if counts[name].n_unique() > frame.height / 20:
        return None
    share = float(counts.group_by(name).agg(pl.col("len").max())["len"].sum()) / frame.height
    base = float(frame[target].value_counts()["count"].max()) / frame.height  # type: ignore[arg-type]
    return f"{share:.2%} of the rows" if share > MAX_AUC and base < 0.97 else None
