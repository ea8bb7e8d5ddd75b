"""The import of a published file, whole: what is published, what is refused, and why."""

import json
import pickle

import numpy as np
import onnx
import onnx.helper
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from stationkeeper.api.base import sha256
from stationkeeper.api.manifest import EvaluationRecord
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.golden import Golden, ParityError
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.imports import place
from stationkeeper.workloads.training.inputs import Inputs
from tests.unit.workloads.imports import made_elsewhere as made
from tests.unit.workloads.imports.made_elsewhere import Pod, config, judged, rows, skops_of, source

NAMED = {"features": [{"name": "x"}, {"name": "hour", "type": "Integer"}]}
MIXED = {"features": [{"name": "colour", "type": "Text"}, {"name": "x"}, {"name": "hour"}]}


def plain_skops() -> bytes:
    frame = rows()
    return skops_of(LogisticRegression().fit(made.numbers(frame).astype(float), frame["late"].to_numpy()))


def words() -> bytes:
    """A classifier of text labels."""
    frame = rows()
    named = np.where(frame["late"].to_numpy() == 1, "late", "fine")
    return skops_of(LogisticRegression().fit(made.numbers(frame).astype(float), named))


def sigmoid(width: int | None = 1) -> bytes:
    """A network of one layer: one number, the probability of the positive class."""
    weights = onnx.numpy_helper.from_array(np.array([[1.0], [0.1]], dtype=np.float32), "w")
    nodes = [onnx.helper.make_node("MatMul", ["in", "w"], ["z"]), onnx.helper.make_node("Sigmoid", ["z"], ["out"])]
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info("in", onnx.TensorProto.FLOAT, [None, 2])],
        [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [None, width])],
        [weights],
    )
    opset = onnx.helper.make_opsetid("", 17)
    return bytes(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())


def with_weights_elsewhere() -> bytes:
    model = onnx.load_model_from_string(sigmoid())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return bytes(model.SerializeToString())


def network(*inputs: tuple[str, int, list[int | None]]) -> bytes:
    """A network that adds up its inputs, each cast to numbers: texts by being empty or not."""
    kinds = onnx.TensorProto
    nodes, sums = [], []
    for name, kind, _ in inputs:
        if kind == kinds.STRING:
            nodes.append(onnx.helper.make_node("Equal", [name, "empty"], [f"{name}_same"]))
        made = f"{name}_same" if kind == kinds.STRING else name
        nodes.append(onnx.helper.make_node("Cast", [made], [f"{name}_n"], to=kinds.FLOAT))
        nodes.append(onnx.helper.make_node("Reshape", [f"{name}_n", "rows"], [f"{name}_2"]))
        nodes.append(onnx.helper.make_node("ReduceSum", [f"{name}_2", "last"], [f"{name}_s"], keepdims=0))
        sums.append(f"{name}_s")
    nodes.append(onnx.helper.make_node("Sum", sums, ["out"]))
    constants = [
        onnx.numpy_helper.from_array(np.array([""], dtype=object), "empty"),
        onnx.numpy_helper.from_array(np.array([0, -1], dtype=np.int64), "rows"),
        onnx.numpy_helper.from_array(np.array([1], dtype=np.int64), "last"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [onnx.helper.make_tensor_value_info("out", kinds.FLOAT, [None])],
        constants,
    )
    opset = onnx.helper.make_opsetid("", 19)
    return bytes(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())


FLAT = network(
    ("a", onnx.TensorProto.FLOAT, [None]), ("b", onnx.TensorProto.BOOL, [None]), ("c", onnx.TensorProto.INT64, [None, 1])
)
BY_TYPE = network(("numeric", onnx.TensorProto.FLOAT, [None, 2]), ("text", onnx.TensorProto.STRING, [None, 2]))
OPEN = network(("X", onnx.TensorProto.DOUBLE, [None, None]))
TYPED = {"features": [{"name": "x"}, {"name": "c", "type": "Text"}, {"name": "y"}, {"name": "b", "type": "Boolean"}]}


@pytest.mark.parametrize(
    ("data", "spec", "asked", "answer"),
    [
        pytest.param(FLAT, {}, {"a": [1.5], "b": ["true"], "c": [3.0]}, 5.5, id="rows alone, and each of its type"),
        pytest.param(BY_TYPE, TYPED, {"x": [1.0], "y": [2.0], "c": [None], "b": ["true"]}, 4.0, id="one input for each type"),
        pytest.param(OPEN, NAMED, {"x": [1.25], "hour": [2.0]}, 3.25, id="the spec says how many"),
    ],
)
def test_inputs_of_many_shapes_are_filled(tmp_path, data, spec, asked, answer):
    pod = Pod(tmp_path, data)
    manifest = pod.manifest(pod.run(config(source("onnx", **spec) | {"target": "sum"})))
    predictor = load_model(manifest, {"model.onnx": data})
    columns = {n: np.array(v, dtype=object if isinstance(v[0], str | None) else float) for n, v in asked.items()}
    assert predictor.predict(columns).values.tolist() == [answer]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(OPEN, "does not say how many columns it takes", id="nobody says how many"),
        pytest.param(network(("X", onnx.TensorProto.FLOAT, [4, 2])), "takes exactly 4 rows", id="a fixed batch"),
        pytest.param(network(("X", onnx.TensorProto.FLOAT, [None, 2, 2])), "of shape", id="three dimensions"),
        pytest.param(network(("X", onnx.TensorProto.UINT8, [None, 2])), "tensor(uint8)", id="a type that no column has"),
    ],
)
def test_inputs_that_no_rows_can_fill_are_named(tmp_path, data, said):
    summary = Pod(tmp_path, data).run(config(source("onnx")))
    assert (summary.outcome, summary.reason) == ("InvalidData", "SignatureMismatch"), summary.message
    assert said in summary.message


