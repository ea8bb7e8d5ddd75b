"""Canaries on a real node, under traffic: the bad ones are taken back, the good one is promoted, and the stable revision answers."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from hack.cluster.paths import REPOSITORY
from hack.demo import flights, install
from hack.demo.timeline import condition
from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.workloads.artifacts.keys import blob
from stationkeeper.workloads.artifacts.keys import manifest as manifest_key
from tests.e2e import onnx_models
from tests.e2e.place import ARTIFACTS, DATA, NAMESPACE, Place, eventually

pytestmark = pytest.mark.e2e

NAME = "canary"
CANARY = {
    "serving": {
        "replicas": 2,
        "rollout": {
            "strategy": "Canary",
            "steps": [{"weight": 50, "hold": "5s"}],
            "analysis": {"minRequests": 40, "maxLatencyRatio": 3, "deadline": "2m"},
        },
    }
}


@pytest.fixture(scope="module")
def place(kube) -> Iterator[Place]:
    """A Model with canaries on two pods, asked 20 times a second from here on."""
    install.s3_server(kube)
    install.operator(kube)
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    january = flights.between(flights.flights(), datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC))
    with install.store(kube) as client:
        install.empty(client, DATA, ARTIFACTS)
        made = Place(kube, client)
        made.prepare(january)
        made.put(DATA, "replay/flights.parquet", flights.parquet(january))
        made.apply(NAME, CANARY)
        made.wait_for_condition(NAME, "Ready", "True", "Serving: revision 1")
        # A Service shares out connections, and each stays with its pod for twenty seconds. Four of them now and then all miss the
        # canary for as long as a test waits (once in 256 times); sixteen do not.
        pace = {"ROWS_PER_REQUEST": "1", "REQUESTS_PER_SECOND": "20", "CONNECTIONS": "16", "LABELS_UNTIL": "0000"}
        install.replay_pod(kube, pace, NAMESPACE, NAME, DATA)
        yield made
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@dataclass(frozen=True)
class Bad:
    """A revision that proves itself on its golden rows and then behaves badly."""

    number: int
    model: bytes
    positive: float  # what it answers
    words: str  # why it is taken back


BAD = (
    Bad(2, onnx_models.failing(0.1), 0.1, "answers were server errors"),
    Bad(3, onnx_models.slow(0.1), 0.1, "95 % of its answers took up to"),
    Bad(4, onnx_models.constant(0.9), 0.9, "predictions differ from the stable revision's"),
)


def publish(place: Place, bad: Bad) -> str:
    """Put a revision into the store that no training would. Returns its digest."""
    (record,) = (r for r in place.revisions(NAME) if r["spec"]["number"] == 1)
    manifest = place.manifest(NAME, record["spec"]["digest"])
    golden = json.loads(place.read(f"{NAME}/{blob(manifest['files']['golden.json']['digest'])}"))
    rows = len(golden["labels"])
    golden["labels"] = [manifest["classes"][int(bad.positive > 0.5)]] * rows
    golden["probabilities"] = [[1 - bad.positive, bad.positive]] * rows
    for name, content in {"model.onnx": bad.model, "golden.json": json.dumps(golden).encode()}.items():
        digest = sha256(content)
        place.put(ARTIFACTS, f"{NAME}/{blob(digest)}", content)
        manifest["files"][name] = {"digest": digest, "size": len(content)}
    text = canonical_json(manifest | {"number": bad.number, "format": "onnx"})
    place.put(ARTIFACTS, f"{NAME}/{manifest_key(sha256(text))}", text)
    return sha256(text)


def replayed(place: Place) -> dict:
    return install.replay_line(place.kube, NAMESPACE)


def answers(model: dict, number: int) -> bool:
    """Whether this revision is the canary, and in its first step."""
    candidate = model["status"].get("candidate") or {}
    return (candidate.get("number"), candidate.get("step")) == (number, 0)


@pytest.mark.parametrize("bad", BAD, ids=["it errs", "it is slow", "its predictions shift"])
def test_a_bad_canary_is_taken_back(place, bad):
    digest = publish(place, bad)
    place.record(NAME, bad.number, digest)
    begun = place.wait(NAME, "the canary answers", lambda m: answers(m, bad.number), 90)
    assert begun["status"]["serving"]["number"] == 1
    # The evidence is there after a few requests; from then on half a minute is much.
    gone = place.wait(NAME, "it is taken back", lambda m: "candidate" not in m["status"], 45)
    entry = next(entry for entry in gone["status"]["quarantine"] if entry["digest"] == digest)
    assert re.search(bad.words, entry["reason"]), entry["reason"]
    place.wait_for_condition(NAME, "RolloutProgressing", "False", f"revision 1 serves; revision {bad.number} does not")
    assert condition(gone, "Ready")["status"] == "True"
    assert place.told(NAME, bad.words, reason="CandidateFailed")
    chosen = f"stationkeeper.dev/model={NAME},stationkeeper.dev/revision={bad.number}"
    assert eventually(lambda: place.kubectl("get", "pods", "-l", chosen, "-o", "name") == "")
    before = replayed(place)
    assert eventually(lambda: replayed(place)["sent"] > before["sent"] + 60)
    assert replayed(place)["failed"] == before["failed"], "nothing fails once it has gone"


def test_a_good_canary_answers_its_share_and_is_promoted(place):
    failed = replayed(place)["failed"]
    place.kubectl("annotate", "model", NAME, "stationkeeper.dev/retrain=once")
    shared = place.wait(NAME, "a canary", lambda m: answers(m, 5), 180)
    assert shared["status"]["candidate"]["weight"] == 50
    place.wait(NAME, "it is promoted", lambda m: m["status"]["serving"]["number"] == 5, 90)
    assert place.told(NAME, "revision 5 .*step 1 of 1", reason="CanaryStep")
    assert eventually(lambda: replayed(place)["revisions"].keys() >= {"1", "5"})
    assert replayed(place)["failed"] == failed, "a good canary costs no request"


def test_what_failed_is_the_share_that_the_weight_allows(place):
    place.put(DATA, "replay/stop", b"")
    assert eventually(lambda: replayed(place)["final"])
    line = replayed(place)
    assert line["sent"] > 1000
    assert all(error.startswith("500") for error in line["errors"]), line["errors"]
    assert line["failed"] <= 0.1 * line["sent"], "the bad canary's half, for a few seconds"


OWN = "own"  # trains in a container of the team's own: here our image, with the example of docs/reference/training.md in it


def example() -> str:
    """The script of the documentation, as it stands there."""
    page = (REPOSITORY / "docs/reference/training.md").read_text(encoding="utf-8")
    return page.partition("```python\n")[2].partition("```")[0]


def test_a_teams_own_container_trains_what_is_judged_published_and_served(place):
    container = {"image": "stationkeeper/workloads:dev", "task": "Classification", "command": ["python3", "-c", example()]}
    place.apply(OWN, {"training": {"container": container}}, without=("estimator",))
    place.wait_for_condition(OWN, "Ready", "True", "Serving: revision 1")
    manifest = place.manifest(OWN, place.first(OWN)["spec"]["digest"])
    assert manifest["estimator"] == "container stationkeeper/workloads:dev"
    assert manifest["evaluation"]["metrics"]["roc_auc"]["value"] > 0.55


def test_what_a_teams_container_says_of_its_end_is_told_and_the_stable_revision_serves_on(place):
    place.kubectl(
        "patch",
        "model",
        OWN,
        "--type=merge",
        "-p",
        json.dumps({"spec": {"training": {"container": {"command": ["sh", "-c", "exit 3"]}}}}),
    )
    model = place.wait(OWN, "it failed", lambda m: (m["status"].get("lastTraining") or {}).get("outcome") == "Failed")
    assert "container train ended with exit code 3" in model["status"]["lastTraining"]["message"]
    assert condition(model, "Ready")["status"] == "True"
