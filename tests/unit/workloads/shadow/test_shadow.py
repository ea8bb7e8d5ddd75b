"""A comparison of two revisions: captured rows become requests again, answers are compared, and what is said of it is bounded."""

import asyncio
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.base import sha256
from stationkeeper.api.jobs import RevisionIdentity, ShadowConfig
from stationkeeper.api.manifest import Column, ColumnKind, Task
from stationkeeper.api.meta import EXIT_TRANSIENT
from stationkeeper.api.report import ShadowReport
from stationkeeper.api.serving import Analysis, Shadow
from stationkeeper.api.summary import ShadowSummary
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import DigestMismatch, MalformedArtifact, StoreUnavailable
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.jobs import shadow as job
from stationkeeper.workloads.jobs.shadow import UnreachableError, shadow
from stationkeeper.workloads.serving.app import App
from stationkeeper.workloads.serving.capture import Recording
from stationkeeper.workloads.serving.loading import load
from stationkeeper.workloads.serving.metrics import Metrics
from stationkeeper.workloads.serving.state import State
from stationkeeper.workloads.shadow.answers import NoAnswerError, answers
from stationkeeper.workloads.shadow.ask import Answered, Http
from stationkeeper.workloads.shadow.compare import Compared, OtherAnswersError, compare
from stationkeeper.workloads.shadow.requests import requests
from stationkeeper.workloads.shadow.verdict import Sent, judge
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.serving.asgi import call
from tests.unit.workloads.serving.published import FEATURES, inputs, published, training_rows

BEGAN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # 1_700_000_000
NOW = datetime(2023, 11, 14, 22, 30, tzinfo=UTC)
INFER = "/v2/models/flights/infer"
STABLE = published()
SERVED = load(STABLE.config, lambda: STABLE.store)


class Pod:
    """A serving pod that is asked as ASGI, and the requests that it got."""

    def __init__(self, recording: Recording | None = None) -> None:
        state = State(served=SERVED, recorder=recording)
        self.time = BEGAN.timestamp()
        self.app = App("flights", 7, STABLE.digest, state, Metrics(), wall=lambda: self.time, uid="uid-1")
        self.bodies: list[bytes] = []

    def __call__(self, body: bytes) -> Answered:
        self.bodies.append(body)
        return self.send(body, {"X-Stationkeeper-Replay": "uid-1"})

    def send(self, body: bytes, headers: dict[str, str] | None = None) -> Answered:
        answer = asyncio.run(call(self.app, "POST", INFER, body, headers))
        assert answer is not None
        return Answered(answer.status, answer.body, 0.004)


def asked(rows: int, seed: int) -> bytes:
    data = training_rows(rows, seed).to_dict(as_series=False)
    data["distance"] = [None if value != value else value for value in data["distance"]]
    return json.dumps({"id": f"request-{seed}", "inputs": inputs(**data)}).encode()


@pytest.fixture(scope="module")
def captured() -> MemoryStore:
    """The stable revision has answered 120 requests of three rows each, and captured them."""
    mine = STABLE.fresh(flush_interval="5s")
    recording = Recording(SERVED, mine.config.capture, mine.store, Metrics(), pod="pod-1")
    recording.start()
    pod = Pod(recording)
    for number in range(120):
        pod.time = BEGAN.timestamp() + number / 4
        assert pod.send(asked(3, number)).status == 200
    assert recording.close(60)
    return mine.store


@pytest.fixture
def store(captured: MemoryStore) -> MemoryStore:
    return MemoryStore(captured.objects)


def config(candidate: str = STABLE.digest, limits: dict | None = None, **bounds) -> ShadowConfig:
    return ShadowConfig(
        model=STABLE.config.model,
        storage=STABLE.config.storage,
        stable=RevisionIdentity(number=7, digest=STABLE.digest),
        candidate=RevisionIdentity(number=8, digest=candidate),
        url="http://flights-r8.ops.svc:80/v2/models/flights/infer",
        since=BEGAN,
        until=BEGAN + timedelta(minutes=10),
        attempt=1,
        shadow=Shadow(**{"min_rows": 300, **bounds}),
        analysis=Analysis(**{"min_requests": 100, **(limits or {})}),
    )