def with_a_branch_elsewhere() -> bytes:
    """Weights in another file, in a graph inside the graph."""
    model = onnx.load_model_from_string(sigmoid())
    inner = onnx.load_model_from_string(with_weights_elsewhere()).graph
    node = onnx.helper.make_node("Constant", [], ["unused"], value_float=1.0)
    node.attribute.append(onnx.helper.make_attribute("body", inner))
    model.graph.node.append(node)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("data", "spec", "classes", "features"),
    [
        pytest.param(made.onnx_classifier(), source("onnx"), ["0", "1"], ["f0", "f1"], id="onnx, one input"),
        pytest.param(made.onnx_classifier(), source("onnx", **NAMED), ["0", "1"], ["x", "hour"], id="onnx, columns of the spec"),
        pytest.param(made.onnx_classifier(zipmap=True), source("onnx", **NAMED), ["0", "1"], ["x", "hour"], id="onnx, maps"),
        pytest.param(made.onnx_by_column(), source("onnx"), ["0", "1"], ["x", "hour", "colour"], id="onnx, input by column"),
        pytest.param(
            sigmoid(),
            source("onnx", task="Classification", classes=["no", "yes"]),
            ["no", "yes"],
            ["f0", "f1"],
            id="onnx, sigmoid",
        ),
        pytest.param(sigmoid(), source("onnx"), [], ["f0", "f1"], id="onnx, a number is a value"),
        pytest.param(plain_skops(), source("skops"), ["0", "1"], ["f0", "f1"], id="skops, columns without names"),
        pytest.param(words(), source("skops"), ["fine", "late"], ["f0", "f1"], id="skops, labels are words"),
        pytest.param(
            skops_of(made.mixed_pipeline(rows())),
            source("skops", **MIXED),
            ["0", "1"],
            ["x", "hour", "colour"],
            id="skops, frame",
        ),
    ],
)
def test_a_file_becomes_a_revision_that_answers_as_it_did(tmp_path, data, spec, classes, features):
    pod = Pod(tmp_path, data)
    summary = pod.run(config(spec))
    assert (summary.outcome, summary.data_digest) == ("Published", sha256(data)), summary.message
    manifest = pod.manifest(summary)
    assert manifest.classes == classes
    assert [feature.name for feature in manifest.features] == features
    files = {name: get_blob(pod.artifacts, ref) for name, ref in manifest.files.items()}
    assert data in files.values(), "the very bytes that were published are served"
    assert "reference.json" not in files, "there are no rows to compare with"
    golden = Golden.decode(files["golden.json"])
    golden.verify(load_model(manifest, files))
    assert len(next(iter(golden.columns.values()))) >= 16


