"""A training pod in this process: synthetic rows, a store in memory, the three steps."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import Summary, TrainingSummary
from stationkeeper.workloads.jobs import train as job
from stationkeeper.workloads.training.handover import Paths
from tests.support.memory_store import MemoryStore

START = datetime(2013, 1, 1, tzinfo=UTC)
DATA = "s3://lake/rows/"
MODEL_UID = "uid-1"


def rows(days: int = 40, per_day: int = 20, *, flip_from: int | None = None, seed: int = 0, first: int = 0) -> pl.DataFrame:
    """Rows whose target depends on `x` and `colour`; from day `flip_from` on the other way round."""
    rng = np.random.default_rng(seed)
    n = days * per_day
    day = np.repeat(np.arange(first, first + days), per_day)
    x = rng.normal(size=n)
    colour = rng.choice(["red", "green", "blue"], n)
    score = x + (colour == "red") + rng.normal(scale=0.7, size=n)
    if flip_from is not None:
        score = np.where(day >= flip_from, -score, score)
    times = [START + timedelta(days=int(d), minutes=int(m)) for d, m in zip(day, np.tile(np.arange(per_day), days), strict=True)]
    return pl.DataFrame(
        {
            "at": times,
            "x": pl.Series(x).set(pl.Series(rng.random(n) < 0.05), None),
            "count": rng.integers(0, 5, n),
            "colour": colour,
            "member": rng.random(n) < 0.5,
            "y": score > 0,
        }
    )


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def config(**changes: Any) -> TrainConfig:
    """A configuration; `data`, `estimator` and `gates` change what they name, the rest changes the job."""
    data = {"uri": DATA, "target": "y", "timestamp": "at", "asOf": "LatestRow", "minNewRows": 50} | changes.pop("data", {})
    estimator = changes.pop("estimator", {"class": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 20}})
    evaluation = {"gates": changes.pop("gates", [{"metric": "roc_auc", "min": 0.7}, {"metric": "roc_auc", "maxDrop": 0.05}])}
    evaluation |= changes.pop("evaluation", {})
    base: dict[str, Any] = {
        "model": {"namespace": "default", "name": "test", "uid": MODEL_UID},
        "storage": {"uri": "s3://test/model"},
        "episode": "e1",
        "attempt": 1,
        "cause": "Initial",
        "revision": 1,
        "asOf": START + timedelta(days=365),
        "templateDigest": "sha256:" + "0" * 64,
        "training": {"estimator": estimator, "data": data, "evaluation": evaluation},
    }
    return TrainConfig.model_validate(base | changes)


class Pod:
    """One pod: fresh volumes, shared stores."""

    def __init__(self, tmp: Path, artifacts: MemoryStore, source: MemoryStore) -> None:
        self.paths = Paths.under(tmp)
        self.artifacts = artifacts
        self.source = source
        self.stores: dict[str, MemoryStore] = {}  # at other addresses

    def open(self, _config: TrainConfig, uri: str | None) -> MemoryStore:
        return self.stores.get(uri, self.source) if uri else self.artifacts

    def run(self, cfg: TrainConfig) -> tuple[Summary | None, int]:
        """The containers in order; the first that fails ends the pod, as in Kubernetes."""
        summary, code = job.step_prepare(cfg, self.paths, self.open)
        if code:
            return summary, code
        summary, code = job.step_train(cfg, self.paths)
        return (summary, code) if code else job.step_publish(cfg, self.paths, self.open)


def train(tmp: Path, frame: pl.DataFrame | bytes, artifacts: MemoryStore | None = None, **changes: Any) -> TrainingSummary:
    """Run one pod on one Parquet object and return what it reports."""
    data = frame if isinstance(frame, bytes) else parquet(frame)
    pod = Pod(tmp, artifacts if artifacts is not None else MemoryStore(), MemoryStore({"a.parquet": data}, "s3://lake/rows"))
    summary, code = pod.run(config(**changes))
    assert isinstance(summary, TrainingSummary)
    assert (code == 3) == (summary.outcome in (TrainingOutcome.INVALID_DATA, TrainingOutcome.FAILED))
    return summary
