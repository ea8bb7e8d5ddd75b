"""Models that were made elsewhere, served: requests by their own columns, answers in their own classes."""

import json

import lightgbm
import pytest
import xgboost

from stationkeeper.api.jobs import ServeConfig
from stationkeeper.api.serving import Capture
from stationkeeper.workloads.artifacts.columns import from_lists
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.artifacts.outputs import kept
from stationkeeper.workloads.serving.app import App
from stationkeeper.workloads.serving.buffer import Answered
from stationkeeper.workloads.serving.loading import load
from stationkeeper.workloads.serving.metrics import Metrics
from stationkeeper.workloads.serving.slots import Collector, Names
from stationkeeper.workloads.serving.state import State
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.imports import made_elsewhere as made
from tests.unit.workloads.imports.made_elsewhere import Pod, config, rows, source
from tests.unit.workloads.serving.asgi import call
from tests.unit.workloads.serving.published import published
from tests.unit.workloads.training import pod as training

MIXED = {"features": [{"name": "x"}, {"name": "hour"}, {"name": "colour", "type": "Text"}]}
NAMED = {"features": [{"name": "x"}, {"name": "hour"}]}


def numbers():
    """Rows of both numbers, and their labels."""
    frame = rows()
    return made.numbers(frame).astype(float), frame["late"].to_numpy()


PUBLISHED = {
    "onnx by column": (made.onnx_by_column, source("onnx")),
    "skops": (lambda: made.skops_of(made.mixed_pipeline(rows())), source("skops", **MIXED)),
    "xgboost": (
        lambda: bytes(xgboost.XGBClassifier(n_estimators=20).fit(*numbers()).get_booster().save_raw("json")),
        source("xgboost", **NAMED),
    ),
    "lightgbm": (
        lambda: lightgbm.LGBMClassifier(n_estimators=20, verbose=-1).fit(*numbers()).booster_.model_to_string().encode(),
        source("lightgbm", **NAMED),
    ),
    "onnx with maps": (lambda: made.onnx_classifier(zipmap=True), source("onnx", **NAMED)),
}


@pytest.fixture(params=PUBLISHED)
def served(request, tmp_path):
    """A published file, imported and loaded as a serving pod loads it."""
    content, spec = PUBLISHED[request.param]
    pod = Pod(tmp_path, content())
    summary = pod.run(config(spec))
    assert summary.digest, summary.message
    serve = ServeConfig.model_validate(
        {
            "model": {"namespace": "ops", "name": "flights", "uid": "uid-1"},
            "storage": {"uri": "s3://test/model"},
            "revision": {"number": 1, "digest": summary.digest},
            "capture": Capture(),
        }
    )
    return load(serve, lambda: pod.artifacts)


def app_of(served):
    return App("flights", 1, served.digest, State(served=served), Metrics())


def tensors(**columns):
    types = {"x": "FP64", "hour": "INT64", "colour": "BYTES"}
    return [{"name": n, "shape": [len(v)], "datatype": types[n], "data": v} for n, v in columns.items()]


async def infer(served, **columns):
    known = {feature.name for feature in served.manifest.features}
    inputs = tensors(**{name: values for name, values in columns.items() if name in known})
    answer = await call(app_of(served), "POST", "/v2/models/flights/infer", json.dumps({"inputs": inputs}).encode())
    assert answer is not None
    return answer


async def test_it_answers_with_labels_and_probabilities(served):
    answer = await infer(served, x=[-3.0, 3.0], hour=[0, 23], colour=["green", "red"])
    assert answer.status == 200, answer.json
    labels, probabilities = answer.json["outputs"]
    assert (labels["name"], labels["data"], labels["datatype"]) == ("predict", [0, 1], "INT64")
    assert (probabilities["name"], probabilities["shape"]) == ("predict_proba", [2, 2])
    assert probabilities["data"][0] > 0.8
    assert probabilities["data"][3] > 0.8


async def test_a_missing_value_that_it_cannot_take_is_the_clients_error(served):
    answer = await infer(served, x=[1.0], hour=[None], colour=["red"])
    if next(f.nullable for f in served.manifest.features if f.name == "hour"):
        assert answer.status == 200, answer.json
    else:
        assert (answer.status, "'hour'" in answer.json["error"]) == (400, True), answer.json


async def test_its_metadata_names_its_columns(served):
    answer = await call(app_of(served), "GET", "/v2/models/flights")
    assert answer is not None
    assert [column["name"] for column in answer.json["inputs"]] == [feature.name for feature in served.manifest.features]


def test_rows_are_captured_though_nothing_can_be_counted(served):
    assert served.reference is None
    metrics = Metrics()
    collector = Collector(served, Capture(flush_interval="5s"), Names(served.digest, "pod-1", 3), metrics)
    columns = {"x": [1.0], "hour": [3.0], "colour": ["red"]}
    asked = from_lists({f.name: columns[f.name] for f in served.manifest.features}, served.manifest.features)
    outputs = kept(served.manifest, served.predictor.predict(asked))
    collector.collect([Answered("r1", 100.0, asked, outputs, ("other",), 1, 500)])
    (written,) = collector.everything()
    assert (written.kind.value, written.rows) == ("rows", 1)


def test_a_revision_that_was_trained_here_needs_its_reference():
    revision = published().fresh()
    files = {name: ref for name, ref in revision.manifest.files.items() if name != "reference.json"}
    digest = publish_manifest(revision.store, revision.manifest.model_copy(update={"files": files}))
    changed = revision.config.model_copy(update={"revision": revision.config.revision.model_copy(update={"digest": digest})})
    with pytest.raises(MalformedArtifact, match=r"no file reference\.json"):
        load(changed, lambda: revision.store)


@pytest.mark.parametrize("estimator", ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier"])
async def test_what_was_trained_here_by_boosting_serves_after_it_has_proven_parity(tmp_path, estimator):
    store = MemoryStore()
    summary = training.train(tmp_path, training.rows(), store, estimator={"class": estimator, "params": {"n_estimators": 10}})
    assert summary.digest, summary.message
    config = ServeConfig.model_validate(
        {
            "model": {"namespace": "default", "name": "test", "uid": training.MODEL_UID},
            "storage": {"uri": "s3://test/model"},
            "revision": {"number": 1, "digest": summary.digest},
            "capture": Capture(),
        }
    )
    app = App("test", 1, summary.digest, State(served=load(config, lambda: store)), Metrics())
    asked = {"x": [2.0, None], "count": [1, 2], "colour": ["red", None], "member": [True, False]}
    types = {"x": "FP64", "count": "INT64", "colour": "BYTES", "member": "BOOL"}
    inputs = [{"name": n, "shape": [2], "datatype": types[n], "data": v} for n, v in asked.items()]
    answer = await call(app, "POST", "/v2/models/test/infer", json.dumps({"inputs": inputs}).encode())
    assert answer is not None
    assert answer.status == 200, answer.json
    assert answer.json["outputs"][0]["data"][0] is True
