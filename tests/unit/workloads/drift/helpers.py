"""Builders of small frames, references and traffic."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference

FEATURES = [
    Column(name="temp", kind=ColumnKind.NUMERIC, nullable=True),
    Column(name="distance", kind=ColumnKind.NUMERIC, integer=True),
    Column(name="carrier", kind=ColumnKind.CATEGORICAL),
    Column(name="holiday", kind=ColumnKind.BOOLEAN),
]
CARRIERS = np.array(["AA", "B6", "DL", "UA"], dtype=object)

Columns = dict[str, Any]


def objects(values: Any) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def columns(
    rows: int, seed: int = 0, *, shift: float = 0.0, missing: float = 0.02, shares: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
) -> Columns:
    rng = np.random.default_rng(seed)
    temp = rng.normal(10 + 5 * shift, 5, rows)
    temp[rng.random(rows) < missing] = np.nan
    return {
        "temp": temp,
        "distance": np.floor(rng.gamma(2.0, 400.0, rows)),
        "carrier": objects(rng.choice(CARRIERS, rows, p=shares)),
        "holiday": objects(np.where(rng.random(rows) < 0.1, "true", "false")),
    }


def predictions(rows: int, seed: int = 0) -> Columns:
    probability = np.random.default_rng(seed + 1_000_003).beta(2, 5, rows)
    return {"probability": probability, "label": objects(np.where(probability > 0.5, "late", "fine"))}


def frame(data: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            name: pl.Series(values.tolist(), dtype=pl.Float64 if values.dtype.kind == "f" else pl.String)
            for name, values in data.items()
        }
    ).with_columns(pl.col("temp").fill_nan(None))


def reference(rows: int = 20_000, seed: int = 7, **more: Any) -> ReferenceProfile:
    return build_reference(frame(columns(rows, seed)), FEATURES, predictions(rows, seed), **more)


def profile(of: ReferenceProfile, rows: int, seed: int = 1, **more: Any) -> Profile:
    found = Profile.empty(of)
    found.update(columns(rows, seed, **more), predictions(rows, seed))
    return found


def policy(**more: Any) -> DriftPolicySpec:
    return DriftPolicySpec.model_validate({"modelRef": {"name": "flights"}, **more})