def test_the_answers_are_those_of_the_model_itself(tmp_path):
    frame = rows(50, seed=3)
    pod = Pod(tmp_path, made.onnx_by_column())
    manifest = pod.manifest(pod.run(config(source("onnx"))))
    predictor = load_model(manifest, {"model.onnx": pod.lake.objects["model.bin"]})
    wanted = made.mixed_pipeline(rows()).predict_proba(frame.select("x", "hour", "colour"))
    columns = {
        "x": frame["x"].to_numpy(),
        "hour": frame["hour"].to_numpy().astype(float),
        "colour": np.array(frame["colour"].to_list(), dtype=object),
    }
    given = predictor.predict(columns)
    np.testing.assert_allclose(given.probabilities, wanted, atol=1e-5)
    assert given.labels.tolist() == [str(label) for label in wanted.argmax(axis=1)]


def test_rows_that_judge_open_the_gates_and_are_what_drift_is_compared_with(tmp_path):
    pod = Pod(tmp_path, made.onnx_classifier(), rows(seed=5))
    summary = pod.run(config(source("onnx", **NAMED, **judged())))
    assert summary.outcome == "Published", summary.message
    assert summary.metrics["roc_auc"] > 0.85
    manifest = pod.manifest(summary)
    assert {"reference.json", "pca.json", "estimation.json"} <= manifest.files.keys()
    assert manifest.evaluation.holdout_rows == 400
    listed = Inputs.model_validate_json(pod.artifacts.objects[keys.inputs("e1", 1)])
    assert (manifest.evaluation.frozen, len(listed.objects)) == (listed.digest, 1), "which rows these were can be told later"
    assert f"samples/{summary.digest[7:]}.parquet" in pod.artifacts.objects


def test_a_worse_file_is_refused_beside_the_one_that_serves(tmp_path):
    pod = Pod(tmp_path / "1", made.onnx_classifier(), rows(seed=5))
    gates = judged({"metric": "roc_auc", "min": 0.3}, {"metric": "roc_auc", "maxDrop": 0.05})
    first = pod.run(config(source("onnx", **NAMED, **gates)))
    assert first.outcome == "Published"
    shuffled = rows().with_columns(late=pl.col("late").shuffle(seed=1))
    worse = skops_of(GaussianNB().fit(made.numbers(shuffled).astype(float), shuffled["late"].to_numpy()))
    again = Pod(tmp_path / "2", worse, rows(seed=5))
    again.artifacts = pod.artifacts
    champion = {"number": 1, "digest": first.digest}
    spec = source("skops", **NAMED, **gates)
    summary = again.run(config(spec, cause="Source", episode="e2", revision=2, champion=champion))
    assert (summary.outcome, summary.reason) == ("Refused", "GateRefused")
    assert summary.data_digest == sha256(worse), "so that the same file is not judged again"
    kept = EvaluationRecord.model_validate_json(pod.artifacts.objects[keys.evaluation("e2", 1)])
    assert kept.frozen == pod.manifest(first).evaluation.frozen, (
        "what the gates said, and of which rows, is evidence of the decision"
    )
    assert summary.champion_metrics["roc_auc"] > summary.metrics["roc_auc"]
    assert len([key for key in pod.artifacts.objects if key.startswith("manifests/")]) == 1


