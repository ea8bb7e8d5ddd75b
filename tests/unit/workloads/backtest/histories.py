"""Small histories, and Models that learn them in a moment."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

START = datetime(2024, 1, 1, tzinfo=UTC)


def rows(days: int = 120, per_day: int = 40, *, drift_from: int | None = None, seed: int = 0) -> pl.DataFrame:
    """Rows whose target depends on `x` and `colour`; from day `drift_from` on `x` lies higher and means the opposite."""
    rng = np.random.default_rng(seed)
    n = days * per_day
    day = np.repeat(np.arange(days), per_day)
    late = day >= (days if drift_from is None else drift_from)
    x = rng.normal(size=n)
    colour = rng.choice(["red", "green", "blue"], n)
    score = np.where(late, -x, x) + (colour == "red") + rng.normal(scale=0.7, size=n)
    minutes = np.tile(np.arange(per_day) * (1440 // per_day), days)
    at = [START + timedelta(days=int(d), minutes=int(m)) for d, m in zip(day, minutes, strict=True)]
    return pl.DataFrame({"at": at, "x": x + 1.5 * late, "colour": colour, "y": score > 0.3})


def model(folder: Path, name: str = "model.yaml", **changes: Any) -> Path:
    """A manifest whose data lies in `history.parquet` beside it; `data`, `spec`, `gates` and `evaluation` change what they name."""
    data = {"uri": str(folder / "history.parquet"), "target": "y", "timestamp": "at", "minNewRows": 100}
    training = {
        "estimator": {"class": "sklearn.linear_model.LogisticRegression"},
        "data": data | changes.pop("data", {}),
        "evaluation": {
            "gates": changes.pop("gates", [{"metric": "neg_log_loss", "min": -5.0}, {"metric": "roc_auc", "min": 0.5}])
        }
        | changes.pop("evaluation", {}),
    }
    retraining = {"causes": ["Drift", "Quality", "CodeChange", "Schedule"]}  # no Growth: these histories are short
    spec = {"storage": {"uri": "s3://models/tiny"}, "training": training, "retraining": retraining} | changes.pop("spec", {})
    path = folder / name
    document = {"apiVersion": "stationkeeper.dev/v1alpha1", "kind": "Model", "metadata": {"name": "tiny", "namespace": "ops"}}
    path.write_text(yaml.safe_dump(document | {"spec": spec}))
    return path


def policy(folder: Path, **spec: Any) -> Path:
    """A policy of windows of ten days."""
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump({"window": "10d", "minSamples": 200} | spec))
    return path
