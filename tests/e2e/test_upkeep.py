"""What a Model asks of its node and of its store over a whole life: room, code that changes elsewhere, feedback, sweeps, an heir."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import polars as pl
import pytest

from hack.demo import flights, install
from hack.demo.timeline import condition
from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.workloads.artifacts import keys
from tests.e2e.damage import Forgery, forge
from tests.e2e.place import ARTIFACTS, DATA, NAMESPACE, Object, Place, eventually, merged, says
from tests.e2e.room import age, free_memory

pytestmark = pytest.mark.e2e

LARGE, KEPT = "large", "kept"
SLACK = 2**30  # bytes that are left to trainings and other Jobs
REQUESTS, ROWS = 60, 20  # of each: what feedback is made of
CODE = "code/train.tar.gz"
CAPTURED = timedelta(minutes=2)  # how long captured rows stay
SWEEPING: Object = {
    "revision": 2,
    "revisionHistoryLimit": 2,
    "retention": {"artifacts": "Sweep", "grace": "1h", "captured": "2m"},
}


def kept(**change: Any) -> Object:
    """A Model that looks after its code and learns from what it was asked."""
    spec: Object = {
        "serving": {"capture": {"flushInterval": "5s"}},
        "labels": {"uri": f"s3://{DATA}/truths/", "lag": "1s"},
        "training": {"watch": {"uri": f"s3://{DATA}/{CODE}", "schedule": "* * * * *"}, "data": {"feedback": {}}},
    }
    return merged(spec, change)


def large(memory: int, surge: int | None = None) -> Object:
    """Three pods that ask for so many bytes each. Beside a training on two cores latency says nothing of a revision."""
    rollout: Object = {"maxSurge": surge, "analysis": {"maxLatencyRatio": 50}}
    return {
        "serving": {"replicas": 3, "resources": {"requests": {"memory": str(memory)}}, "rollout": rollout},
    }


def month(number: int) -> pl.DataFrame:
    start, end = (datetime(2013, n, 1, tzinfo=UTC) for n in (number, number + 1))
    return flights.between(flights.flights(), start, end)


def asked() -> pl.DataFrame:
    """Flights that the Model has never seen, for `REQUESTS` of `ROWS` each."""
    return month(2).sample(REQUESTS * ROWS, seed=1)


def ask(port: int, rows: pl.DataFrame, request: str) -> httpx.Response:
    tensors = [
        {
            "name": name,
            "shape": [rows.height],
            "datatype": "BYTES" if rows.schema[name] == pl.String else "FP64",
            "data": rows[name].to_list(),
        }
        for name in flights.FEATURES
    ]
    answer = httpx.post(f"http://127.0.0.1:{port}/v2/models/{KEPT}/infer", json={"id": request, "inputs": tensors})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.fixture(scope="module")
def place(kube) -> Iterator[Place]:
    install.s3_server(kube)
    install.operator(kube)
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    with install.store(kube) as client:
        install.empty(client, DATA, ARTIFACTS)
        made = Place(kube, client)
        made.prepare(month(1))
        made.put(DATA, "replay/flights.parquet", flights.parquet(flights.flights().head(60_000)))
        made.put(DATA, CODE, b"as it was first")
        yield made
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def memory(place) -> int:
    """Bytes for each pod of LARGE, so that the node has room for four of them and not for a fifth.

    Both Models serve: LARGE is asked 20 times a second from here on. KEPT was asked already, and the code that it watches
    has just changed: that is trained while LARGE is looked at.
    """
    if len(place.kube.list("nodes", NAMESPACE)) != 1:
        pytest.skip("pods are made as large as fills one node")
    each = (free_memory(place.kube) - SLACK) // 4
    assert each > SLACK, "a fifth would fit into what is left to Jobs"
    place.apply(LARGE, large(each))
    place.apply(KEPT, kept())
    for name in (LARGE, KEPT):
        place.wait_for_condition(name, "Ready", "True", "Serving: revision 1")
    pace = {"ROWS_PER_REQUEST": "1", "REQUESTS_PER_SECOND": "20", "LABELS_UNTIL": "0000"}
    install.replay_pod(place.kube, pace, NAMESPACE, LARGE, DATA)
    with place.kube.forwarded(NAMESPACE, f"service/{KEPT}", 80) as port:
        for number, rows in enumerate(asked().iter_slices(ROWS)):
            ask(port, rows, f"asked-{number}")
    place.wait(KEPT, "its code was seen", lambda m: (m["status"].get("watched") or {}).get("digest"), 120)
    place.put(DATA, CODE, b"as it is now")
    place.wait(LARGE, "all pods are ready", lambda m: m["status"]["readyReplicas"] == 3)
    return each


def publish(place: Place, number: int) -> None:
    """A revision of LARGE that no training made: it answers as the first."""
    place.record(LARGE, number, forge(place, LARGE, Forgery(number, "", lambda golden: {})))


def assert_no_room(place: Place, number: int) -> None:
    """The candidate waits for room, and is not blamed; what served serves on all its pods."""
    place.wait_for_condition(LARGE, "RolloutProgressing", "False", "NoRoom: .*Insufficient memory")
    model = place.model(LARGE)
    assert model["status"]["candidate"]["number"] == number
    assert model["status"].get("quarantine", []) == []
    assert (condition(model, "Ready")["status"], model["status"]["readyReplicas"]) == ("True", 3)
    assert model["status"]["serving"]["number"] == number - 1
    assert "Insufficient memory" in place.cli("explain", LARGE)


def asked_for(place: Place) -> int:
    """Pods of LARGE that its Deployments ask for together."""
    return sum(
        d["spec"]["replicas"] for d in place.kube.list("deployments", NAMESPACE) if d["metadata"]["name"].startswith(LARGE)
    )


def test_a_candidate_for_which_there_is_no_room_waits_and_says_so(place, memory):
    publish(place, 2)
    assert_no_room(place, 2)


def test_with_one_pod_more_it_takes_over_pod_by_pod_though_the_operator_is_killed(place, memory):
    place.apply(LARGE, large(memory, surge=1))
    place.wait(LARGE, "it has begun to take over", lambda m: (m["status"].get("candidate") or {}).get("step") is not None, 60)
    assert eventually(lambda: asked_for(place) <= 4), "those that wait for room are asked for no more"
    place.kill_the_operator()
    both, deadline = set(), time.monotonic() + 180
    while (model := place.model(LARGE))["status"]["serving"]["number"] != 2:
        assert time.monotonic() < deadline, place.kubectl("describe", "model", LARGE)[-5000:]
        assert 3 <= asked_for(place) <= 4, "as many as ever, and one more"
        both.add((model["status"].get("candidate") or {}).get("weight"))
        time.sleep(0.3)
    assert both & {25, 33, 50, 67, 75}, "both answered, by their shares of pods"


def test_asking_for_less_makes_room(place, memory):
    place.apply(LARGE, large(memory))
    publish(place, 3)
    assert_no_room(place, 3)
    place.apply(LARGE, large(2**26))
    place.wait(LARGE, "it serves", lambda m: m["status"]["serving"]["number"] == 3, 180)


def test_not_one_request_failed_meanwhile(place, memory):
    assert eventually(lambda: install.replay_line(place.kube, NAMESPACE)["revisions"].keys() == {"1", "2", "3"})
    place.put(DATA, "replay/stop", b"")
    assert eventually(lambda: install.replay_line(place.kube, NAMESPACE)["final"])
    line = install.replay_line(place.kube, NAMESPACE)
    assert (line["failed"], line["errors"]) == (0, {})
    assert line["sent"] == line["rows"] > 500
    place.kubectl("delete", "model", LARGE, "--wait=false")


def test_code_that_has_changed_elsewhere_is_trained(place, memory):
    model = place.wait(KEPT, "it serves", lambda m: m["status"]["serving"]["number"] == 2)
    assert model["status"]["lastTraining"]["cause"] == "CodeChange"
    assert len(model["status"]["trainings"]) == 2
    assert place.told(KEPT, f"s3://{DATA}/{CODE}", reason="WatchedChanged")


def test_what_was_asked_and_what_turned_out_to_be_true_is_learned(place, memory):
    """Of 1200 rows 100 have no label yet, and ten have two that disagree."""
    where = [pl.Series("request_id", [f"asked-{n // ROWS}" for n in range(REQUESTS * ROWS)])]
    where += [pl.Series("row", [n % ROWS for n in range(REQUESTS * ROWS)])]
    truths = asked().select("late").with_columns(where)
    place.put(DATA, "truths/first.parquet", flights.parquet(truths.head(1100)))
    place.put(DATA, "truths/second.parquet", flights.parquet(truths.head(10).with_columns(~pl.col("late"))))
    place.cli("retrain", KEPT)
    model = place.wait(KEPT, "it serves", lambda m: m["status"]["serving"]["number"] == 3)
    assert model["status"]["lastTraining"]["cause"] == "Manual"
    told = "feedback: 1090 of 1200 captured rows have a label; 100 have none yet; the labels of 10 disagree"
    assert told in model["status"]["lastTraining"]["message"]
    data = place.manifest(KEPT, model["status"]["serving"]["digest"])["data"]
    assert (
        data["feedback"].items() >= {"captured": 1200, "joined": 1090, "used": 1090, "unlabelled": 100, "conflicting": 10}.items()
    )
    assert data["rows"] == month(1).height + 1090


def files(place: Place, digest: str) -> set[str]:
    """Keys of all that a revision consists of."""
    manifest = place.manifest(KEPT, digest)
    names = {keys.manifest(digest), *(keys.blob(ref["digest"]) for ref in manifest["files"].values())}
    return {f"{KEPT}/{name}" for name in names}


def orphan(place: Place, digest: str) -> str:
    """A revision of which there is no record, with a file of its own. Returns its digest."""
    content, manifest = b"only this one needs it", place.manifest(KEPT, digest)
    manifest["files"]["notes.txt"] = {"digest": sha256(content), "size": len(content)}
    place.put(ARTIFACTS, f"{KEPT}/{keys.blob(sha256(content))}", content)
    text = canonical_json(manifest | {"number": 9})
    place.put(ARTIFACTS, f"{KEPT}/{keys.manifest(sha256(text))}", text)
    return sha256(text)


def outdated(found: Iterable[str]) -> set[str]:
    """The keys of captured rows that are older, by now, than they may be."""
    before = datetime.now(UTC) - CAPTURED
    return {key for key in found if key.startswith(f"{KEPT}/capture/") and keys.slot_start(key) < before}


def test_a_sweep_deletes_what_no_record_needs_and_old_captured_rows_and_nothing_else(place, memory):
    digests = {r["spec"]["number"]: r["spec"]["digest"] for r in place.revisions(KEPT)}
    gone = files(place, digests[1]) | files(place, orphan(place, digests[3])) | {f"{KEPT}/samples/{digests[1][7:]}.parquet"}
    gone -= files(place, digests[2]) | files(place, digests[3])
    age(place.kube, f"{ARTIFACTS}/{KEPT}", 7200)
    young = f"{KEPT}/{keys.blob(sha256(b'young'))}"
    place.put(ARTIFACTS, young, b"young")
    assert eventually(lambda: outdated(place.keys(f"{KEPT}/capture/")))
    place.apply(KEPT, kept(**SWEEPING))
    place.wait(KEPT, "the pinned one serves", lambda m: m["status"]["serving"]["number"] == 2)
    with place.kube.forwarded(NAMESPACE, f"service/{KEPT}", 80) as port:
        ask(port, asked().head(ROWS), "just now")
    capture = f"{KEPT}/capture/{digests[2][7:]}/"
    assert eventually(lambda: place.keys(capture))
    before = set(place.keys(f"{KEPT}/"))
    old = outdated(before)
    assert {young, *gone, *place.keys(capture)} <= before
    model = place.wait(KEPT, "it was swept", lambda m: (m["status"].get("sweep") or {}).get("done"))
    assert model["status"]["sweep"]["failed"] is False
    lost = before - set(place.keys(f"{KEPT}/"))
    assert gone | old <= lost <= gone | outdated(before)
    assert {r["spec"]["number"] for r in place.revisions(KEPT)} == {2, 3}
    assert place.told(KEPT, "deleted: 2 revisions", reason="StorageSwept")


def test_it_was_trained_no_more_than_that(place, memory):
    """The code was looked at again since, and is as it was."""
    status = place.model(KEPT)["status"]
    (looks,) = (c["status"] for c in place.kube.list("cronjobs", NAMESPACE) if c["metadata"]["name"].startswith(KEPT))
    assert looks["lastSuccessfulTime"] > status["watched"]["since"]
    assert len(status["trainings"]) == 3
    assert "CodeChange" not in (status.get("episode") or {}).values()


def remove(place: Place) -> None:
    """Delete the Model, and wait until what it owned in the cluster has gone too."""
    place.kubectl("delete", "model", KEPT, "--wait=true")
    left = ("get", "services,modelrevisions,deployments,jobs", "-l", f"stationkeeper.dev/model={KEPT}", "-o", "name")
    assert eventually(lambda: place.kubectl(*left) == "")


def test_a_model_that_is_applied_anew_is_refused_until_it_adopts_and_then_serves_what_served(place, memory):
    served = place.model(KEPT)["status"]["serving"]["digest"]
    records = {r["spec"]["number"]: r["spec"]["digest"] for r in place.revisions(KEPT)}
    before = set(place.keys(f"{KEPT}/"))
    remove(place)
    assert before <= set(place.keys(f"{KEPT}/")), "artifacts stay"
    place.apply(KEPT, kept(**SWEEPING))
    place.wait_for_condition(KEPT, "Stalled", "True", "StorageInUse: .*belongs to an earlier Model .*set spec.storage.adopt")
    assert says(place.model(KEPT), "Ready", "False", "StorageInUse")
    assert place.revisions(KEPT) == []
    place.apply(KEPT, kept(**SWEEPING, storage={"adopt": True}))
    place.wait_for_condition(KEPT, "Ready", "True", "Serving: revision 2")
    model = place.model(KEPT)
    assert model["status"]["serving"]["digest"] == served
    assert {r["spec"]["number"]: r["spec"]["digest"] for r in place.revisions(KEPT)} == records
    assert place.told(KEPT, "found 2 revisions", reason="Restored")
    with place.kube.forwarded(NAMESPACE, f"service/{KEPT}", 80) as port:
        assert ask(port, asked().head(ROWS), "anew").headers["x-stationkeeper-revision"] == "2"
    assert {job["status"].get("succeeded", 0) for job in place.jobs(KEPT)} == {0}, "only those that were refused the prefix"
    assert "lastTraining" not in place.model(KEPT)["status"]
