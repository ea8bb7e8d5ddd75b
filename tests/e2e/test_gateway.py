"""Traffic through a real Gateway: a canary gets its exact share, and neither a promotion nor a rollback costs a request."""

import json
import math
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from hack.cluster import existing, paths
from hack.demo import flights, install
from hack.demo.timeline import condition
from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.workloads.artifacts.keys import blob
from stationkeeper.workloads.artifacts.keys import manifest as manifest_key
from tests.e2e import conftest, onnx_models, traefik
from tests.e2e.place import ARTIFACTS, DATA, NAMESPACE, Object, Place, eventually
from tests.e2e.traefik import Prober

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(existing.wanted(), reason="the Gateway runs on this machine, and must reach the pods"),
]

NAME = "routed"
WEIGHT = 20
CANARY: Object = {
    "strategy": "Canary",
    "steps": [{"weight": WEIGHT, "hold": "30s"}],
    "analysis": {"minRequests": 40, "maxLatencyRatio": 50, "deadline": "3m"},
}
SHADOW: Object = {
    "strategy": "Shadow",
    "shadow": {"duration": "30s", "minRows": 100, "maxDisagreement": 0.2, "maxMeanDifference": 0.2},
    "analysis": {"deadline": "10m"},
}
SERVING: Object = {
    "replicas": 2,
    "capture": {"flushInterval": "5s"},
    "rollout": CANARY,
    "route": {"gateway": {"name": traefik.GATEWAY}},
}


@pytest.fixture(scope="module")
def place(kube) -> Iterator[Place]:
    """A Model that wants a route, in a cluster that has no Gateway API yet."""
    install.s3_server(kube)
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    traefik.remove_api(kube)
    install.operator(kube)
    with install.store(kube) as client:
        install.empty(client, DATA, ARTIFACTS)
        made = Place(kube, client)
        made.prepare(january())
        made.apply(NAME, {"serving": SERVING})
        yield made
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def january() -> pl.DataFrame:
    return flights.between(flights.flights(), datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC))


