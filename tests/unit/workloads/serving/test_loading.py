"""A revision is served only when every byte is the manifest's and the golden rows come out right."""

import json
import threading
from collections.abc import Callable

import pytest

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.manifest import FILE_GOLDEN, FILE_REFERENCE, FILE_SKOPS
from stationkeeper.api.meta import EXIT_INVALID, EXIT_TRANSIENT
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.errors import (
    DigestMismatch,
    MalformedArtifact,
    NotFound,
    StoreDenied,
    StoreUnavailable,
)
from stationkeeper.workloads.artifacts.golden import ParityError
from stationkeeper.workloads.artifacts.manifests import publish_manifest
from stationkeeper.workloads.jobs.serve import told
from stationkeeper.workloads.serving.loading import Stopped, load
from tests.unit.workloads.serving.published import Published, published


@pytest.fixture
def revision() -> Published:
    return published().fresh()


def with_file(revision: Published, name: str, data: bytes) -> Published:
    """The revision as if it had been published with another file, all digests right."""
    files = revision.manifest.files | {name: put_blob(revision.store, data)}
    digest = publish_manifest(revision.store, revision.manifest.model_copy(update={"files": files}))
    identity = revision.config.revision.model_copy(update={"digest": digest})
    return Published(revision.store, revision.manifest, digest, revision.config.model_copy(update={"revision": identity}))


def golden(revision: Published) -> dict[str, object]:
    found: dict[str, object] = json.loads(revision.store.objects[keys.blob(revision.manifest.files[FILE_GOLDEN].digest)])
    return found


@pytest.mark.parametrize("form", ["skops", "onnx"])
def test_a_sound_revision_is_loaded(form: str) -> None:
    revision = published(form)
    assert revision.manifest.format == form
    served = load(revision.config, lambda: revision.store)
    assert served.digest == revision.digest
    assert served.contract.outputs == ("predict", "predict_proba")


@pytest.mark.parametrize("name", [FILE_SKOPS, FILE_REFERENCE, FILE_GOLDEN])
def test_one_flipped_bit_in_any_file_is_a_digest_mismatch(revision: Published, name: str) -> None:
    key = keys.blob(revision.manifest.files[name].digest)
    data = bytearray(revision.store.objects[key])
    data[len(data) // 2] ^= 1
    revision.store.objects[key] = bytes(data)
    with pytest.raises(DigestMismatch):
        load(revision.config, lambda: revision.store)


def test_a_changed_manifest_is_a_digest_mismatch(revision: Published) -> None:
    key = keys.manifest(revision.digest)
    revision.store.objects[key] = revision.store.objects[key].replace(b"flights", b"flightz")
    with pytest.raises(DigestMismatch):
        load(revision.config, lambda: revision.store)


def test_a_longer_blob_is_not_read_to_its_end(revision: Published) -> None:
    key = keys.blob(revision.manifest.files[FILE_SKOPS].digest)
    revision.store.objects[key] += b"x" * 1000
    with pytest.raises(MalformedArtifact):
        load(revision.config, lambda: revision.store)


def test_other_golden_answers_are_a_failed_parity(revision: Published) -> None:
    wrong = golden(revision)
    probabilities = wrong["probabilities"]
    assert isinstance(probabilities, list)
    probabilities[3] = [1 - p for p in probabilities[3]]
    with pytest.raises(ParityError, match="probabilities"):
        load(with_file(revision, FILE_GOLDEN, canonical_json(wrong)).config, lambda: revision.store)


def test_a_proof_of_nothing_is_no_proof(revision: Published) -> None:
    empty = {"columns": {f.name: [] for f in revision.manifest.features}, "labels": [], "probabilities": [], "tolerance": 1.0}
    with pytest.raises(MalformedArtifact, match="no rows"):
        load(with_file(revision, FILE_GOLDEN, canonical_json(empty)).config, lambda: revision.store)


def test_golden_rows_of_other_columns_are_a_failed_parity(revision: Published) -> None:
    wrong = golden(revision) | {"columns": {"elsewhere": [1]}}
    with pytest.raises(ParityError, match="'distance'"):
        load(with_file(revision, FILE_GOLDEN, canonical_json(wrong)).config, lambda: revision.store)


@pytest.mark.parametrize("name", [FILE_SKOPS, FILE_REFERENCE, FILE_GOLDEN])
def test_files_that_are_not_what_they_are_called_are_malformed(revision: Published, name: str) -> None:
    pickle = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins."
    with pytest.raises(MalformedArtifact):
        load(with_file(revision, name, pickle).config, lambda: revision.store)


def test_a_store_that_comes_back_is_waited_for(revision: Published, caplog: pytest.LogCaptureFixture) -> None:
    failing = [3]

    def away(_operation: str, _key: str) -> None:
        if failing[0]:
            failing[0] -= 1
            raise StoreUnavailable("connection refused")

    revision.store.before = away
    assert load(revision.config, lambda: revision.store, waits=(0, 0, 0)).digest == revision.digest
    assert caplog.text.count("StorageUnreachable: connection refused") == 3


def test_a_store_that_stays_away_is_given_up(revision: Published) -> None:
    tries = []

    def away(_operation: str, key: str) -> None:
        tries.append(key)
        raise StoreUnavailable("connection refused")

    revision.store.before = away
    with pytest.raises(StoreUnavailable):
        load(revision.config, lambda: revision.store, waits=(0, 0))
    assert len(tries) == 3


def test_loading_ends_when_the_pod_is_told_to(revision: Published) -> None:
    stop = threading.Event()

    def away(_operation: str, _key: str) -> None:
        stop.set()
        raise StoreUnavailable("connection refused")

    revision.store.before = away
    with pytest.raises(Stopped):
        load(revision.config, lambda: revision.store, stop, waits=(60,))


@pytest.mark.parametrize(
    ("make", "reason", "code"),
    [
        (lambda: DigestMismatch("x"), "DigestMismatch", EXIT_INVALID),
        (lambda: ParityError("x"), "ParityFailed", EXIT_INVALID),
        (lambda: MalformedArtifact("x"), "MalformedArtifact", EXIT_INVALID),
        (lambda: NotFound("x"), "ArtifactMissing", EXIT_INVALID),
        (lambda: StoreUnavailable("x"), "StorageUnreachable", EXIT_TRANSIENT),
        (lambda: StoreDenied("x"), "StorageDenied", EXIT_TRANSIENT),
        (lambda: OSError("port taken"), "InternalError", EXIT_TRANSIENT),
    ],
)
def test_only_a_fault_of_the_revision_itself_gives_it_up(make: Callable[[], Exception], reason: str, code: int) -> None:
    summary, got = told(make())
    assert (summary.reason, got) == (reason, code)


def test_the_identity_is_the_hash_of_the_manifest(revision: Published) -> None:
    assert sha256(revision.store.objects[keys.manifest(revision.digest)]) == revision.digest