@pytest.mark.parametrize(
    ("data", "spec", "reason", "said"),
    [
        pytest.param(None, source("onnx"), "NoData", "there is no file s3://lake/published/model.bin", id="no file"),
        pytest.param(b"", source("onnx"), "NoData", "has 0 bytes", id="empty"),
        pytest.param(b"junk", source("onnx"), "InvalidModel", "is not ONNX", id="not onnx"),
        pytest.param(pickle.dumps(LogisticRegression()), source("skops"), "InvalidModel", "not a skops archive", id="pickle"),
        pytest.param(with_weights_elsewhere(), source("onnx"), "InvalidModel", "in other files", id="weights in other files"),
        pytest.param(
            with_a_branch_elsewhere(), source("onnx"), "InvalidModel", "in other files", id="weights of a branch elsewhere"
        ),
        pytest.param(
            skops_of(made.mixed_pipeline(rows())), source("skops"), "InvalidModel", "list source.features", id="text, not said so"
        ),
        pytest.param(skops_of([1, 2]), source("skops"), "InvalidModel", "neither classifier nor regressor", id="no model"),
        pytest.param(
            made.onnx_classifier(),
            source("onnx", features=[{"name": "x"}]),
            "SignatureMismatch",
            "takes 2 columns of float, and source.features lists 1",
            id="too few columns",
        ),
        pytest.param(
            made.onnx_classifier(),
            source("onnx", features=[{"name": "x"}, {"name": "y"}, {"name": "z"}]),
            "SignatureMismatch",
            "no input for the column 'z'",
            id="too many columns",
        ),
        pytest.param(
            made.onnx_classifier(),
            source("onnx", features=[{"name": "x"}, {"name": "c", "type": "Text"}]),
            "SignatureMismatch",
            "takes 2 columns of float",
            id="text for numbers",
        ),
        pytest.param(
            made.onnx_classifier(),
            source("onnx", classes=["a", "b", "c"]),
            "SignatureMismatch",
            "the file has 2 classes, and source.classes lists 3",
            id="other classes",
        ),
        pytest.param(
            made.onnx_classifier(),
            source("onnx", task="Regression"),
            "SignatureMismatch",
            "answers with classes",
            id="other task",
        ),
        pytest.param(
            words(), source("skops", positiveLabel="early"), "SignatureMismatch", "is not a class", id="unknown positive class"
        ),
        pytest.param(
            made.onnx_by_column(),
            source("onnx", **judged(), target="x"),
            "SignatureMismatch",
            "correct source.target",
            id="the target is an input",
        ),
    ],
)
def test_what_cannot_be_served_says_why_and_nothing_is_published(tmp_path, data, spec, reason, said):
    pod = Pod(tmp_path, data, rows())
    summary = pod.run(config(spec))
    assert (summary.outcome, summary.reason) == ("InvalidData", reason), summary.message
    assert said in summary.message
    assert not [key for key in pod.artifacts.objects if key.startswith(("manifests/", "blobs/"))]
    assert json.loads(pod.artifacts.objects[keys.outcome("e1", 1)])["reason"] == reason


def test_a_file_that_is_too_large_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "MAX_BYTES", 10)
    pod = Pod(tmp_path, made.onnx_classifier())
    assert "at most 10" in pod.run(config(source("onnx"))).message
    assert ("get", "model.bin") not in pod.lake.log


def test_another_file_than_the_one_that_was_seen_is_not_imported(tmp_path):
    pod = Pod(tmp_path, made.onnx_classifier())
    summary = pod.run(config(source("onnx"), digest=sha256(b"an earlier file")))
    assert (summary.outcome, summary.reason) == ("InvalidData", "InputChanged")
    assert summary.data_digest is None, "this file was not judged"


@pytest.mark.parametrize(
    ("judges", "reason"),
    [
        pytest.param(rows().drop("late"), "MissingTargetColumn", id="no target"),
        pytest.param(rows().drop("hour"), "MissingFeatureColumn", id="no feature"),
        pytest.param(rows().with_columns(hour=pl.lit("noon")), "MalformedData", id="a feature of another type"),
        pytest.param(None, "NoData", id="no rows"),
    ],
)
def test_rows_that_cannot_judge_end_the_import(tmp_path, judges, reason):
    summary = Pod(tmp_path, made.onnx_classifier(), judges).run(config(source("onnx", **NAMED, **judged())))
    assert (summary.outcome, summary.reason) == ("InvalidData", reason), summary.message