def compared(store: MemoryStore, ask: Callable[[bytes], Answered], **bounds) -> ShadowSummary:
    return shadow(config(**bounds), store, ask, NOW, lambda: 0.0)


def report(store: MemoryStore, summary: ShadowSummary) -> ShadowReport:
    assert summary.report
    return ShadowReport.model_validate_json(store.objects[summary.report])


def flipped(answered: Answered, share: float, count: list[int]) -> Answered:
    """The answer of a model that says the other class in a share of the requests."""
    count[0] += 1
    if answered.status != 200 or count[0] % 10 >= share * 10:
        return answered
    document = json.loads(answered.body)
    for output in document["outputs"]:
        output["data"] = [1 - value for value in output["data"]]
    return replace(answered, body=json.dumps(document).encode())


# -- the whole -------------------------------------------------------------------------------------------------------


def test_the_same_model_agrees_with_itself_on_every_row_that_was_captured(store):
    pod = Pod()
    found = compared(store, pod)
    assert (found.verdict, found.rows, found.requests, found.errors) == (Verdict.PASSED, 360, 120, 0)
    assert (found.disagreement, found.latency) == (0.0, 0.004)
    assert found.mean_difference == pytest.approx(0, abs=1e-12)
    assert len(pod.bodies) == 120, "a request is a request again"
    written = report(store, found)
    assert (written.captured, written.stable, written.candidate, written.differing) == (360, 7, 8, [])


def test_rows_that_are_kept_by_their_event_time_are_asked_when_they_arrived(captured):
    store = STABLE.fresh().store
    for number, (key, data) in enumerate(captured.objects.items()):
        if key.startswith("capture/"):
            rows = pl.read_parquet(data).with_columns(event_at=pl.col("arrived_at") - timedelta(days=2))
            kept = keys.capture(STABLE.digest, keys.slot_start(key) - timedelta(days=2), "pod", number)
            buffer = io.BytesIO()
            rows.write_parquet(buffer)
            store.put(kept, buffer.getvalue())
            store.modified[kept] = NOW
    by_arrival = config()
    assert shadow(by_arrival, store, Pod(), NOW, lambda: 0.0).verdict == Verdict.INSUFFICIENT_DATA
    found = shadow(by_arrival.model_copy(update={"event_time": "when"}), store, Pod(), NOW, lambda: 0.0)
    assert (found.verdict, found.rows) == (Verdict.PASSED, 360)


def test_what_is_asked_again_is_what_was_asked(store):
    pod = Pod()
    compared(store, pod)
    again = {json.loads(body)["id"]: {t["name"]: t["data"] for t in json.loads(body)["inputs"]} for body in pod.bodies}
    for number in range(120):
        sent = {t["name"]: t["data"] for t in json.loads(asked(3, number))["inputs"]}
        assert again[f"request-{number}"] == sent


def test_requests_of_a_comparison_are_answered_and_not_captured(store):
    mine = STABLE.fresh(flush_interval="5s")
    recording = Recording(SERVED, mine.config.capture, mine.store, Metrics(), pod="pod-2")
    recording.start()
    pod = Pod(recording)
    compared(store, pod)
    pod(b'{"inputs": []}')
    pod(json.dumps({"inputs": inputs(carrier=None)}).encode())
    assert recording.close(60)
    assert not [key for key in mine.store.objects if key.startswith(("capture/", "profiles/"))]
    sampled = pod.app.metrics.registry.get_sample_value
    assert sampled("stationkeeper_serving_requests_total", {"code": "200"}) == 120, "they are requests all the same"


def test_a_client_that_does_not_know_the_models_uid_is_captured():
    mine = STABLE.fresh(flush_interval="5s")
    recording = Recording(SERVED, mine.config.capture, mine.store, Metrics(), pod="pod-3")
    recording.start()
    pod = Pod(recording)
    assert pod.send(asked(1, 1), {"X-Stationkeeper-Replay": "true"}).status == 200
    assert recording.close(60)
    assert [key for key in mine.store.objects if key.startswith("capture/")]


@pytest.mark.parametrize(("share", "verdict"), [(0.2, Verdict.PASSED), (0.4, Verdict.BREACHED)])
def test_a_model_that_answers_otherwise_is_found(store, share, verdict):
    pod, count = Pod(), [0]
    found = compared(store, lambda body: flipped(pod(body), share, count))
    assert found.verdict == verdict
    assert found.disagreement == pytest.approx(share, abs=0.05)
    written = report(store, found)
    assert len(written.differing) == 20
    assert written.differing[0].stable != written.differing[0].candidate
    if verdict == Verdict.BREACHED:
        assert "got another class" in found.message


