"""What a published revision keeps for later checks: importance, estimation, components, and a sample of its rows."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.manifest import FILE_ESTIMATION, FILE_PCA, FILE_REFERENCE, FILE_SKOPS, Manifest
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.errors import StoreUnavailable
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.drift.components import Components
from stationkeeper.workloads.training.estimation import Estimation
from stationkeeper.workloads.training.handover import Schema
from stationkeeper.workloads.training.sample import MAX_ROWS, encoded
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

LABEL_BY_X = pl.col("x").fill_null(0)
THREE_CLASSES = (
    pl.when(LABEL_BY_X <= -0.5).then(pl.lit("low")).when(LABEL_BY_X <= 0.5).then(pl.lit("mid")).otherwise(pl.lit("high"))
)
REGRESSION: dict[str, Any] = {
    "estimator": {"class": "sklearn.ensemble.HistGradientBoostingRegressor", "params": {"max_iter": 20}},
    "gates": [{"metric": "r2", "min": 0.3}],
}
MULTICLASS: dict[str, Any] = {
    "estimator": {"class": "sklearn.linear_model.LogisticRegression"},
    "gates": [{"metric": "neg_log_loss", "min": -2.0}],
}


def published(tmp: Path, frame: pl.DataFrame, **changes: Any) -> tuple[MemoryStore, Manifest, TrainingSummary]:
    store = MemoryStore()
    summary = pod.train(tmp, frame, store, **changes)
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    return store, load_manifest(store, summary.digest or ""), summary


@pytest.mark.parametrize(
    ("frame", "changes"),
    [
        (pod.rows(), {}),
        (pod.rows().with_columns(y=LABEL_BY_X * 3 + pl.col("count")), REGRESSION),
        (pod.rows().with_columns(y=THREE_CLASSES), MULTICLASS),
        (pod.rows().drop("at"), {"data": {"timestamp": None, "asOf": "Now"}}),
    ],
    ids=["binary", "regression", "multiclass", "without time"],
)
def test_keeps_what_later_checks_need(tmp_path: Path, frame: pl.DataFrame, changes: dict[str, Any]) -> None:
    store, manifest, summary = published(tmp_path, frame, **changes)
    assert sum(manifest.importance.values()) == pytest.approx(1, abs=1e-4)
    assert min(manifest.importance.values()) >= 0
    assert max(manifest.importance, key=lambda name: manifest.importance[name]) == "x"
    assert list(manifest.importance) == sorted(feature.name for feature in manifest.features)
    known = Estimation.decode(get_blob(store, manifest.files[FILE_ESTIMATION]))
    metric = next(iter(manifest.evaluation.metrics))
    assert known.expected[metric].score == pytest.approx(manifest.evaluation.metrics[metric].value)
    constant = known.expected[metric].constant
    assert constant is not None
    assert known.expected[metric].score > constant
    assert (len(known.curves), known.losses is not None) == {"binary": (1, False), "multiclass": (3, False)}.get(
        manifest.task, (0, True)
    )
    assert Components.decode(get_blob(store, manifest.files[FILE_PCA])).rows
    sample = pl.read_parquet(io.BytesIO(store.objects[keys.sample(summary.digest or "")]))
    assert sample.columns == [*(feature.name for feature in manifest.features), *(["at"] if "at" in frame.columns else [])]
    assert sample.height == manifest.data.rows


def test_the_same_episode_gives_the_same_files(tmp_path: Path) -> None:
    (_, one, _), (_, two, _) = (published(tmp_path / name, pod.rows()) for name in ("1", "2"))
    same = {name: ref for name, ref in one.files.items() if name != FILE_SKOPS}  # skops numbers objects by their address
    assert same.items() <= two.files.items()
    assert one.importance == two.importance
    assert {FILE_REFERENCE, FILE_ESTIMATION, FILE_PCA} <= one.files.keys()


def test_no_row_of_the_training_is_in_an_immutable_file(tmp_path: Path) -> None:
    frame = pod.rows().with_columns(colour=pl.when(pl.int_range(pl.len()) == 790).then(pl.lit("Jane Roe")).otherwise("colour"))
    store, manifest, summary = published(tmp_path, frame)
    assert not [name for name, ref in manifest.files.items() if b"Jane Roe" in get_blob(store, ref)]
    assert b"Jane Roe" in store.objects[keys.sample(summary.digest or "")]  # which may be deleted


def test_a_sample_that_cannot_be_written_does_not_fail_the_training(tmp_path: Path) -> None:
    def full(operation: str, key: str) -> None:
        if operation == "put" and key.startswith("samples/"):
            raise StoreUnavailable("the disk is full")

    store = MemoryStore()
    store.before = full
    summary = pod.train(tmp_path, pod.rows(), store)
    assert summary.outcome is TrainingOutcome.PUBLISHED
    assert not [key for key in store.objects if key.startswith("samples/")]


def test_the_sample_is_written_after_the_manifest(tmp_path: Path) -> None:
    store, _, _ = published(tmp_path, pod.rows())
    writes = [key.split("/")[0] for operation, key in store.log if operation in ("create", "put")]
    assert writes[-3:] == ["manifests", "samples", "episodes"]


def test_a_feature_that_carries_nothing_has_no_importance(tmp_path: Path) -> None:
    _, manifest, _ = published(tmp_path, pod.rows(80))
    assert manifest.importance["x"] > 0.5
    assert manifest.importance["member"] < 0.02


def test_a_large_training_keeps_the_same_few_rows_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=3 * MAX_ROWS), "y": rng.random(3 * MAX_ROWS) < 0.5})
    meaning = Schema.model_validate({"task": "binary", "features": [{"name": "x", "kind": "numeric"}], "target": "y"})
    one, two = (pl.read_parquet(io.BytesIO(encoded(rows, meaning, "uid"))) for rows in (frame, frame.reverse()))
    assert (one.columns, one.height) == (["x"], MAX_ROWS)
    assert one["x"].equals(two["x"].reverse())
