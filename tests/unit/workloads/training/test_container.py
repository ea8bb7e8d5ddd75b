"""A team's own container in the place of `train`: rows in, a model out, and nothing of it is believed."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import skops.io
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from stationkeeper.api.manifest import FILE_ONNX, FILE_SKOPS, Manifest
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.golden import Golden
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.jobs import train as job
from stationkeeper.workloads.training.handover import Paths, Schema
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

Team = Callable[[Paths], None]


def run(
    tmp: Path, team: Team, task: str = "Classification", frame: pl.DataFrame | None = None
) -> tuple[MemoryStore, TrainingSummary]:
    """The pod with the team's code in the middle."""
    rows, store = pod.rows() if frame is None else frame, MemoryStore()
    made = pod.Pod(tmp, store, MemoryStore({"a.parquet": pod.parquet(rows)}, "s3://lake/rows"))
    metric = {"metric": "roc_auc", "min": 0.6} if task == "Classification" else {"metric": "r2", "min": 0.3}
    training = pod.config(gates=[metric]).training.wire()
    del training["estimator"]
    config = pod.config().model_copy(
        update={
            "training": type(pod.config().training).model_validate(training | {"container": {"image": "team/x:1", "task": task}})
        }
    )
    assert job.step_prepare(config, made.paths, made.open) == (None, 0)
    team(made.paths)
    summary, _ = job.step_publish(config, made.paths, made.open)
    assert isinstance(summary, TrainingSummary)
    return store, summary


def fitted(paths: Paths) -> LogisticRegression:
    rows = pl.read_parquet(paths.input)
    return LogisticRegression().fit(rows.select("n0", "n1").fill_nan(0.0).to_numpy(), rows["target"].to_numpy())


def pipeline(estimator: BaseEstimator, paths: Paths) -> Pipeline:
    """Fitted on the numbers alone."""
    rows = pl.read_parquet(paths.input)
    numbers = make_column_transformer((SimpleImputer(), ["n0", "n1"]))
    return make_pipeline(numbers, estimator).fit(rows.drop("target"), rows["target"].to_numpy())


def leaves_skops(paths: Paths) -> None:
    skops.io.dump(pipeline(LogisticRegression(), paths), paths.fitted)


def onnx_of(weights: np.ndarray, bias: float, *, classes: int = 2) -> bytes:
    """A logistic regression on the numbers, node by node, as another library would have made it."""
    known = {"w": weights.reshape(-1, 1).astype(np.float32), "b": np.array([bias], np.float32), "one": np.array([1], np.float32)}
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["unknown"]),
        helper.make_node("Where", ["unknown", "none", "numeric"], ["filled"]),
        helper.make_node("MatMul", ["filled", "w"], ["raw"]),
        helper.make_node("Add", ["raw", "b"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", *["yes"] * (classes - 1)], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in (known | {"none": np.array(0, np.float32)}).items()]
    graph = helper.make_graph(
        nodes,
        "team",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, [None, weights.size])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, None),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None),
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def leaves_onnx(paths: Paths) -> None:
    model = fitted(paths)
    paths.onnx.write_bytes(onnx_of(model.coef_, float(model.intercept_[0])))


def served(store: MemoryStore, summary: TrainingSummary) -> tuple[Manifest, dict[str, bytes]]:
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    manifest = load_manifest(store, summary.digest or "")
    return manifest, {name: get_blob(store, ref) for name, ref in manifest.files.items()}


@pytest.mark.parametrize("team", [leaves_skops, leaves_onnx])
def test_a_model_of_the_teams_own_is_judged_and_published_and_loads(tmp_path: Path, team: Team) -> None:
    manifest, files = served(*run(tmp_path, team))
    assert manifest.estimator == "container team/x:1"
    assert manifest.evaluation.refit == "None", "what another's code would do again is not known"
    # A pipeline that asks for columns by name has no conversion: it is served as it is.
    assert manifest.format == ("skops" if team is leaves_skops else "onnx")
    assert (FILE_SKOPS in files, FILE_ONNX in files) == (team is leaves_skops, team is leaves_onnx)
    Golden.decode(files["golden.json"]).verify(load_model(manifest, files))
    assert max(manifest.importance, key=lambda name: manifest.importance[name]) == "x"


