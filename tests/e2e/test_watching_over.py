"""What is watched on a real node: a candidate, first by what it answers unheard; traffic of another time; an image's tag."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import polars as pl
import pytest

from hack.cluster import existing
from hack.cluster.paths import REPOSITORY
from hack.cluster.tools import tool
from hack.demo import flights, install
from stationkeeper.workloads.artifacts import keys
from tests.e2e import registry
from tests.e2e.place import ARTIFACTS, DATA, NAMESPACE, Object, Place, eventually, merged

pytestmark = pytest.mark.e2e

CAREFUL = "careful"  # its candidates are shadows, then canaries
DATED = "dated"  # its rows say when they happened; it learned from a single day
TAGGED = "tagged"  # trains in an image whose tag is watched

SHADOWED: Object = {
    "serving": {
        "replicas": 2,
        "capture": {"flushInterval": "5s"},
        "rollout": {
            "strategy": "Shadow",
            "shadow": {"duration": "10s", "minRows": 100, "then": "Canary"},
            "steps": [{"weight": 30, "hold": "5s"}, {"weight": 50, "hold": "5s"}],
            # Beside trainings on two cores latency says nothing of a revision.
            "analysis": {"minRequests": 40, "maxLatencyRatio": 50, "deadline": "5m"},
        },
    }
}
OF_A_DAY: Object = {
    "serving": {"capture": {"flushInterval": "5s", "eventTime": "happened_at"}},
    "training": {"data": {"uri": f"s3://{DATA}/day/"}},
}
POLICY = "by-the-minute"
GRACE = timedelta(seconds=30)
WINDOW = timedelta(minutes=1)
IMAGE = "ops/trainer:stable"


def january() -> pl.DataFrame:
    return flights.between(flights.flights(), datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC))


def of_a_day(frame: pl.DataFrame) -> pl.DataFrame:
    """A month of flights as if they had left within a day: 31 times as dense."""
    start = datetime(2013, 1, 1, tzinfo=UTC)
    return frame.with_columns((start + (pl.col(flights.TIMESTAMP) - start) / 31).alias(flights.TIMESTAMP))


def policy(**default: Any) -> Object:
    """Watches DATED; `default` is the check of each of its columns."""
    features: Object = {"maxDriftedShare": 0.05, "default": default}
    spec: Object = {
        "modelRef": {"name": DATED},
        "schedule": "* * * * *",
        "window": "1m",
        "grace": "30s",
        "minSamples": 100,
        "features": features,
        "breach": {"windows": 1, "of": 3},
    }
    meta = {"name": POLICY, "namespace": NAMESPACE}
    return {"apiVersion": "stationkeeper.dev/v1alpha1", "kind": "DriftPolicy", "metadata": meta, "spec": spec}


class Story:
    """Every state of a Model from here on, as the API server tells it: what is passed through quickly is not missed."""

    def __init__(self, place: Place, name: str, file: Any) -> None:
        self._file = file
        command = [str(tool("kubectl")), f"--kubeconfig={place.kube.kubeconfig}", "-n", NAMESPACE, "get", "model", name]
        self._process = subprocess.Popen([*command, "--watch", "-o", "json"], stdout=file)

    def states(self) -> list[Object]:
        """Its status, each time that it changed; the newest last."""
        text, decoder, found, at = self._file_text(), json.JSONDecoder(), [], 0
        while at < len(text):
            try:
                state, at = decoder.raw_decode(text, at)
            except ValueError:  # the last one is being written
                break
            found.append(state)
            at += len(text[at:]) - len(text[at:].lstrip())
        return found

    def _file_text(self) -> str:
        with open(self._file.name, encoding="utf-8") as file:
            return file.read().strip()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def told(place: Place, name: str) -> Iterator[Story]:
    with tempfile.NamedTemporaryFile() as file:
        story = Story(place, name, file)
        try:
            yield story
        finally:
            story.end()


@dataclass(frozen=True)
class Watch:
    """The place, and what goes on in it."""

    place: Place
    story: Story  # of CAREFUL
    trainer: registry.Trainer | None
    port: int  # of DATED


@pytest.fixture(scope="module")
def watch(kube) -> Iterator[Watch]:
    """Three Models at once. CAREFUL serves, is asked 20 times a second, and trains a second revision, which answers a little differently."""
    install.s3_server(kube)
    install.operator(kube)
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    with ExitStack() as stack:
        client = stack.enter_context(install.store(kube))
        install.empty(client, DATA, ARTIFACTS)
        place = Place(kube, client)
        place.prepare(january())
        place.put(DATA, "day/flights.parquet", flights.parquet(of_a_day(january())))
        place.put(DATA, "replay/flights.parquet", flights.parquet(january()))
        place.apply(DATED, OF_A_DAY)
        place.create(policy())
        place.apply(CAREFUL, SHADOWED)
        trainer = (
            None if existing.wanted() else registry.Trainer(stack.enter_context(registry.running(kube.kubeconfig.parent)), IMAGE)
        )
        if trainer:
            trainer.push()
            place.apply(TAGGED, tagged(trainer), without=("estimator",))
        place.wait_for_condition(CAREFUL, "Ready", "True", "Serving: revision 1")
        pace = {"ROWS_PER_REQUEST": "1", "REQUESTS_PER_SECOND": "20", "LABELS_UNTIL": "0000"}
        install.replay_pod(kube, pace, NAMESPACE, CAREFUL, DATA)
        story = stack.enter_context(told(place, CAREFUL))
        place.apply(CAREFUL, merged(SHADOWED, {"training": {"estimator": {"params": {"max_iter": 30}}}}))
        place.wait_for_condition(DATED, "Ready", "True", "Serving: revision 1")
        port = stack.enter_context(kube.forwarded(NAMESPACE, f"service/{DATED}", 80))
        yield Watch(place, story, trainer, port)
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def tagged(trainer: registry.Trainer) -> Object:
    """Trains by the example of the documentation, in an image whose tag is watched."""
    page = (REPOSITORY / "docs/reference/training.md").read_text(encoding="utf-8")
    script = page.partition("```python\n")[2].partition("```")[0]
    container = {"image": trainer.name, "task": "Classification", "command": ["python3", "-c", script]}
    return {"training": {"container": container, "watch": {"image": trainer.name, "insecure": True, "schedule": "* * * * *"}}}


def look(place: Place, model: str, component: str) -> None:
    """Have a CronJob of a Model run now, as a person would who does not want to wait."""
    chosen = f"stationkeeper.dev/model={model},stationkeeper.dev/component={component}"
    (cronjob,) = place.kubectl("get", "cronjobs", "-l", chosen, "-o", "name").split()
    place.kubectl("create", "job", f"now-{time.time_ns()}", f"--from={cronjob}")


# -- traffic of another time -------------------------------------------------------------------------------------------


def window_of(at: datetime) -> datetime:
    """The start of the window that a moment lies in."""
    return at.replace(second=0, microsecond=0)


def ask(port: int, rows: pl.DataFrame, times: list[str] | None = None) -> None:
    """One request of DATED for these rows, which happened then."""
    tensors: list[Object] = [
        {
            "name": name,
            "shape": [rows.height],
            "datatype": "BYTES" if rows.schema[name] == pl.String else "FP64",
            "data": rows[name].to_list(),
        }
        for name in flights.FEATURES
    ]
    if times is not None:
        tensors.append({"name": "happened_at", "shape": [rows.height], "datatype": "BYTES", "data": times})
    answer = httpx.post(f"http://127.0.0.1:{port}/v2/models/{DATED}/infer", json={"inputs": tensors}, timeout=20)
    assert answer.status_code == 200, answer.text


def within(window: datetime, rows: int) -> list[str]:
    """As many moments, all over a window."""
    return [(window + WINDOW * n / rows).isoformat() for n in range(rows)]


def far(rows: int) -> pl.DataFrame:
    """Long flights alone: a drift of `distance`, and nothing that is broken."""
    return january().filter(pl.col("distance") >= 1000).sample(rows, seed=1)


def written(place: Place, window: datetime) -> list[datetime]:
    """When captured rows of the minutes of a window came into the store."""
    found = place.client.list_objects_v2(Bucket=ARTIFACTS, Prefix=f"{DATED}/capture/").get("Contents") or []
    return [e["LastModified"] for e in found if window <= keys.slot_start(e["Key"]) < window + WINDOW]


def judged(model: Object, window: datetime) -> Object:
    """What the checks said of a window; empty until then."""
    checks = (model.get("status") or {}).get("checks") or []
    return next(
        (w for c in checks for w in c.get("windows", []) if datetime.fromisoformat(w["start"]) == window and w.get("rows")), {}
    )


@pytest.fixture(scope="module")
def window(watch) -> datetime:
    """The start of a window for which 300 rows came after its end, and within its grace."""
    for _ in range(5):
        start = window_of(datetime.now(UTC))
        assert eventually(lambda start=start: datetime.now(UTC) >= start + WINDOW, 90)
        ask(watch.port, far(300), within(start, 300))
        assert eventually(lambda start=start: written(watch.place, start), 60)
        if max(written(watch.place, start)) < start + WINDOW + GRACE:
            return start
    pytest.fail("this machine is too slow for a grace of half a minute")


def test_rows_count_in_the_window_that_they_happened_in_and_drift_is_observed_only(watch, window):
    place = watch.place
    ask(watch.port, january().sample(200, seed=2))  # of this very minute
    long_ago = (datetime.now(UTC) - timedelta(days=5)).isoformat()
    ask(watch.port, january().sample(40, seed=3), [long_ago] * 40)
    assert eventually(lambda: datetime.now(UTC) > window + WINDOW + GRACE)
    look(place, DATED, "drift-check")
    model = place.wait(DATED, "the window is judged", lambda m: judged(m, window), 120)
    verdict = judged(model, window)
    assert verdict["rows"] == 300
    assert (verdict["data"], verdict["features"]) == ("Passed", "Breached")
    assert "features" in verdict["calibrating"]


def test_the_condition_says_why_and_until_when(watch, window):
    why = r"the reference spans 24 hours of 7 days that must have been seen; drift is observed only until 20 windows over 7 days show"
    watch.place.wait_for_condition(DATED, "Drifted", "Unknown", f"^Calibrating: .*{why}.*, or thresholds are given")
    status = watch.place.model(DATED)["status"]
    assert len(status["trainings"]) == 1
    assert "episode" not in status
    assert "waiting" not in status


def test_a_tag_that_moves_opens_a_training_by_the_digest_that_was_seen(watch):
    if watch.trainer is None:
        pytest.skip("the registry is at the other end of the link to a node of ours")
    place, trainer = watch.place, watch.trainer
    place.wait_for_condition(TAGGED, "Ready", "True", "Serving: revision 1")
    look(place, TAGGED, "watch")
    place.wait(TAGGED, "the tag was seen", lambda m: (m["status"].get("watched") or {}).get("digest"), 120)
    digest = trainer.push()
    look(place, TAGGED, "watch")
    place.wait(TAGGED, "it moved", lambda m: m["status"]["watched"]["digest"] == digest, 120)
    model = place.wait(TAGGED, "it is trained", lambda m: m["status"]["serving"]["number"] == 2)
    assert model["status"]["lastTraining"]["cause"] == "CodeChange"
    assert place.told(TAGGED, f"{trainer.name} has changed", reason="WatchedChanged")
    by_digest = f"{trainer.name.rpartition(':')[0]}@{digest}"
    images = [
        c["image"] for j in place.jobs(TAGGED) for c in j["spec"]["template"]["spec"]["initContainers"] if c["name"] == "train"
    ]
    assert set(images) == {trainer.name, by_digest}
    assert trainer.pulled(digest)
    assert place.manifest(TAGGED, model["status"]["serving"]["digest"])["estimator"] == f"container {by_digest}"


def test_what_comes_after_its_window_was_judged_is_counted_and_told(watch, window):
    ask(watch.port, far(50), within(window, 50))
    late = window + WINDOW
    place = watch.place
    assert eventually(lambda: datetime.now(UTC) > late + WINDOW + GRACE)
    look(place, DATED, "drift-check")
    model = place.wait(DATED, "the next window is judged", lambda m: judged(m, late), 120)
    assert judged(model, window)["rows"] == 300, "a report is written once"
    assert judged(model, late)["rows"] == 240
    check = model["status"]["checks"][0]
    notes = json.loads(place.read(check["report"].removeprefix(f"s3://{ARTIFACTS}/")))["notes"]
    assert any(note.startswith("50 rows came after their window was judged") for note in notes), notes
    assert any("count by their arrival, their event time being" in note and "late (40)" in note for note in notes), notes
    assert len(model["status"]["trainings"]) == 1


def test_a_threshold_that_is_given_counts(watch, window):
    place = watch.place
    place.create(policy(threshold=0.2))
    look(place, DATED, "drift-check")
    place.wait_for_condition(DATED, "Drifted", "True", "windows breached; .*distance")
    model = place.wait(DATED, "an episode", lambda m: (m["status"].get("episode") or {}).get("cause") == "Drift", 60)
    assert model["status"]["serving"]["number"] == 1


# -- a canary after a shadow -------------------------------------------------------------------------------------------


def evidence(place: Place, revision: int) -> Object:
    """What a promotion rested on, as it was written to the store: then the status no longer holds it."""
    model = place.wait(CAREFUL, "its evidence is kept", lambda m: promotion(m, revision).get("recorded"), 120)
    found: Object = json.loads(place.read(promotion(model, revision)["uri"].removeprefix(f"s3://{ARTIFACTS}/")))
    return found


def promotion(model: Object, revision: int) -> Object:
    decisions = model["status"].get("decisions", [])
    return next((d for d in decisions if (d["kind"], d["revision"]) == ("Promoted", revision)), {})


def test_a_candidate_is_a_shadow_then_a_canary_then_promoted_and_no_request_fails(watch):
    place = watch.place
    place.wait(CAREFUL, "it is promoted", lambda m: m["status"]["serving"]["number"] == 2)
    assert eventually(lambda: "2" in install.replay_line(place.kube, NAMESPACE)["revisions"])
    place.put(DATA, "replay/stop", b"")
    candidates = [s["status"]["candidate"] for s in watch.story.states() if s["status"].get("candidate")]
    unheard = [c for c in candidates if c.get("shadowedSince") and "step" not in c]
    assert unheard
    assert [c["step"] for c in candidates if "step" in c] == sorted(c["step"] for c in candidates if "step" in c)
    assert {c["step"] for c in candidates if "step" in c} >= {0, 1}
    assert all(c["shadow"]["verdict"] == "Passed" for c in candidates if "step" in c)
    assert evidence(place, 2)["reports"][0].startswith(f"s3://{ARTIFACTS}/{CAREFUL}/shadow/"), "what the shadow showed is kept"
    for step in (1, 2):
        assert place.told(CAREFUL, f"revision 2 .*step {step} of 2", reason="CanaryStep")
    assert eventually(lambda: install.replay_line(place.kube, NAMESPACE)["final"])
    line = install.replay_line(place.kube, NAMESPACE)
    assert (line["failed"], line["errors"]) == (0, {})
    assert line["sent"] == line["rows"] > 500