def always(answered: Answered, value: int) -> Answered:
    """The answer of a model that says the same class to every row."""
    document = json.loads(answered.body)
    document["outputs"][0]["data"] = [value] * len(document["outputs"][0]["data"])
    return replace(answered, body=json.dumps(document).encode())


SEEN = [
    ("it does what the gates saw", True, 1.0, Verdict.PASSED),
    ("it does nothing of it", False, 1.0, Verdict.BREACHED),
    ("it does as much the other way", True, -1.0, Verdict.BREACHED),
    ("the gates saw nothing", True, 0.0, Verdict.PASSED),
]


@pytest.mark.parametrize(("changed", "sign", "verdict"), [row[1:] for row in SEEN], ids=[row[0] for row in SEEN])
def test_by_the_same_rows_a_model_must_differ_as_its_gates_saw_it(store, changed, sign, verdict):
    pod, labels = Pod(), list[int]()

    def ask(body: bytes) -> Answered:
        answered = pod(body)
        labels.extend(json.loads(answered.body)["outputs"][0]["data"])
        return always(answered, 1) if changed else answered

    unbounded = config(max_disagreement=None, max_mean_difference=None)
    for number in range(120):
        ask(asked(3, number))
    zeros = labels.count(0) / len(labels)
    assert 0.3 < zeros < 0.7
    told = unbounded.model_copy(update={"expected_shift": {"1": sign * zeros, "0": -sign * zeros} if sign else {}})
    found = shadow(told, store, ask, NOW, lambda: 0.0)
    assert found.verdict == verdict, found.message
    written = report(store, found)
    assert written.shift == ({"1": pytest.approx(zeros, abs=1e-5), "0": pytest.approx(-zeros, abs=1e-5)} if changed else {})
    off = abs(zeros * changed - sign * zeros)
    assert written.deviation == (pytest.approx(off, abs=1e-5) if sign else None)
    assert ("from what the gates saw" in found.message) is (verdict == Verdict.BREACHED)


def test_a_model_that_refuses_what_the_stable_one_answers_is_found(store):
    def refuse(body: bytes) -> Answered:
        return Answered(400, b'{"error": "inputs: no tensor for \'fuel\'"}', 0.001)

    found = compared(store, refuse)
    assert (found.verdict, found.errors, found.rows) == (Verdict.BREACHED, 120, 0)
    assert "no tensor for 'fuel'" in report(store, found).refusals[0]
    assert len(report(store, found).refusals) == 5


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"outputs": [{"name": "predict", "data": [1]}]}', b"<html>", b"\xff"])
def test_an_answer_that_is_none_is_an_error_and_never_a_crash(store, body):
    assert compared(store, lambda _: Answered(200, body, 0.001)).verdict == Verdict.BREACHED


def test_slow_answers_are_found_where_a_bound_is_given(store):
    pod = Pod()
    slow = lambda body: replace(pod(body), seconds=0.3)  # noqa: E731
    assert compared(store, slow, max_latency="200ms").verdict == Verdict.BREACHED
    assert compared(MemoryStore(store.objects), slow).verdict == Verdict.BREACHED, "the report stands"
    fresh = MemoryStore({key: data for key, data in store.objects.items() if not key.startswith("shadow/")})
    assert compared(fresh, slow).verdict == Verdict.PASSED


def test_too_few_rows_are_no_verdict_and_leave_no_report(store):
    found = compared(store, Pod(), min_rows=361)
    assert (found.verdict, found.rows, found.report) == (Verdict.INSUFFICIENT_DATA, 360, None)
    assert "361 rows are needed" in found.message
    assert not [key for key in store.objects if key.startswith("shadow/")]


def test_without_any_row_nothing_is_said(store):
    empty = MemoryStore({key: data for key, data in store.objects.items() if not key.startswith("capture/")})
    found = compared(empty, Pod())
    assert (found.verdict, found.rows, found.requests) == (Verdict.INSUFFICIENT_DATA, 0, 0)


