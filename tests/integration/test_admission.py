"""What the API server refuses, and how it says so."""

import copy
from typing import Any

import pytest

from tests.support import world

pytestmark = pytest.mark.integration


def change(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(obj)
    *parents, last = path.split(".")
    where = changed
    for part in parents:
        where = where[part]
    if value is None:
        del where[last]
    else:
        where[last] = value
    return changed


BAD_MODELS = [
    ("metadata.name", "a" * 41, "DNS label of at most 40 characters"),
    ("metadata.name", "9lives", "starts with a letter"),
    ("spec.storage.uri", "http://bucket/x", "spec.storage.uri"),
    ("spec.storage.uri", None, "spec.storage.uri"),
    ("spec.serving.runtime", "tensorflow", 'supported values: "sklearn"'),
    ("spec.serving.replicas", -1, "spec.serving.replicas"),
    ("spec.source", {"uri": "s3://b1t/model.onnx", "format": "onnx"}, "give exactly one of training and source"),
    ("spec.training", None, "give exactly one of training and source"),
    ("spec.serving.container", {"image": "x", "protocol": "HTTP"}, "protocol HTTP needs readyPath"),
    ("spec.serving.container", {"image": "x", "env": [{"name": "STATIONKEEPER_X"}]}, "set by the operator"),
    ("spec.serving", {"rollout": {"strategy": "Shadow"}, "container": {"image": "x"}}, "of your own captures none"),
    (
        "spec.serving",
        {"route": {"gateway": {"name": "public"}}, "container": {"image": "x", "protocol": "HTTP", "readyPath": "/up"}},
        "protocol HTTP need not know",
    ),
    ("spec.training.estimator.class", "os.system", "spec.training.estimator.class"),
    ("spec.training.estimator.class", "pickle.loads", "spec.training.estimator.class"),
    ("spec.serving.rollout", {"analysis": {"queries": [{"name": "late"}]}}, "an analysis query needs min or max"),
    ("spec.serving.rollout", {"analysis": {"queries": [{"name": "late", "min": 2, "max": 1}]}}, "min must not be above max"),
    ("spec.serving.rollout", {"analysis": {"queries": [{"name": "late", "max": 1}, {"name": "late", "max": 2}]}}, "duplicate"),
    ("spec.serving.rollout", {"analysis": {"queries": [{"name": "rate(x[1m])", "max": 1}]}}, "queries[0].name"),
    ("spec.serving.rollout", {"strategy": "Mirror"}, "spec.serving.rollout.strategy"),
    ("spec.serving.route", {}, "spec.serving.route.gateway"),
    ("spec.serving.route", {"gateway": {"name": "Public"}}, "spec.serving.route.gateway.name"),
    ("spec.serving.route", {"gateway": {"name": "public"}, "hostnames": ["a b"]}, "spec.serving.route.hostnames"),
    ("spec.serving", {"rollout": {"strategy": "Shadow"}, "capture": {"sampleRate": 0}}, "sampleRate must be above 0"),
    ("spec.training.data.target", "departed_at", "timestamp and target must be two columns"),
    ("spec.training.data.features", ["late", "x"], "features must not name the target"),
    ("spec.training.data.features", [], "spec.training.data.features"),
    ("spec.training.data.window", "two months", "spec.training.data.window"),
    ("spec.training.data.feedback", {}, "training.data.feedback needs labels"),
    ("spec.training.data.sources", [{"uri": "file:///x"}], "spec.training.data.sources[0].uri"),
    ("spec.training.data.maxRows", 10, "spec.training.data.maxRows"),
    ("spec.training.evaluation.gates", [], "spec.training.evaluation.gates"),
    ("spec.training.evaluation.gates", [{"metric": "roc_auc", "maxDrop": 0.1}], "at least one gate needs min"),
    ("spec.training.evaluation.gates", [{"metric": "roc_auc"}], "a gate needs min or maxDrop"),
    ("spec.training.evaluation.gates", [{"metric": "r2", "min": 0.1, "segments": ["a"]}], "segments need maxDrop"),
    ("spec.training.evaluation.holdout", {"uri": "s3://models/frozen/", "gap": "1d"}, "a holdout of its own"),
    ("spec.training.evaluation.budget", {"size": "64MB"}, "spec.training.evaluation.budget.size"),
    ("spec.training.data.windows", ["60d"], "spec.training.data.windows"),
    ("spec.training.data.windows", ["60d", "60d"], "windows must differ"),
    ("spec.training.search", {"params": {}}, "spec.training.search.params"),
    ("spec.training.search", {"params": {"C": []}}, "spec.training.search.params"),
    ("spec.training.schedule", "every day", "spec.training.schedule"),
    ("spec.training.watch", {}, "watch needs exactly one of uri and image"),
    ("spec.training.watch", {"uri": "s3://code/a.zip", "image": "registry.example.com/a:1"}, "exactly one of uri and image"),
    ("spec.training.watch", {"uri": "s3://code/a/"}, "must not end in a slash"),
    ("spec.training.watch", {"uri": "s3://code/a.zip", "insecure": True}, "they need watch.image"),
    ("spec.training.watch", {"image": "trainer:1"}, "spec.training.watch.image"),
    ("spec.training.watch", {"image": "registry.example.com/a@sha256:" + "0" * 64}, "spec.training.watch.image"),
    (
        "spec.training.watch",
        {"image": "registry.example.com/a:1", "insecure": True, "pullSecretName": "registry"},
        "a password is not sent in the clear",
    ),
    ("spec.retraining.cooldown", "6", "spec.retraining.cooldown"),
    ("spec.retraining.causes", ["Boredom"], "spec.retraining.causes"),
    ("spec.nonsense", 1, "unknown field"),
]


@pytest.mark.parametrize(
    ("path", "value", "said"), BAD_MODELS, ids=[f"{path}={str(value)[:20]}" for path, value, _ in BAD_MODELS]
)
def test_a_bad_model_is_refused_by_name(cluster, path, value, said):
    bad = change({**world.model(), "metadata": {"name": "flights", "namespace": "default"}}, path, value)
    done = cluster.run("create", "--dry-run=server", "--validate=strict", "-f", "-", body=bad)
    assert done.returncode != 0
    assert said.lower() in done.stderr.lower()


BAD_POLICIES = [
    ("spec.modelSelector", {"matchLabels": {"team": "ops"}}, "exactly one of modelRef and modelSelector"),
    ("spec.modelRef", None, "exactly one of modelRef and modelSelector"),
    ("spec.window", "90s", "spec.window"),
    ("spec.breach", {"windows": 3, "of": 2}, "breach.windows must not exceed breach.of"),
    ("spec.features", {"default": {"test": "KolmogorovSmirnov", "threshold": 2}}, "at most 1"),
    ("spec.features", {"default": {"test": "Vibes"}}, "spec.features.default.test"),
    ("spec.features", {"columns": [{"name": "a"}, {"name": "a"}]}, "duplicate"),
    ("spec.falseAlarmRate", 0, "spec.falseAlarmRate"),
    ("spec.action", "Panic", "spec.action"),
]


@pytest.mark.parametrize(
    ("path", "value", "said"), BAD_POLICIES, ids=[f"{path}={str(value)[:20]}" for path, value, _ in BAD_POLICIES]
)
def test_a_bad_policy_is_refused_by_name(cluster, path, value, said):
    bad = change({**world.policy(), "metadata": {"name": "watch", "namespace": "default"}}, path, value)
    done = cluster.run("create", "--dry-run=server", "--validate=strict", "-f", "-", body=bad)
    assert done.returncode != 0
    assert said.lower() in done.stderr.lower()


def test_good_ones_are_taken_and_defaulted(cluster, namespace):
    made = cluster.create({**world.model(), "metadata": {"name": "flights", "namespace": namespace}})
    assert made["spec"]["retraining"]["causes"] == ["Drift", "Quality", "CodeChange", "Growth", "Schedule", "Source"]
    assert made["spec"]["serving"]["capture"] == {"sampleRate": 1, "maxRowsPerMinute": 10000, "flushInterval": "60s"}
    assert made["spec"]["training"]["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}}
    policy = cluster.create({**world.policy(), "metadata": {"name": "watch", "namespace": namespace}})
    assert policy["spec"]["breach"] == {"windows": 2, "of": 3}
    assert policy["spec"]["schema"]["missingColumns"] == "Breach"


def test_a_model_that_is_made_elsewhere_is_taken(cluster, namespace):
    rows = {"uri": "s3://published/rows/", "gates": [{"metric": "roc_auc", "min": 0.7, "maxDrop": 0.01, "segments": ["plan"]}]}
    wanted = world.sourced(evaluation=rows, features=[{"name": "age"}, {"name": "plan", "type": "Text"}])
    wanted["spec"]["serving"] = {"container": {"image": "team/server:1"}, "route": {"gateway": {"name": "public"}}}
    made = cluster.create({**wanted, "metadata": {"name": "flights", "namespace": namespace}})
    assert "training" not in made["spec"]
    assert made["spec"]["source"]["schedule"] == "*/5 * * * *"
    assert made["spec"]["serving"]["container"]["protocol"] == "OpenInference"


def test_storage_cannot_move(cluster, namespace):
    cluster.create({**world.model(), "metadata": {"name": "flights", "namespace": namespace}})
    patch = '{"spec": {"storage": {"uri": "s3://other/place"}}}'
    done = cluster.run("-n", namespace, "patch", "model", "flights", "--type=merge", "-p", patch)
    assert done.returncode != 0
    assert "storage.uri cannot change" in done.stderr


def test_kubectl_explains_every_field(cluster):
    for path in ("model.spec.training.data", "model.spec.retraining", "driftpolicy.spec.features", "modelrevision.spec"):
        text = cluster("explain", path)
        fields = text.split("FIELDS:")[1]
        assert "<no description>" not in fields


def test_the_model_scales(cluster, namespace):
    cluster.create({**world.model(), "metadata": {"name": "flights", "namespace": namespace}})
    cluster("-n", namespace, "scale", "model", "flights", "--replicas=5")
    assert cluster.get("model", namespace, "flights")["spec"]["serving"]["replicas"] == 5


def test_what_an_api_server_says_whose_crds_are_older_than_the_operator(cluster):
    """The words that `kube.errors` knows it by."""
    model = {**world.model(), "metadata": {"name": "older", "namespace": "default"}}
    cluster.create(model)
    try:
        status = {key: model[key] for key in ("apiVersion", "kind", "metadata")} | {"status": {"fromTheFuture": 1}}
        done = cluster.run("apply", "--server-side", "--subresource=status", "--validate=false", "-f", "-", body=status)
        assert "failed to create typed patch object" in done.stderr
        assert "field not declared in schema" in done.stderr
        assert "stationkeeper.dev/v1alpha1" in done.stderr
        assert ".status.fromTheFuture" in done.stderr
    finally:
        cluster("-n", "default", "delete", "model", "older", "--wait=true")


def test_windows_to_choose_from_a_search_and_all_that_can_judge_are_taken(cluster):
    training = {
        "search": {"params": {"max_depth": [3, None], "penalty": ["l2"]}, "trials": 5},
        "data": {"uri": "s3://data/flights/", "target": "late", "timestamp": "departed_at", "windows": ["60d", "365d"]},
        "evaluation": {
            "holdout": {"period": "30d", "gap": "2d"},
            "gates": [{"metric": "roc_auc", "min": 0.6, "maxDrop": 0.01, "segments": ["carrier"]}],
            "budget": {"latency": "5ms", "size": "64Mi"},
        },
    }
    model = world.model()
    model["spec"]["training"] |= training
    body = {**model, "metadata": {"name": "flights", "namespace": "default"}}
    done = cluster.run("create", "--dry-run=server", "--validate=strict", "-f", "-", body=body)
    assert done.returncode == 0, done.stderr
