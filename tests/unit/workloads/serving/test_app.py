"""The application, called as ASGI: paths, methods, headers, health, errors, limits."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from stationkeeper.workloads.serving import inference, protocol
from stationkeeper.workloads.serving.app import App
from stationkeeper.workloads.serving.loading import load
from stationkeeper.workloads.serving.metrics import Metrics
from stationkeeper.workloads.serving.state import State
from tests.unit.workloads.serving.asgi import Answer, call
from tests.unit.workloads.serving.published import inputs, published

INFER = "/v2/models/flights/infer"


class Remembered:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.refusals: list[Any] = []

    def answered(
        self, request_id: str, arrived: float, columns: Any, outputs: Any, extra: Sequence[str], size: int, told: Any = None
    ) -> None:
        self.rows.append((request_id, arrived, columns, outputs, tuple(extra)))

    def refused(self, arrived: float, missing: Sequence[str], mismatched: Sequence[str], rows: int, told: Any = None) -> None:
        self.refusals.append((tuple(missing), tuple(mismatched), rows))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder() -> Remembered:
    return Remembered()


@pytest.fixture
def app(clock: Clock, recorder: Remembered) -> App:
    revision = published()
    state = State(served=load(revision.config, lambda: revision.store), recorder=recorder)
    return App("flights", 7, revision.digest, state, Metrics(), monotonic=clock, wall=lambda: 1_700_000_000.0)


def body(tensors: Any = None, **fields: Any) -> bytes:
    return json.dumps({"inputs": inputs() if tensors is None else tensors, **fields}).encode()


async def ask(app: App, *arguments: Any, **options: Any) -> Answer:
    answer = await call(app, *arguments, **options)
    assert answer is not None
    return answer


def sample(app: App, name: str, **labels: str) -> float:
    return app.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_an_inference_is_answered_as_the_protocol_says(app: App, recorder: Remembered) -> None:
    answer = await ask(
        app, "POST", INFER, body(inputs(hour=[23, 1], distance=[1, None], carrier=["AA", "?"], night=[True, None]))
    )
    document = answer.json
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert (document["model_name"], document["model_version"]) == ("flights", "7")
    assert document["parameters"] == {"revision": 7, "digest": published().digest, "classes": ["0", "1"]}
    labels, probabilities = document["outputs"]
    assert labels == {"name": "predict", "datatype": "INT64", "shape": [2], "data": [1, 0]}
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP64", [2, 2])
    assert sum(probabilities["data"][:2]) == pytest.approx(1)
    (request_id, arrived, columns, outputs, extra) = recorder.rows[0]
    assert (request_id, arrived, extra) == (document["id"], 1_700_000_000.0, ())
    assert columns["hour"].tolist() == [23, 1]
    assert outputs["label"].tolist() == ["1", "0"]
    assert outputs["probability"].tolist() == pytest.approx(probabilities["data"][1::2])


async def test_revision_and_digest_are_in_every_header(app: App) -> None:
    for path in ("/v2", "/nowhere", INFER, "/metrics"):
        answer = await ask(app, "GET", path)
        assert answer.headers["x-stationkeeper-revision"] == "7"
        assert answer.headers["x-stationkeeper-digest"] == published().digest


@pytest.mark.parametrize(
    ("header", "field", "wanted"),
    [
        ("abc", None, "abc"),
        (None, "from-body", "from-body"),
        ("abc", "from-body", "from-body"),
        ("bad id with spaces", None, None),
        ("x" * 129, None, None),
        ("", None, None),
    ],
)
async def test_the_request_id_is_the_clients_or_made(
    app: App, recorder: Remembered, header: str | None, field: str | None, wanted: str | None
) -> None:
    headers = {} if header is None else {"x-request-id": header}
    answer = await ask(app, "POST", INFER, body(**({} if field is None else {"id": field})), headers)
    given = answer.headers["x-request-id"]
    assert answer.json["id"] == given == recorder.rows[0][0]
    assert given == wanted if wanted else len(given) == 32


async def test_an_id_that_no_header_can_hold_is_escaped_there(app: App) -> None:
    answer = await ask(app, "POST", INFER, json.dumps({"id": "f\u00fcr", "inputs": inputs()}).encode())
    assert answer.json["id"] == "f\u00fcr"
    assert answer.headers["x-request-id"] == "f%C3%BCr"


@pytest.mark.parametrize("prefix", ["/v2/models/flights", "/v2/models/flights/versions/7"])
async def test_a_model_is_asked_with_or_without_its_version(app: App, prefix: str) -> None:
    assert (await ask(app, "POST", f"{prefix}/infer", body())).status == 200
    assert (await ask(app, "GET", f"{prefix}/ready")).json == {"name": "flights", "ready": True}
    metadata = (await ask(app, "GET", prefix)).json
    assert metadata["versions"] == ["7"]
    assert metadata["inputs"][2] == {"name": "carrier", "datatype": "BYTES", "shape": [-1]}
    assert [output["name"] for output in metadata["outputs"]] == ["predict", "predict_proba"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v2", 200, None),
        ("GET", "/v2/", 200, None),
        ("GET", "/v2/health/live", 200, None),
        ("GET", "/v2/health/ready", 200, None),
        ("GET", "/metrics", 200, None),
        ("GET", INFER, 405, "POST"),
        ("HEAD", INFER, 405, "POST"),
        ("POST", "/v2", 405, "GET, HEAD"),
        ("DELETE", "/v2/models/flights", 405, "GET, HEAD"),
        ("OPTIONS", INFER, 405, "POST"),
        ("GET", "/", 404, None),
        ("POST", "/v2/models/other/infer", 404, None),
        ("POST", "/v2/models/flights/versions/6/infer", 404, None),
        ("POST", "/v2/models/flights/infer/x", 404, None),
        ("GET", "/v2/models/../secret", 404, None),
    ],
)
async def test_paths_and_methods(app: App, method: str, path: str, status: int, allow: str | None) -> None:
    answer = await ask(app, method, path, b"ignored")
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    if status >= 400 and method != "HEAD":
        assert list(answer.json) == ["error"]


async def test_head_is_get_without_a_body(app: App) -> None:
    head, get = await ask(app, "HEAD", "/v2/models/flights"), await ask(app, "GET", "/v2/models/flights")
    assert head.body == b""
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_before_the_model_is_loaded_the_pod_lives_and_is_not_ready(app: App) -> None:
    app.state.served = None
    assert (await ask(app, "GET", "/v2/health/live")).json == {"live": True}
    for path in ("/v2/health/ready", "/v2/models/flights/ready"):
        answer = await ask(app, "GET", path)
        assert (answer.status, answer.json["ready"]) == (503, False)
        assert answer.json["error"] == "the model is being loaded"
    refused = await ask(app, "POST", INFER, body())
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert (await ask(app, "GET", "/v2/models/flights")).status == 503


async def test_a_draining_pod_answers_and_closes(app: App) -> None:
    assert not (await ask(app, "POST", INFER, body())).closes
    app.state.draining = True
    answer = await ask(app, "POST", INFER, body())
    assert (answer.status, answer.closes) == (200, True)
    assert (await ask(app, "GET", "/v2/health/ready")).status == 503


async def test_old_connections_are_closed_young_ones_are_kept(app: App, clock: Clock) -> None:
    async def closes(port: int) -> bool:
        return (await ask(app, "POST", INFER, body(), client=("10.0.0.1", port))).closes

    assert not await closes(1)
    clock.now += 15
    assert not await closes(1)
    assert not await closes(2)
    clock.now += 5
    assert await closes(1)
    assert not await closes(2)
    assert not await closes(1), "the next connection from that port is young"


async def test_the_table_of_connections_is_bounded(app: App) -> None:
    limit = app.connections._limit = 10
    for port in range(50):
        await ask(app, "GET", "/v2", client=("10.0.0.1", port))
    assert len(app.connections) == limit


async def test_schema_refusals_are_counted_in_the_profile(app: App, recorder: Remembered) -> None:
    answer = await ask(app, "POST", INFER, body(inputs(carrier=None)))
    assert (answer.status, answer.json["error"][:30]) == (400, "inputs: no tensor for 'carrier")
    wrong = inputs()
    wrong[0] |= {"datatype": "BYTES", "data": ["far"]}
    assert (await ask(app, "POST", INFER, body(wrong))).status == 400
    assert recorder.refusals == [(("carrier",), (), 1), ((), ("distance",), 1)]
    assert recorder.rows == []
    assert sample(app, "stationkeeper_serving_errors_total", cause="schema") == 2


async def test_a_model_that_fails_is_a_500_and_the_next_request_is_answered(
    app: App, recorder: Remembered, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        manifest = published().manifest

        def predict(self, columns: Any) -> Any:
            raise RuntimeError("secret detail")

    good = app.state.served
    assert good is not None
    app.state.served = replace(good, predictor=Broken())
    answer = await ask(app, "POST", INFER, body(id="r9"))
    assert answer.status == 500
    assert "secret detail" not in answer.body.decode()
    assert "r9" in caplog.text
    assert recorder.rows == []
    app.state.served = good
    assert (await ask(app, "POST", INFER, body())).status == 200
    assert sample(app, "stationkeeper_serving_requests_total", code="500") == 1


@pytest.mark.parametrize(
    ("headers", "parts", "status"),
    [
        ({"content-length": str(protocol.MAX_BODY_BYTES + 1)}, [b"x"], 413),
        ({}, [b"x" * protocol.MAX_BODY_BYTES, b"x", b"rest"], 413),
        ({"content-encoding": "gzip"}, [b"x"], 400),
        ({"inference-header-content-length": "10"}, [b"x"], 400),
        ({"content-length": "9" * 30}, [b"[]"], 400),
    ],
    ids=["declared", "undeclared", "compressed", "binary", "absurd length"],
)
async def test_bodies_that_are_not_taken(app: App, headers: dict[str, str], parts: list[bytes], status: int) -> None:
    answer = await ask(app, "POST", INFER, parts, headers)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert app.inference._held == 0


async def test_too_many_large_bodies_at_once_are_503(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_MAX_HELD", 100)
    answer = await ask(app, "POST", INFER, [b"x" * 60, b"x" * 60])
    assert (answer.status, answer.closes) == (503, True)
    assert (await ask(app, "POST", INFER, [b"[", b"]"])).status == 400, "the room is free again"


async def test_a_body_that_never_ends_is_given_up(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BODY_SECONDS", 0.01)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": INFER, "headers": [], "client": None}, receive, send)
    assert sent[0]["status"] == 408


async def test_a_client_that_leaves_gets_nothing_and_is_counted(app: App) -> None:
    assert await call(app, "POST", INFER, [b'{"inp', None]) is None  # type: ignore[list-item]
    assert sample(app, "stationkeeper_serving_requests_total", code="499") == 1
    assert sample(app, "stationkeeper_serving_in_flight") == 0


async def test_a_large_batch_is_predicted_off_the_event_loop_with_the_same_answers(app: App) -> None:
    rows = 3000
    many = inputs(distance=[1.0] * rows, hour=[h % 24 for h in range(rows)], carrier=["AA"] * rows, night=[False] * rows)
    large = body(many)
    assert len(large) > inference.INLINE_BYTES
    answer, live = await asyncio.gather(ask(app, "POST", INFER, large), ask(app, "GET", "/v2/health/live"))
    assert live.status == 200
    data = answer.json["outputs"][0]["data"]
    assert data[:24] * (rows // 24) == data
    assert sample(app, "stationkeeper_serving_rows_total") == rows


async def test_metrics_tell_requests_rows_and_classes(app: App) -> None:
    app.metrics.serve("flights", 7, published().digest, ["0", "1"])
    await ask(app, "POST", INFER, body(inputs(hour=[23, 23, 1], distance=[1] * 3, carrier=["AA"] * 3, night=[False] * 3)))
    await ask(app, "POST", INFER, b"nonsense")
    assert sample(app, "stationkeeper_serving_requests_total", code="200") == 1
    assert sample(app, "stationkeeper_serving_requests_total", code="400") == 1
    assert sample(app, "stationkeeper_serving_rows_total") == 3
    assert sample(app, "stationkeeper_serving_predictions_total", label="1") == 2
    assert sample(app, "stationkeeper_serving_request_seconds_count") == 2
    text = (await ask(app, "GET", "/metrics")).body.decode()
    assert f'stationkeeper_serving_model_info{{digest="{published().digest}",model="flights",revision="7"}} 1.0' in text
