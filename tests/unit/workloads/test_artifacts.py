"""Blobs, manifests, ownership, columns and models: what is stored is what is loaded, or nothing is."""

import io
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, NoCredentialsError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from stationkeeper.api.jobs import ModelIdentity
from stationkeeper.api.manifest import Column, ColumnKind, FileRef
from stationkeeper.api.storage import Storage
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import get_blob, put_blob
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame, from_lists, model_input, to_lists
from stationkeeper.workloads.artifacts.errors import (
    BucketMissing,
    DigestMismatch,
    MalformedArtifact,
    NotFound,
    OwnerConflict,
    StoreDenied,
    StoreUnavailable,
)
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.owner import claim
from stationkeeper.workloads.artifacts.runtime import dump_skops, load_skops
from stationkeeper.workloads.artifacts.s3 import S3Store
from tests.support.memory_store import MemoryStore


def test_a_blob_is_stored_once_and_comes_back() -> None:
    store = MemoryStore()
    ref = put_blob(store, b"weights")
    assert put_blob(store, b"weights") == ref
    assert get_blob(store, ref) == b"weights"
    assert len(store.objects) == 1


@pytest.mark.parametrize("data", [b"weighty", b"weight", b""])
def test_a_tampered_blob_is_refused(data: bytes) -> None:
    store = MemoryStore()
    ref = put_blob(store, b"weights")
    store.objects[keys.blob(ref.digest)] = data
    with pytest.raises(DigestMismatch):
        get_blob(store, ref)


def test_a_blob_that_is_larger_than_promised_is_not_read_whole() -> None:
    store = MemoryStore()
    ref = put_blob(store, b"weights")
    store.objects[keys.blob(ref.digest)] = b"x" * 1000
    with pytest.raises(MalformedArtifact):
        get_blob(store, FileRef(digest=ref.digest, size=ref.size))


def test_a_manifest_must_hash_to_its_name_and_be_one() -> None:
    store = MemoryStore()
    ref = put_blob(store, b"{}")
    store.objects[keys.manifest(ref.digest)] = b"{}"
    with pytest.raises(MalformedArtifact):
        load_manifest(store, ref.digest)
    store.objects[keys.manifest(ref.digest)] = b"[]"
    with pytest.raises(DigestMismatch):
        load_manifest(store, ref.digest)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (ModelIdentity(namespace="b", name="n", uid="2"), "belongs to the Model a/m"),
        (ModelIdentity(namespace="a", name="m", uid="2"), "earlier Model a/m"),
    ],
)
def test_a_prefix_has_one_owner(other: ModelIdentity, says: str) -> None:
    store = MemoryStore()
    for _ in range(2):
        claim(store, ModelIdentity(namespace="a", name="m", uid="1"))
    with pytest.raises(OwnerConflict, match=says):
        claim(store, other)


def test_slots_are_read_back_from_keys() -> None:
    slot = datetime(2013, 4, 1, 12, 0, 30, tzinfo=UTC)
    key = keys.capture("sha256:" + "a" * 64, slot, "pod-5f-x", 3)
    assert key.startswith(keys.capture_day("sha256:" + "a" * 64, slot))
    assert keys.slot_start(key) == slot


@pytest.mark.parametrize(
    "name", ["", "x", "20130401", "2013W011T120000Z", "20130401T120000", "20131301T120000Z", "20130401T120000Z0"]
)
def test_other_names_are_no_slots(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        keys.slot_start(f"capture/a/2013-04-01/{name}-pod-0.parquet")


FEATURES = [
    Column(name="n", kind=ColumnKind.NUMERIC),
    Column(name="c", kind=ColumnKind.CATEGORICAL),
    Column(name="b", kind=ColumnKind.BOOLEAN),
]


def test_frames_and_lists_give_the_same_columns() -> None:
    lists: dict[str, list[Any]] = {"n": [1, None, 2.5], "c": ["x", None, ""], "b": [True, None, False]}
    frame = pl.DataFrame({"n": [1.0, None, 2.5], "c": lists["c"], "b": lists["b"]})
    ours, theirs = from_lists(lists, FEATURES), from_frame(frame, FEATURES)
    assert to_lists(ours) == to_lists(theirs) == {"n": [1.0, None, 2.5], "c": ["x", None, ""], "b": ["true", None, "false"]}
    data = model_input(ours, FEATURES)
    np.testing.assert_array_equal(data.numeric, np.array([[1], [np.nan], [2.5]], dtype=np.float32))
    assert data.text.tolist() == [["x", "true"], ["", ""], ["", "false"]]


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"n": None}, "n"),
        ({"n": ["1.5"]}, "n"),
        ({"n": [[1]]}, "n"),
        ({"n": [1, 2]}, "c"),
        ({"c": [1]}, "c"),
        ({"c": [b"\xff"]}, "c"),
        ({"b": ["perhaps"]}, "b"),
        ({"b": [[]]}, "b"),
        ({"n": [10**400]}, "n"),
    ],
)
def test_values_of_another_kind_name_their_column(changes: dict[str, Any], column: str) -> None:
    values = {"n": [1], "c": ["x"], "b": [True]} | changes
    with pytest.raises(ColumnError) as caught:
        from_lists({name: value for name, value in values.items() if value is not None}, FEATURES)
    assert caught.value.column == column


def test_numbers_beyond_float32_are_clipped_and_infinity_is_missing() -> None:
    data = model_input({"n": np.array([1e300, np.inf, -np.inf, -1e300])}, FEATURES[:1])
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(data.numeric[:, 0], np.array([largest, np.nan, np.nan, -largest], dtype=np.float32))


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("/tmp/never"),)