def test_the_same_again_finds_the_report_and_asks_nobody(store):
    first, pod = compared(store, Pod()), Pod()
    assert compared(store, pod) == first
    assert pod.bodies == []


def test_of_two_at_once_what_the_first_wrote_stands(store):
    first = compared(store, Pod())
    key = first.report
    assert key
    data = store.objects.pop(key)

    def another_run(operation: str, at: str) -> None:
        if operation == "create" and at == key:
            store.objects[key] = data

    store.before = another_run
    assert compared(store, Pod(), min_rows=10) == first


def test_nobody_there_says_nothing_about_the_answers(store):
    with pytest.raises(UnreachableError, match="refused"):
        compared(store, lambda _: Answered(None, b"connection refused", 0.0))
    assert not [key for key in store.objects if key.startswith("shadow/")]


def test_who_goes_away_in_the_middle_has_failed_what_was_asked_then(store):
    pod = Pod()
    found = compared(store, lambda body: pod(body) if len(pod.bodies) < 60 else Answered(None, b"reset", 0.0), min_rows=100)
    assert (found.verdict, found.requests, found.errors) == (Verdict.BREACHED, 120, 60)


def test_when_the_time_is_over_what_was_sent_is_judged(store):
    times = iter([0.0, *[1.0] * 50, *[601.0] * 100])
    found = shadow(config(min_rows=100), store, Pod(), NOW, lambda: next(times))
    assert (found.verdict, found.requests, found.rows) == (Verdict.PASSED, 50, 150)


def test_a_tampered_candidate_or_a_foreign_report_is_no_comparison(store):
    tampered = MemoryStore(store.objects | {f"manifests/{STABLE.digest.removeprefix('sha256:')}.json": b"{}"})
    with pytest.raises(DigestMismatch):
        compared(tampered, Pod())
    found = compared(store, Pod())
    assert found.report
    store.objects[found.report] = b"{}"
    with pytest.raises(MalformedArtifact, match="remove it"):
        compared(store, Pod())


def test_a_store_that_is_away_is_no_verdict(store):
    def away(operation: str, key: str) -> None:
        raise StoreUnavailable("the store is away")

    store.before = away
    with pytest.raises(StoreUnavailable):
        compared(store, Pod())


def test_the_message_has_never_more_than_a_kibibyte():
    digest, now = sha256(b"x"), datetime(2026, 1, 1, 1, 1, 1, 123456, tzinfo=UTC)
    longest = ShadowSummary(
        stable_digest=digest,
        candidate_digest=digest,
        since=now,
        attempt=10**9,
        verdict=Verdict.INSUFFICIENT_DATA,
        rows=10**9,
        requests=10**9,
        errors=10**9,
        disagreement=1 / 3,
        mean_difference=1e9 / 3,
        latency=1e3 / 3,
        message="x" * 256,
        report=f"shadow/{'0' * 12}/{'0' * 12}-20260101T010101Z-{10**9}.json",
    )
    assert len(longest.encode()) <= 1024


def test_a_job_that_finds_nobody_is_tried_again(monkeypatch, store):
    monkeypatch.setenv(
        "STATIONKEEPER_CONFIG", json.dumps(config().wire() | {"url": "http://127.0.0.1:9/v2/models/flights/infer"})
    )
    monkeypatch.setattr(job.S3Store, "open", lambda *_: store)
    monkeypatch.setattr("stationkeeper.workloads.shadow.ask._PAUSE", 0.001)
    summary, code = job.work()
    assert (getattr(summary, "reason", ""), code) == ("CandidateUnreachable", EXIT_TRANSIENT)
    assert "127.0.0.1:9" in getattr(summary, "message", "")


# -- its parts -------------------------------------------------------------------------------------------------------


def test_requests_keep_their_types_missing_values_and_order():
    rows = pl.DataFrame(
        {
            "request_id": ["b", "a", "a"],
            "row": [0, 4, 2],
            "input.x": [1.5, None, 3.0],
            "input.kind": ["é", None, "z"],
            "input.flag": [True, None, False],
            "output.label": ["1", "0", "1"],
        }
    )
    first, second = requests(rows)
    assert (first.request_id, first.rows, first.answered.to_dict(as_series=False)) == ("a", [2, 4], {"label": ["1", "0"]})
    assert json.loads(first.body)["inputs"] == [
        {"name": "x", "shape": [2], "datatype": "FP64", "data": [3.0, None]},
        {"name": "kind", "shape": [2], "datatype": "BYTES", "data": ["z", None]},
        {"name": "flag", "shape": [2], "datatype": "BOOL", "data": [False, None]},
    ]
    assert second.request_id == "b"


