"""The whole loop on a real node, told in order: each test goes on from where the one before it ended."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from rich.console import Console

from hack.demo import flights, install
from hack.demo.__main__ import Demo
from hack.demo.install import MODEL, NAMESPACE
from hack.demo.timeline import Timeline, condition

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def demo(kube):
    return Demo(kube, Timeline(Console(stderr=True, highlight=False, soft_wrap=True)))


@pytest.fixture(scope="module")
def summary(demo, pytestconfig):
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        demo.install()
        return demo.run()


def model(kube) -> dict[str, Any]:
    return kube.get("model", MODEL, NAMESPACE)


def wait_for(kube, what: str, holds: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        found = model(kube)
        if holds(found):
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}\n{json.dumps(found.get('status'), indent=1)[-5000:]}")
        time.sleep(1)


def test_drift_is_caught_and_answered_by_a_better_revision_without_a_failed_request(summary):
    assert [r["cause"] for r in summary["revisions"]] == ["Initial", "Drift"]
    assert summary["requests"]["failed"] == 0
    assert summary["requests"]["byRevision"].keys() == {"1", "2"}, "the prober saw both revisions answer"
    assert summary["comparison"]["rows"] > 10_000
    assert summary["comparison"]["after"] > summary["comparison"]["before"]
    assert "temp" in {column["name"] for column in summary["driftedColumns"]}


def test_quality_is_measured_on_the_labels_that_came_later(summary):
    first = [window for window in summary["quality"] if window["revision"] == 1 and window["metric"] == "roc_auc"]
    measured = [window for window in first if window["method"] == "Labels"]
    # The windows in which it began and ended hold what it answered in them: any number of rows.
    whole = [window for window in measured if window["labels"]["joined"] > 5_000]
    assert whole, "at least the first whole window's labels had time to mature"
    for window in whole:
        score = window["score"]
        # Where the minutes of the clock cut the flights is chance: lows of single weeks in May lie between .52 and .67.
        assert 0.5 < score["low"] < score["value"] < score["high"] < 0.85
        assert 0.6 < score["value"] < 0.8


def test_what_serves_is_what_was_published(summary, kube):
    status = model(kube)["status"]
    record = next(r for r in kube.list("modelrevisions", NAMESPACE) if r["spec"]["number"] == 2)
    assert status["serving"]["digest"] == record["spec"]["digest"] == summary["revisions"][1]["digest"]
    with kube.forwarded(NAMESPACE, f"service/{MODEL}", 80) as port:
        meta = httpx.get(f"http://127.0.0.1:{port}/v2/models/{MODEL}").json()
        bad = httpx.post(f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer", json={"inputs": []})
    assert meta["name"] == MODEL
    assert "2" in meta["versions"]
    assert bad.status_code == 400


def test_the_old_revision_is_scaled_down(summary, kube):
    replicas = {
        d["metadata"]["labels"]["stationkeeper.dev/revision"]: d["spec"]["replicas"] for d in kube.list("deployments", NAMESPACE)
    }
    assert replicas == {"1": 0, "2": 2}


def test_pods_have_no_api_token_and_the_operator_no_right_to_secrets(summary, kube):
    for pod in kube.list("pods", NAMESPACE):
        assert pod["spec"]["automountServiceAccountToken"] is False
    operator = "system:serviceaccount:stationkeeper-system:stationkeeper"
    said = kube.kubectl("auth", "can-i", "get", "secrets", "-n", NAMESPACE, f"--as={operator}", check=False)
    assert said.strip() == "no"


def test_a_worse_challenger_is_refused_and_the_stable_revision_goes_on(summary, kube):
    frame = flights.flights()
    with install.store(kube) as client:  # newer rows than any revision has learned from: something to judge by
        later = flights.between(frame, datetime(2013, 8, 15, tzinfo=UTC), datetime(2013, 10, 1, tzinfo=UTC))
        client.put_object(Bucket=install.BUCKET, Key="labelled/2013-later.parquet", Body=flights.parquet(later))
    params = {"max_iter": 1, "learning_rate": 0.01, "max_leaf_nodes": 2}
    worse = {"spec": {"training": {"estimator": {"params": params}}, "retraining": {"causes": ["CodeChange"]}}}
    kube.kubectl("-n", NAMESPACE, "patch", "model", MODEL, "--type=merge", "-p", json.dumps(worse))

    def refused(found: dict[str, Any]) -> bool:
        last = found["status"].get("lastTraining") or {}
        return last.get("cause") == "CodeChange" and last.get("outcome") == "Refused"

    status = wait_for(kube, "the challenger is refused", refused, 240)["status"]
    assert status["serving"]["number"] == 2
    assert condition({"status": status}, "Ready")["status"] == "True"
    records = [r["spec"] for r in kube.list("modelrevisions", NAMESPACE)]
    assert [r["number"] for r in records if r["outcome"] == "Published"] == [1, 2]
    assert status["lastTraining"]["revision"] in [r["number"] for r in records if r["outcome"] == "Rejected"]
    events = kube.kubectl("-n", NAMESPACE, "get", "events", "--field-selector", "reason=TrainingRefused", "-o", "name")
    assert events.strip()


def test_a_schema_break_blocks_retraining(summary, kube):
    with install.store(kube) as client:
        client.delete_object(Bucket=install.BUCKET, Key="replay/stop")
    install.replay_pod(
        kube, {"ROWS_PER_REQUEST": "10", "REQUESTS_PER_SECOND": "20", "LABEL_DELAY": "9999", "DROP_COLUMN": "temp"}
    )
    broken = wait_for(kube, "the missing column is noticed", lambda m: condition(m, "DataValid").get("status") == "False", 240)
    assert "temp" in condition(broken, "DataValid")["message"]
    attempts = len(broken["status"]["trainings"])
    kube.kubectl("-n", NAMESPACE, "annotate", "model", MODEL, "stationkeeper.dev/retrain=now")
    waiting = wait_for(kube, "the request waits", lambda m: (m["status"].get("waiting") or {}).get("cause") == "Manual", 60)
    assert waiting["status"]["waiting"]["reason"] == "DataInvalid"
    assert len(waiting["status"]["trainings"]) == attempts, "nothing was trained on broken data"
    assert condition(waiting, "Ready")["status"] == "True"
    kube.kubectl("-n", NAMESPACE, "delete", "pod/replay", "--wait=false")


def test_deletion_leaves_nothing_behind(summary, kube):
    kube.kubectl("-n", NAMESPACE, "delete", "model", MODEL, "--wait=true")
    kinds = "deployments,services,cronjobs,jobs,modelrevisions"
    deadline = time.monotonic() + 60
    while (left := kube.kubectl("-n", NAMESPACE, "get", kinds, "-o", "name").split()) and time.monotonic() < deadline:
        time.sleep(1)
    assert left == []