def bodies() -> list[bytes]:
    """Requests of one flight each."""
    made = []
    for row in january().sample(500, seed=1).select(flights.FEATURES).to_dicts():
        tensors = [
            {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
            for name, value in row.items()
        ]
        made.append(json.dumps({"inputs": tensors}).encode())
    return made


def test_without_the_gateway_api_the_model_serves_and_says_what_is_missing(place):
    place.wait_for_condition(NAME, "Ready", "True", "Serving: revision 1")
    place.wait_for_condition(NAME, "Routed", "False", "GatewayAPIMissing")


@pytest.fixture(scope="module")
def prober(place, tmp_path_factory) -> Iterator[Prober]:
    """The Gateway API and a controller come, and requests 20 times a second."""
    traefik.install_api(place.kube)
    log = tmp_path_factory.mktemp("traefik") / "traefik.log"
    with traefik.running(place.kube, _kubeconfig(), NAMESPACE, log) as port:
        place.wait_for_condition(NAME, "Routed", "True", "RouteAccepted")
        time.sleep(5)  # Traefik takes over what it has accepted at most every two seconds
        with Prober(port, f"/v2/models/{NAME}/infer", bodies()) as running:
            yield running


def _kubeconfig() -> Path:
    return paths.cluster_directory(conftest.CLUSTER) / "kubeconfig"


def publish(place: Place, number: int, positive: float) -> str:
    """Put a revision that answers all the same into the store, and its record into the cluster. Returns its digest."""
    manifest = place.manifest(NAME, place.first(NAME)["spec"]["digest"])
    golden = json.loads(place.read(f"{NAME}/{blob(manifest['files']['golden.json']['digest'])}"))
    rows = len(golden["labels"])
    golden["labels"] = [manifest["classes"][int(positive > 0.5)]] * rows
    golden["probabilities"] = [[1 - positive, positive]] * rows
    for name, content in {"model.onnx": onnx_models.constant(positive), "golden.json": json.dumps(golden).encode()}.items():
        place.put(ARTIFACTS, f"{NAME}/{blob(sha256(content))}", content)
        manifest["files"][name] = {"digest": sha256(content), "size": len(content)}
    text = canonical_json(manifest | {"number": number, "format": "onnx"})
    place.put(ARTIFACTS, f"{NAME}/{manifest_key(sha256(text))}", text)
    place.record(NAME, number, sha256(text))
    return sha256(text)


def routed(place: Place) -> dict[int, int]:
    """Percentages by revision that the route asks for."""
    refs = place.kube.get("httproute", NAME, NAMESPACE)["spec"]["rules"][0]["backendRefs"]
    return {int(re.search(r"-r(\d+)-", ref["name"])[1]): ref["weight"] for ref in refs}


def services(place: Place) -> set[str]:
    return {s["metadata"]["name"] for s in place.kube.list("services", NAMESPACE)} - {NAME, "replay"}


def weighs(model: Object) -> bool:
    return (model["status"].get("candidate") or {}).get("weight") == WEIGHT


def test_a_canary_that_answers_otherwise_is_taken_back_and_no_request_fails(place, prober):
    digest = publish(place, 2, 0.9)
    place.wait(NAME, "the Gateway gives it its share", weighs, 120)
    gone = place.wait(NAME, "it is taken back", lambda m: "candidate" not in m["status"], 90)
    entry = next(entry for entry in gone["status"]["quarantine"] if entry["digest"] == digest)
    assert "predictions differ" in entry["reason"]
    assert routed(place) == {1: 100}
    assert eventually(lambda: len(services(place)) == 1), "its pods and Service go once the Gateway has let go of it"
    before = prober.seen()
    assert eventually(lambda: prober.seen().sent > before.sent + 100)
    since = prober.seen().minus(before)
    assert since.revisions == {"1": since.sent}
    assert prober.seen().revisions["2"] > 0, "it did get its share"
    assert prober.seen().failures == {}


def test_a_good_canary_gets_its_exact_share_and_is_promoted_and_no_request_fails(place, prober):
    place.kubectl("annotate", "model", NAME, "stationkeeper.dev/retrain=once")
    place.wait(NAME, "the Gateway gives it its share", weighs, 300)
    assert routed(place) == {1: 100 - WEIGHT, 3: WEIGHT}
    time.sleep(4)  # until the Gateway does what it has said
    before = prober.seen()
    assert eventually(lambda: prober.seen().sent >= before.sent + 300, 60)
    shared = prober.seen().minus(before)
    place.wait(NAME, "it is promoted", lambda m: m["status"]["serving"]["number"] == 3, 180)
    p, n = WEIGHT / 100, shared.sent
    print(f"weights {100 - WEIGHT}/{WEIGHT}: {shared.revisions['1']}/{shared.revisions['3']} of {n} requests")
    assert abs(shared.share(3) - p) < 4 * math.sqrt(p * (1 - p) / n), dict(shared.revisions)
    assert eventually(lambda: routed(place) == {3: 100})
    assert eventually(lambda: len(services(place)) == 1)
    before = prober.seen()
    assert eventually(lambda: prober.seen().sent > before.sent + 100)
    assert prober.seen().minus(before).revisions.keys() == {"3"}
    assert prober.seen().failures == {}
    assert place.model(NAME)["status"]["route"]["weights"] == [{"revision": 3, "weight": 100}]


def test_a_shadow_that_answers_otherwise_is_given_up_and_nobody_has_heard_it(place, prober):
    place.apply(NAME, {"serving": SERVING | {"rollout": SHADOW}})
    digest = publish(place, 4, 0.9)
    place.wait(NAME, "it is a shadow", lambda m: condition(m, "RolloutProgressing").get("reason") == "Shadow", 120)
    gone = place.wait(NAME, "it is given up", lambda m: "candidate" not in m["status"], 240)
    entry = next(entry for entry in gone["status"]["quarantine"] if entry["digest"] == digest)
    assert "got another class" in entry["reason"]
    assert "4" not in prober.seen().revisions
    assert [key for key in place.keys(f"{NAME}/shadow/") if key.endswith(".json")]
    assert place.keys(f"{NAME}/capture/{digest.removeprefix('sha256:')}/") == [], "what it was asked is not captured"
    assert prober.seen().failures == {}


def test_a_shadow_that_agrees_takes_all_requests_at_once_and_none_fails(place, prober):
    place.kubectl("annotate", "--overwrite", "model", NAME, "stationkeeper.dev/retrain=twice")
    place.wait(NAME, "it is a shadow", lambda m: condition(m, "RolloutProgressing").get("reason") == "Shadow", 300)
    promoted = place.wait(NAME, "it is promoted", lambda m: m["status"]["serving"]["number"] == 5, 300)
    (decision,) = (d for d in promoted["status"]["decisions"] if d["kind"] == "Promoted" and d["revision"] == 5)
    assert decision["reports"][0].startswith(f"s3://{ARTIFACTS}/{NAME}/shadow/"), "what the shadow showed is its evidence"
    assert place.told(NAME, "it passed as a shadow", reason="RevisionServing")
    assert eventually(lambda: routed(place) == {5: 100})
    before = prober.seen()
    assert eventually(lambda: prober.seen().sent > before.sent + 100)
    assert prober.seen().failures == {}
    print(f"{prober.seen().sent} requests in all, none failed")


def test_a_route_that_is_not_wanted_any_more_goes(place, prober):
    place.kubectl("patch", "model", NAME, "--type=json", "-p", '[{"op": "remove", "path": "/spec/serving/route"}]')
    assert eventually(lambda: not place.kube.get("httproute", NAME, NAMESPACE))
    assert eventually(lambda: services(place) == set())
    assert condition(place.model(NAME), "Ready")["status"] == "True"