def test_a_regression_of_the_teams_own(tmp_path: Path) -> None:
    def team(paths: Paths) -> None:
        skops.io.dump(pipeline(LinearRegression(), paths), paths.fitted)

    frame = pod.rows().with_columns(y=pl.col("x").fill_null(0) * 3 + pl.col("count"))
    manifest, _ = served(*run(tmp_path, team, "Regression", frame))
    assert manifest.task == "regression"


def test_it_gets_rows_as_they_are_and_as_a_model_gets_them_and_no_holdout(tmp_path: Path) -> None:
    def team(paths: Paths) -> None:
        meaning = Schema.model_validate_json(paths.schema.read_bytes())
        raw, ready = pl.read_parquet(paths.train), pl.read_parquet(paths.input)
        assert {path.name for path in paths.data.iterdir()} == {"train.parquet", "input.parquet", "schema.json"}
        assert ready.columns == ["n0", "n1", "t0", "t1", "target"]
        assert [meaning.classes[position] for position in ready["target"]] == raw["y"].cast(pl.String).to_list()
        assert raw.height == ready.height < pod.rows().height
        leaves_skops(paths)

    served(*run(tmp_path, team))


def test_what_it_says_it_searched_is_not_looked_at(tmp_path: Path) -> None:
    def team(paths: Paths) -> None:
        leaves_onnx(paths)
        paths.found_on(0).symlink_to(paths.holdout)

    manifest, _ = served(*run(tmp_path, team))
    assert manifest.search is None


def nothing(paths: Paths) -> None:
    pass


def a_pickle(paths: Paths) -> None:
    paths.fitted.write_bytes(pickle.dumps(print))


def a_link(paths: Paths) -> None:
    leaves_skops(paths)
    paths.fitted.rename(paths.work / "elsewhere")
    paths.fitted.symlink_to(paths.work / "elsewhere")


def both(paths: Paths) -> None:
    leaves_skops(paths)
    leaves_onnx(paths)


def a_foreign_type(paths: Paths) -> None:
    skops.io.dump(Strange(), paths.fitted)


class Strange(LogisticRegression):
    """A class of the team's own: loading it would run their code."""


def too_many_classes(paths: Paths) -> None:
    model = fitted(paths)
    paths.onnx.write_bytes(onnx_of(model.coef_, float(model.intercept_[0]), classes=3))


def infinite(paths: Paths) -> None:
    model = fitted(paths)
    paths.onnx.write_bytes(onnx_of(model.coef_ * np.nan, 0.0))


def other_inputs(paths: Paths) -> None:
    paths.onnx.write_bytes(onnx_of(np.ones(7), 0.0))


def a_failure_in_no_form(paths: Paths) -> None:
    paths.broken.write_text('{"reason": "no word", "message": 7}')


def no_model(paths: Paths) -> None:
    paths.onnx.write_bytes(b"\x08\x08not a model")


@pytest.mark.parametrize(
    ("team", "words"),
    [
        (nothing, "training left neither of model.skops and model.onnx"),
        (both, "training left both of"),
        (a_pickle, "model.skops is not a skops archive"),
        (a_link, "training left neither"),
        (a_foreign_type, "holds types that are not trusted: .*Strange"),
        (too_many_classes, r"its probabilities have the shape \(\d+, 3\) instead of \(\d+, 2\)"),
        (infinite, "its probabilities are not all finite numbers"),
        (other_inputs, "does not answer the holdout: .*; see docs/reference/training.md"),
        (no_model, "model.onnx cannot be loaded"),
        (a_failure_in_no_form, "left a failed.json that says nothing readable"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_cannot_be_trusted_is_a_failed_attempt_and_publishes_nothing(tmp_path: Path, team: Team, words: str) -> None:
    store, summary = run(tmp_path, team)
    assert (summary.outcome, summary.reason) == (TrainingOutcome.FAILED, "TrainingFailed")
    assert re.search(words, summary.message), summary.message
    assert not [key for key in store.objects if key.startswith(("manifests/", "blobs/"))]
