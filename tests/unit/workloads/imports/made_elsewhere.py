"""Models as another pipeline publishes them, and an import pod in this process."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import skops.io
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from stationkeeper.api.base import sha256
from stationkeeper.api.jobs import ImportConfig
from stationkeeper.api.manifest import Manifest
from stationkeeper.api.summary import Summary, TrainingSummary
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.jobs import import_model as job
from stationkeeper.workloads.training.handover import Paths
from tests.support.memory_store import MemoryStore

FILE = "s3://lake/published/model.bin"
ROWS = "s3://lake/holdout/"


def rows(count: int = 400, seed: int = 0) -> pl.DataFrame:
    """Rows with two numbers and a text, and a target that depends on all three."""
    rng = np.random.default_rng(seed)
    x, hour, colour = rng.normal(size=count), rng.integers(0, 24, count), rng.choice(["red", "green", "blue"], count)
    score = x + (hour > 12) + (colour == "red") + rng.normal(scale=0.4, size=count)
    return pl.DataFrame({"x": x, "hour": hour, "colour": colour, "late": (score > 1).astype(int), "delay": score})


def numbers(frame: pl.DataFrame) -> np.ndarray:
    return frame.select("x", "hour").to_numpy().astype(np.float32)


def onnx_classifier(seed: int = 0, **options: Any) -> bytes:
    """One input without names for both numbers, as converters write it; with `zipmap` probabilities as maps."""
    frame = rows(seed=seed)
    model = LogisticRegression().fit(numbers(frame), frame["late"].to_numpy())
    made = to_onnx(model, initial_types=[("X", FloatTensorType([None, 2]))], options={id(model): {"zipmap": False} | options})
    return bytes(made.SerializeToString())


def mixed_pipeline(frame: pl.DataFrame, target: str = "late") -> Any:
    encode = make_column_transformer((StandardScaler(), ["x", "hour"]), (OneHotEncoder(handle_unknown="ignore"), ["colour"]))
    learner = LinearRegression() if target == "delay" else LogisticRegression()
    return make_pipeline(encode, learner).fit(frame.select("x", "hour", "colour"), frame[target].to_numpy())


def onnx_by_column() -> bytes:
    """One input for each column, of its own type."""
    types = [("x", FloatTensorType([None, 1])), ("hour", Int64TensorType([None, 1])), ("colour", StringTensorType([None, 1]))]
    made = to_onnx(mixed_pipeline(rows()), initial_types=types, options={"zipmap": False})
    return bytes(made.SerializeToString())


def skops_of(model: Any) -> bytes:
    return bytes(skops.io.dumps(model))


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def source(form: str, **more: Any) -> dict[str, Any]:
    return {"uri": FILE, "format": form, "target": "late", **more}


def judged(*gates: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"evaluation": {"uri": ROWS, "gates": list(gates) or [{"metric": "roc_auc", "min": 0.7}]}, **more}


def config(spec: dict[str, Any], **changes: Any) -> ImportConfig:
    base: dict[str, Any] = {
        "model": {"namespace": "ops", "name": "flights", "uid": "uid-1"},
        "storage": {"uri": "s3://test/model"},
        "episode": "e1",
        "attempt": 1,
        "cause": "Initial",
        "revision": 1,
        "asOf": "2026-01-05T12:00:00Z",
        "templateDigest": sha256(b"template"),
        "source": spec,
    }
    return ImportConfig.model_validate(base | changes)


class Pod:
    """One pod: fresh volumes, one store for all prefixes but the Model's own."""

    def __init__(self, tmp: Path, published: bytes | None, judges: pl.DataFrame | None = None) -> None:
        self.paths = Paths.under(tmp)
        self.artifacts = MemoryStore()
        self.lake = MemoryStore({} if published is None else {"model.bin": published}, "s3://lake/published")
        self.holdout = MemoryStore({} if judges is None else {"a.parquet": parquet(judges)}, "s3://lake/holdout")

    def open(self, _config: ImportConfig, uri: str | None) -> MemoryStore:
        return self.artifacts if uri is None else self.holdout if uri == ROWS else self.lake

    def run(self, cfg: ImportConfig) -> TrainingSummary:
        """The containers in order, and the outcome that the pod reports."""
        summary: Summary | None
        summary, code = job.step_prepare(cfg, self.paths, self.open)
        if not code:
            summary, code = job.step_publish(cfg, self.paths, self.open)
        assert isinstance(summary, TrainingSummary)
        assert (code == 3) == (summary.outcome in ("InvalidData", "Failed"))
        return summary

    def manifest(self, summary: TrainingSummary) -> Manifest:
        assert summary.digest, summary
        return load_manifest(self.artifacts, summary.digest)
