"""A small revision, really trained and published into a store in memory: two numbers, a text and a boolean."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from stationkeeper.api.base import sha256
from stationkeeper.api.jobs import ModelIdentity, RevisionIdentity, ServeConfig
from stationkeeper.api.manifest import (
    FILE_GOLDEN,
    FILE_ONNX,
    FILE_REFERENCE,
    FILE_SKOPS,
    Column,
    ColumnKind,
    DataRecord,
    EvaluationRecord,
    Manifest,
    Task,
)
from stationkeeper.api.serving import Capture
from stationkeeper.api.status import Cause
from stationkeeper.api.storage import Storage
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.columns import from_frame, model_input
from stationkeeper.workloads.artifacts.golden import Golden
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.artifacts.outputs import watched
from stationkeeper.workloads.artifacts.runtime import OnnxPredictor, SklearnPredictor, dump_skops
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.training.convert import convert
from stationkeeper.workloads.training.pipeline import build_pipeline, fit
from tests.support.memory_store import MemoryStore

FEATURES = [
    Column(name="distance", kind=ColumnKind.NUMERIC, nullable=True),
    Column(name="hour", kind=ColumnKind.NUMERIC, integer=True),
    Column(name="carrier", kind=ColumnKind.CATEGORICAL, nullable=True),
    Column(name="night", kind=ColumnKind.BOOLEAN),
]


@dataclass(frozen=True)
class Published:
    """A published revision and the configuration that serves it."""

    store: MemoryStore
    manifest: Manifest
    digest: str
    config: ServeConfig

    def fresh(self, **capture: Any) -> "Published":
        """The same in a store of its own, so that tests may damage it; with another capture policy."""
        config = self.config.model_copy(update={"capture": Capture(**capture)})
        return replace(self, store=MemoryStore(self.store.objects), config=config)


def training_rows(count: int = 600, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "distance": np.where(rng.random(count) < 0.05, np.nan, rng.gamma(2, 400, count).round()),
            "hour": rng.integers(0, 24, count),
            "carrier": rng.choice(["AA", "UA", "DL"], count),
            "night": rng.random(count) < 0.3,
        }
    )


@cache
def published(form: str = "skops") -> Published:
    """The revision in the given format. Shared: take `fresh()` to change anything."""
    rows = training_rows()
    columns = from_frame(rows, FEATURES)
    data = model_input(columns, FEATURES)
    late = ((columns["hour"] > 15) ^ (np.random.default_rng(2).random(rows.height) < 0.2)).astype(int)
    pipeline = fit(build_pipeline(LogisticRegression(), data), data, late)
    draft = Manifest(
        model="ops/flights",
        model_uid="uid-1",
        number=7,
        cause=Cause.INITIAL,
        episode="e1",
        attempt=1,
        template_digest=sha256(b"template"),
        trained_at=datetime(2026, 1, 1, tzinfo=UTC),
        estimator="sklearn.linear_model.LogisticRegression",
        seed=1,
        task=Task.BINARY,
        features=FEATURES,
        target="late",
        classes=["0", "1"],
        class_kind="integer",
        format=form,
        files={},
        data=DataRecord(uri="s3://data/x", objects=1, digest=sha256(b"data"), rows=rows.height),
        evaluation=EvaluationRecord(holdout_rows=0, metrics={}, gates=[], refit="None"),
    )
    onnx = convert(pipeline, Task.BINARY, data) if form == "onnx" else None
    predictor = SklearnPredictor(draft, pipeline) if onnx is None else OnnxPredictor(draft, onnx)
    store = MemoryStore()
    golden = {name: values[:16] for name, values in columns.items()}
    files = {
        FILE_SKOPS: dump_skops(pipeline),
        FILE_REFERENCE: build_reference(rows, FEATURES, watched(draft, predictor.predict(columns))).encode(),
        FILE_GOLDEN: Golden.of(golden, predictor.predict(golden), 1e-4).encode(),
    }
    if onnx is not None:
        files[FILE_ONNX] = onnx
    manifest = draft.model_copy(update={"files": {name: put_blob(store, content) for name, content in files.items()}})
    digest = publish_manifest(store, manifest)
    config = ServeConfig(
        model=ModelIdentity(namespace="ops", name="flights", uid="uid-1"),
        storage=Storage(uri="s3://models/flights"),
        revision=RevisionIdentity(number=7, digest=digest),
        capture=Capture(flush_interval="5s"),
        drain_seconds=0.5,
    )
    return Published(store, manifest, digest, config)


def inputs(**columns: Any) -> list[dict[str, Any]]:
    """Tensors of one valid row, or as many as given; a keyword replaces the data of a column, None leaves it out."""
    data: dict[str, Any] = {"distance": [500.0], "hour": [17], "carrier": ["AA"], "night": [False]} | columns
    types = {"distance": "FP64", "hour": "INT64", "carrier": "BYTES", "night": "BOOL"}
    return [
        {"name": name, "shape": [len(values)], "datatype": types.get(name, "FP64"), "data": values}
        for name, values in data.items()
        if values is not None
    ]