def test_a_file_is_compared_with_the_one_that_serves_in_parts_of_the_rows_too(tmp_path):
    gates = judged({"metric": "roc_auc", "min": 0.3}, {"metric": "roc_auc", "maxDrop": 0.1, "segments": ["half"]})
    half = pl.when(pl.col("hour") > 12).then(pl.lit("night")).otherwise(pl.lit("day")).alias("half")
    judges, learned = rows(2000, seed=5).with_columns(half), rows(2000).with_columns(half)
    pod = Pod(tmp_path / "1", made.onnx_classifier(), judges)
    first = pod.run(config(source("onnx", **NAMED, **gates)))
    assert first.outcome == "Published", first.message
    blind = pl.when(pl.col("half") == "night").then(1 - pl.col("late")).otherwise(pl.col("late"))
    worse = DecisionTreeClassifier(max_depth=6, random_state=0).fit(
        made.numbers(learned), learned.select(blind).to_series().to_numpy()
    )
    again = Pod(tmp_path / "2", skops_of(worse), judges)
    again.artifacts = pod.artifacts
    champion = {"number": 1, "digest": first.digest}
    summary = again.run(config(source("skops", **NAMED, **gates), cause="Source", episode="e2", revision=2, champion=champion))
    assert summary.outcome == "Refused", summary.message
    kept = EvaluationRecord.model_validate_json(pod.artifacts.objects[keys.evaluation("e2", 1)])
    parts = {gate.segment: gate.verdict for gate in kept.gates if gate.segment}
    assert parts == {"half = day": "Passed", "half = night": "Refused"}


def test_a_part_that_is_no_column_ends_the_import(tmp_path):
    gates = judged({"metric": "roc_auc", "min": 0.3, "maxDrop": 0.1, "segments": ["half"]})
    summary = Pod(tmp_path, made.onnx_classifier(), rows(seed=5)).run(config(source("onnx", **NAMED, **gates)))
    assert (summary.outcome, summary.reason) == ("InvalidData", "MissingSegmentColumn"), summary.message


def test_truth_in_booleans_fits_classes_zero_and_one(tmp_path):
    judges = rows(seed=5).with_columns(late=pl.col("late") == 1)
    summary = Pod(tmp_path, made.onnx_classifier(), judges).run(config(source("onnx", **NAMED, **judged())))
    assert summary.metrics["roc_auc"] > 0.85


def test_an_attempt_that_has_ended_is_repeated_and_not_run_again(tmp_path):
    first = Pod(tmp_path / "1", made.onnx_classifier())
    told = first.run(config(source("onnx")))
    second = Pod(tmp_path / "2", b"junk")
    second.artifacts = first.artifacts
    assert second.run(config(source("onnx"))) == told


def test_a_file_that_is_quarantined_is_not_imported_whatever_was_asked_for(tmp_path):
    pod = Pod(tmp_path, made.onnx_classifier())
    bad = {"dataDigest": sha256(made.onnx_classifier()), "revisionDigest": sha256(b"bad"), "reason": "rolled back by a person"}
    summary = pod.run(config(source("onnx"), cause="Source", quarantined=[bad]))
    assert (summary.outcome, summary.reason) == ("Quarantined", "Quarantined")
    assert "which is quarantined (rolled back by a person)" in summary.message
    assert summary.data_digest == bad["dataDigest"], "so that the operator knows what lies there"
    assert not [key for key in pod.artifacts.objects if key.startswith("manifests/")]
    other = bad | {"dataDigest": sha256(b"another")}
    again = Pod(tmp_path / "2", made.onnx_classifier()).run(config(source("onnx"), cause="Source", quarantined=[other]))
    assert again.outcome == "Published"


def test_a_damaged_model_is_found_by_its_golden_rows(tmp_path):
    pod = Pod(tmp_path, made.onnx_classifier())
    manifest = pod.manifest(pod.run(config(source("onnx"))))
    golden = Golden.decode(get_blob(pod.artifacts, manifest.files["golden.json"]))
    with pytest.raises(ParityError):
        golden.verify(load_model(manifest, {"model.onnx": made.onnx_classifier(seed=9)}))