def frame(**outputs: list) -> pl.DataFrame:
    rows = len(next(iter(outputs.values())))
    return pl.DataFrame({"request_id": [f"r{i}" for i in range(rows)], "row": [0] * rows, **outputs})


def test_classes_and_probabilities_are_compared_row_by_row():
    a = frame(label=["0", "1", "1", "0"], probability=[0.1, 0.9, 0.8, 0.2])
    b = pl.DataFrame({"label": ["0", "1", "0", "0"], "probability": [0.1, 0.9, 0.4, 0.4]})
    found = compare(a, b)
    assert (found.rows, found.disagreement, found.mean_difference) == (4, 0.25, pytest.approx(0.15))
    assert [(d.request_id, d.stable, d.candidate) for d in found.differing] == [("r2", "1", "0")]


def test_shares_that_are_the_same_hide_nothing():
    found = compare(frame(label=["0", "1"] * 50), pl.DataFrame({"label": ["1", "0"] * 50}))
    assert (found.disagreement, found.mean_difference) == (1.0, None), "the distribution of classes is the same"


def test_classes_beyond_those_that_pods_count_are_taken_together():
    classes = [f"{number:02}" for number in range(40)]
    was, now = frame(label=["00", "35", "36", "39"]), pl.DataFrame({"label": ["00", "00", "01", "38"]})
    shift = compare(was, now, classes).shift
    assert shift == {"00": 0.25, "01": 0.25, "other": -0.5}
    assert compare(was, now, classes[:2]).shift == {"00": 0.25, "01": 0.25, "other": -0.5}
    assert compare(was, was.select("label"), classes).shift == {}


def test_of_several_classes_the_difference_lies_between_nothing_and_one():
    a = frame(**{"label": ["a"], "probability.a": [1.0], "probability.b": [0.0], "probability.c": [0.0]})
    b = pl.DataFrame({"label": ["b"], "probability.a": [0.0], "probability.b": [1.0], "probability.c": [0.0]})
    assert compare(a, b).mean_difference == 1.0
    assert compare(a, a).mean_difference == 0.0


def test_numbers_are_compared_in_the_stable_revisions_own_spread():
    values = np.random.default_rng(1).normal(10, 4, 1000)
    found = compare(frame(prediction=values.tolist()), pl.DataFrame({"prediction": values + 2}))
    assert found.mean_difference == pytest.approx(0.5, abs=0.02)
    assert found.disagreement is None
    constant = compare(frame(prediction=[3.0] * 5), pl.DataFrame({"prediction": [3.5] * 5}))
    assert constant.mean_difference == 0.5


def test_no_number_where_there_was_one_is_as_far_as_can_be():
    found = compare(frame(prediction=[1.0, 2.0, float("nan")]), pl.DataFrame({"prediction": [1.0, None, float("nan")]}))
    assert found.mean_difference is not None
    assert found.mean_difference > 1e6
    assert [d.request_id for d in found.differing] == ["r1"]


def test_a_class_and_a_number_cannot_be_compared():
    with pytest.raises(OtherAnswersError):
        compare(frame(label=["1"]), pl.DataFrame({"prediction": [1.0]}))


CLASSES = [
    ("integer", ["0", "1"], [1, 0]),
    ("boolean", ["False", "True"], [True, False]),
    ("string", ["no", "yes"], ["yes", "no"]),
]


@pytest.mark.parametrize(("kind", "classes", "data"), CLASSES, ids=[kind for kind, _, _ in CLASSES])
def test_answers_are_named_as_captured_rows_name_them(kind, classes, data):
    manifest = STABLE.manifest.model_copy(update={"class_kind": kind, "classes": classes})
    outputs = [{"name": "predict", "data": data}, {"name": "predict_proba", "shape": [2, 2], "data": [0.2, 0.8, 0.7, 0.3]}]
    found = answers(json.dumps({"outputs": outputs}).encode(), manifest, 2)
    assert found["label"].to_list() == [classes[1], classes[0]]
    assert found["probability"].to_list() == [0.8, 0.3]
    with pytest.raises(NoAnswerError):
        answers(json.dumps({"outputs": [{"name": "predict", "data": ["unknown", None]}]}).encode(), manifest, 2)


