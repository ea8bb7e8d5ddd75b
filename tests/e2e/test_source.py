"""Models that another pipeline publishes, and a server of the team's own, on a real node."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import lightgbm
import numpy as np
import pytest
import xgboost

from hack.demo import flights, install
from hack.demo.timeline import condition
from hack.images.__main__ import name as image_name
from tests.e2e.place import ARTIFACTS, DATA, NAMESPACE, Object, Place

pytestmark = pytest.mark.e2e

NAME, OWN = "published", "own-server"
FEATURES = ["distance", "hour", "temp"]  # numbers, in the order of the matrix
FILE = "published/model"


def rows() -> tuple[Any, Any]:
    """What the other pipeline learns from: the numbers of a month, float64[n, 3], and whether each flight was late, bool[n]."""
    january = flights.between(flights.flights(), datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC))
    return january.select(FEATURES).to_numpy().astype(float), january["late"].to_numpy().astype(bool)


def by_xgboost() -> xgboost.Booster:
    inputs, late = rows()
    data = xgboost.DMatrix(inputs, label=late, feature_names=FEATURES)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 4}, data, 20)


def by_lightgbm() -> lightgbm.Booster:
    inputs, late = rows()
    data = lightgbm.Dataset(inputs, label=late, feature_name=FEATURES)
    return lightgbm.train({"objective": "binary", "num_leaves": 15, "verbosity": -1}, data, 20)


def published(format_: str) -> Object:
    """A Model of what lies in the store."""
    evaluation = {"uri": f"s3://{DATA}/january/", "timestamp": "scheduled_at", "gates": [{"metric": "roc_auc", "min": 0.55}]}
    meaning = {"target": "late", "classes": ["false", "true"], "features": [{"name": name} for name in FEATURES]}
    source = {"uri": f"s3://{DATA}/{FILE}", "format": format_, "schedule": "* * * * *", "evaluation": evaluation}
    return {"training": None, "source": source | meaning | {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}}


@pytest.fixture(scope="module")
def place(kube) -> Iterator[Place]:
    install.s3_server(kube)
    install.operator(kube)
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    january = flights.between(flights.flights(), datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC))
    with install.store(kube) as client:
        install.empty(client, DATA, ARTIFACTS)
        made = Place(kube, client)
        made.prepare(january)
        yield made
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def asked(place: Place, inputs: Sequence[Sequence[float]]) -> list[float]:
    """The probability of being late that the Service answers for rows of `FEATURES`."""
    columns = zip(FEATURES, zip(*inputs, strict=True), strict=True)
    tensors = [{"name": name, "datatype": "FP64", "shape": [len(inputs)], "data": list(column)} for name, column in columns]
    with place.kube.forwarded(NAMESPACE, f"service/{NAME}", 80) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/v2/models/{NAME}/infer", json={"inputs": tensors})
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    return [float(value) for value in outputs["predict_proba"]["data"][1::2]]


def test_a_file_of_xgboost_is_judged_published_and_answers_as_it_did(place):
    booster = by_xgboost()
    place.put(DATA, FILE, bytes(booster.save_raw("json")))
    place.apply(NAME, published("xgboost"))
    place.wait_for_condition(NAME, "Ready", "True", "Serving: revision 1")
    manifest = place.manifest(NAME, place.first(NAME)["spec"]["digest"])
    assert (manifest["format"], manifest["classes"]) == ("xgboost", ["false", "true"])
    assert manifest["evaluation"]["metrics"]["roc_auc"]["value"] > 0.55
    given = rows()[0][:50]
    given = given[~np.isnan(given).any(axis=1)]
    expected = booster.predict(xgboost.DMatrix(given, feature_names=FEATURES))
    assert asked(place, given.tolist()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_what_is_no_model_is_told_and_the_stable_revision_serves_on(place):
    place.put(DATA, FILE, b"{}")
    model = place.wait(NAME, "it is refused", lambda m: m["status"]["lastTraining"].get("reason") == "InvalidModel")
    assert model["status"]["lastTraining"]["outcome"] == "InvalidData"
    assert condition(model, "Ready")["status"] == "True"
    assert model["status"]["serving"]["number"] == 1


def test_another_pipeline_with_another_library_takes_over(place):
    booster = by_lightgbm()
    place.put(DATA, FILE, booster.model_to_string().encode())
    place.apply(NAME, published("lightgbm"))
    place.wait(NAME, "it serves", lambda m: m["status"]["serving"]["number"] == 2 and condition(m, "Ready")["status"] == "True")
    given = rows()[0][:50]
    given = given[~np.isnan(given).any(axis=1)]
    expected = booster.predict(given)
    assert asked(place, given.tolist()) == pytest.approx(list(expected), abs=1e-5)


def test_a_server_of_the_teams_own_finds_the_model_and_answers(place):
    """Python's own server shows what is in /mnt/model: without credentials, without a token, as nobody."""
    container = {
        "image": image_name("workloads"),
        "command": ["python3", "-m", "http.server", "9000", "--directory", "/mnt/model"],
        "port": 9000,
        "protocol": "HTTP",
        "readyPath": "/manifest.json",
    }
    place.apply(OWN, {"serving": {"container": container}})
    place.wait_for_condition(OWN, "Ready", "True", "Serving: revision 1")
    with place.kube.forwarded(NAMESPACE, f"service/{OWN}", 80) as port:
        shown = httpx.get(f"http://127.0.0.1:{port}/manifest.json").json()
    assert shown["classes"] == ["false", "true"]
    (pod,) = place.pods(OWN)
    (server,) = pod["spec"]["containers"]
    assert server["command"] == container["command"]
    assert not [e for e in server.get("env", []) if "valueFrom" in e], (
        "the store's credentials are the fetching container's alone"
    )
    assert pod["spec"]["automountServiceAccountToken"] is False