def test_skops_round_trip() -> None:
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    assert load_skops(dump_skops(model)).predict([[2.0]]).tolist() == [1]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pickle.dumps(Evil()), "not a skops archive"),
        (skops.io.dumps(FunctionTransformer(func=np.ndarray.tofile)), "not trusted"),
        (skops.io.dumps({"x": Path.touch}), "not trusted"),
        (dump_skops(LogisticRegression())[:200], "not a skops archive"),
        (b"", "not a skops archive"),
    ],
)
def test_what_could_run_code_is_not_loaded(data: bytes, says: str) -> None:
    with pytest.raises(MalformedArtifact, match=says):
        load_skops(data)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> S3Store:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    return S3Store.open(Storage(uri="s3://lake/pre/fix/", endpoint_url="http://localhost:1"))


def stubbed(store: S3Store) -> Stubber:
    stubber = Stubber(store._client)
    stubber.activate()
    return stubber


def body(data: bytes) -> dict[str, Any]:
    return {"Body": StreamingBody(io.BytesIO(data), len(data))}


def test_keys_are_relative_to_the_prefix(s3: S3Store) -> None:
    assert s3.uri("owner.json") == "s3://lake/pre/fix/owner.json"
    other = S3Store.open(Storage(uri="s3://lake/pre"), "s3://rows-1")
    assert other.uri("a") == "s3://rows-1/a"
    with stubbed(s3) as stub:
        when = datetime(2013, 1, 1, tzinfo=UTC)
        found = {"Contents": [{"Key": "pre/fix/a/b", "Size": 3, "ETag": '"e"', "LastModified": when}]}
        stub.add_response("list_objects_v2", found, {"Bucket": "lake", "Prefix": "pre/fix/a/", "StartAfter": "pre/fix/a/0"})
        assert [(o.key, o.size, o.etag) for o in s3.list("a/", start_after="a/0")] == [("a/b", 3, "e")]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, StoreDenied),
        ("SignatureDoesNotMatch", 403, StoreDenied),
        ("NoSuchBucket", 404, BucketMissing),
        ("NoSuchKey", 404, NotFound),
        ("SlowDown", 503, StoreUnavailable),
        ("InternalError", 500, StoreUnavailable),
        ("NotImplemented", 501, StoreDenied),
    ],
)
def test_answers_of_the_server_become_our_errors(s3: S3Store, code: str, status: int, kind: type[Exception]) -> None:
    with stubbed(s3) as stub:
        for _ in range(3):
            stub.add_client_error("get_object", code, http_status_code=status)
        with pytest.raises(kind, match=r"s3://lake/pre/fix/k at http://localhost:1") as caught:
            s3.get("k")
        assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), StoreUnavailable),
        (ConnectTimeoutError(endpoint_url="http://x"), StoreUnavailable),
        (NoCredentialsError(), StoreDenied),
    ],
)
def test_a_server_that_does_not_answer(
    s3: S3Store, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(s3._client, "put_object", fail)
    with pytest.raises(kind):
        s3.put("k", b"")


@pytest.mark.parametrize(("retries", "there", "created"), [(0, b"mine", False), (1, b"mine", True), (1, b"other", False)])
def test_create_says_whose_object_it_is(s3: S3Store, retries: int, there: bytes, created: bool) -> None:
    with stubbed(s3) as stub:
        stub.add_client_error("put_object", "PreconditionFailed", http_status_code=412, response_meta={"RetryAttempts": retries})
        stub.add_response("get_object", body(there))
        assert s3.create("k", b"mine") is created


@pytest.mark.parametrize(("there", "outcome"), [(b"mine", True), (b"other", False), (None, StoreUnavailable)])
def test_a_create_whose_answer_was_lost_is_settled_by_reading(
    s3: S3Store, there: bytes | None, outcome: bool | type[Exception]
) -> None:
    with stubbed(s3) as stub:
        stub.add_client_error("put_object", "InternalError", http_status_code=500)
        if there is None:
            stub.add_client_error("get_object", "NoSuchKey", http_status_code=404)
        else:
            stub.add_response("get_object", body(there))
        if isinstance(outcome, bool):
            assert s3.create("k", b"mine") is outcome
        else:
            with pytest.raises(outcome):
                s3.create("k", b"mine")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [("AccessDenied", 403, StoreDenied), ("NoSuchBucket", 404, BucketMissing), ("SlowDown", 503, StoreUnavailable)],
)
def test_what_cannot_be_deleted_is_told(s3: S3Store, code: str, status: int, kind: type[Exception]) -> None:
    with stubbed(s3) as stub:
        stub.add_client_error("delete_object", code, http_status_code=status)
        with pytest.raises(kind, match="cannot delete s3://lake/pre/fix/k"):
            s3.delete("k")


def test_deleting_is_relative_to_the_prefix_and_twice_is_once(s3: S3Store) -> None:
    with stubbed(s3) as stub:
        stub.add_response("delete_object", {}, {"Bucket": "lake", "Key": "pre/fix/k"})
        stub.add_client_error("delete_object", "NoSuchKey", http_status_code=404)
        s3.delete("k")
        s3.delete("k")
        stub.assert_no_pending_responses()


def test_a_download_is_whole_or_not_there(s3: S3Store, tmp_path: Path) -> None:
    with stubbed(s3) as stub:
        for _ in range(3):
            torn = StreamingBody(io.BytesIO(b"half"), 8)
            stub.add_response("get_object", {"Body": torn})
        with pytest.raises(StoreUnavailable):
            s3.download("k", tmp_path / "file")
        assert list(tmp_path.iterdir()) == []
        stub.add_response("get_object", body(b"whole"))
        s3.download("k", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"whole"