def test_a_regressions_answers_are_numbers():
    manifest = STABLE.manifest.model_copy(update={"task": Task.REGRESSION, "classes": []})
    found = answers(b'{"outputs": [{"name": "predict", "data": [1.5, null]}]}', manifest, 2)
    assert np.isnan(found["prediction"].to_numpy()[1])


VERDICTS = [
    ("all is well", Sent(400, 0, 0.01), Compared(2000, 0.1, 0.1, []), Verdict.PASSED),
    ("another class too often", Sent(400, 0, 0.01), Compared(2000, 0.26, 0.1, []), Verdict.BREACHED),
    ("at the bound", Sent(400, 0, 0.01), Compared(2000, 0.25, 0.25, []), Verdict.PASSED),
    ("too far apart", Sent(400, 0, 0.01), Compared(2000, None, 0.26, []), Verdict.BREACHED),
    (
        "too few rows decide nothing, however far apart",
        Sent(100, 0, 0.01),
        Compared(299, 1.0, 1.0, []),
        Verdict.INSUFFICIENT_DATA,
    ),
    ("nothing at all", Sent(0, 0, None), None, Verdict.INSUFFICIENT_DATA),
    ("errors decide before there are rows", Sent(100, 50, 0.01), Compared(100, 0.0, 0.0, []), Verdict.BREACHED),
    ("a few errors of few", Sent(20, 1, 0.01), Compared(20, 0.0, 0.0, []), Verdict.INSUFFICIENT_DATA),
    ("a few errors of many", Sent(1000, 10, 0.01), Compared(2000, 0.0, 0.0, []), Verdict.PASSED),
    ("slow", Sent(400, 0, 0.21), Compared(2000, 0.1, 0.1, []), Verdict.BREACHED),
]


@pytest.mark.parametrize(("name", "sent", "found", "verdict"), VERDICTS, ids=[case[0] for case in VERDICTS])
def test_a_verdict(name, sent, found, verdict):
    said = judge(config(max_latency="200ms"), sent, found)
    assert said[0] == verdict
    assert said[1]


class _Handler(BaseHTTPRequestHandler):
    codes: list[int] = []
    seen: list[tuple[str, str | None, bytes]] = []
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers["X-Stationkeeper-Replay"], body))
        self.send_response(self.codes.pop(0) if self.codes else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    _Handler.codes, _Handler.seen = [], []
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def test_it_asks_over_http_and_again_where_a_pod_is_busy(server):
    waits: list[float] = []
    ask = Http(f"http://127.0.0.1:{server.server_port}/v2/models/flights/infer", "uid-1", waits.append)
    _Handler.codes[:] = [503, 200, 400]
    assert (ask(b"one").status, waits) == (200, [0.5])
    assert ask(b"two").status == 400
    assert waits == [0.5], "a refusal is an answer"
    assert _Handler.seen == [("/v2/models/flights/infer", "uid-1", body) for body in (b"one", b"one", b"two")]
    ask.close()


def test_who_is_busy_to_the_end_is_told_and_who_is_not_there_too():
    waits: list[float] = []
    ask = Http("http://127.0.0.1:9/x", "uid-1", waits.append)
    answered = ask(b"one")
    assert answered.status is None
    assert answered.body
    assert waits == [0.5, 1.0, 2.0]


def test_a_column_that_the_candidate_wants_and_nobody_captured_is_a_refusal(store):
    wider = [*FEATURES, Column(name="fuel", kind=ColumnKind.NUMERIC)]
    digest = publish_manifest(store, STABLE.manifest.model_copy(update={"features": wider}))
    pod = Pod()
    served = pod.app.state.served
    assert served is not None
    pod.app.state.served = replace(
        served, contract=type(served.contract).of(STABLE.manifest.model_copy(update={"features": wider}), True)
    )
    found = compared(store, pod, candidate=digest)
    assert (found.verdict, found.errors) == (Verdict.BREACHED, 120)
    assert "'fuel'" in report(store, found).refusals[0]
