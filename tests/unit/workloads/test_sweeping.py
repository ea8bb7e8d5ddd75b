"""Mark and sweep: what matters stays whole, whatever dies, lies or comes meanwhile; what nothing needs goes in the end."""

import contextlib
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.jobs import SweepConfig
from stationkeeper.workloads.artifacts import keys, sweeping
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.errors import ArtifactError, NotFound, OwnerConflict, StoreUnavailable
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs.sweep import sweep as job
from tests.support.bucket import NOW, OLD, YOUNG, Bucket
from tests.support.memory_store import MemoryStore

POLICY = "sha256:" + "d" * 64


def config(*kept: str, **retention: Any) -> SweepConfig:
    pinned = retention.pop("pinned", None)
    return SweepConfig.model_validate(
        {
            "model": {"namespace": "ops", "name": "flights", "uid": "uid-1"},
            "storage": {"uri": "s3://test/model"},
            "retention": {"artifacts": "Sweep", **retention},
            "kept": list(kept),
            "serving": list(kept[-1:]),
            "pinned": pinned,
        }
    )


def test_what_nothing_names_goes_and_what_is_marked_stays_whole() -> None:
    store = Bucket()
    gone, kept = store.publish(1, b"one", b"both"), store.publish(2, b"two", b"both")
    put_blob(store, b"left by a training that died")
    store.modified[keys.blob(sha256(b"left by a training that died"))] = OLD
    summary = sweeping.sweep(store, config(kept))
    assert (summary.manifests, summary.files, summary.complete) == (1, 3, True)  # its own file, its sample, and the orphan
    assert store.is_whole(kept)
    with pytest.raises(NotFound):
        load_manifest(store, gone)
    assert keys.sample(gone) not in store.objects
    assert keys.sample(kept) in store.objects
    assert sweeping.sweep(store, config(kept)).manifests == 0


def test_what_is_young_stays_whether_it_is_marked_or_not() -> None:
    store = Bucket()
    kept, young = store.publish(1, b"one"), store.publish(2, b"two", at=YOUNG)
    reused = store.publish(3, b"old file", at=OLD)
    fresh = store.publish(4, b"old file", at=YOUNG)  # the file is as old as revision 3
    summary = sweeping.sweep(store, config(kept))
    assert (summary.manifests, summary.files) == (1, 1)
    assert all(store.is_whole(digest) for digest in (kept, young, fresh))
    assert keys.manifest(reused) not in store.objects
    assert sweeping.sweep(store, config(kept, grace="24h")).manifests == 2


def test_a_pinned_revision_without_a_record_stays() -> None:
    store = Bucket()
    pinned, kept = store.publish(1, b"one"), store.publish(2, b"two")
    assert sweeping.sweep(store, config(kept, pinned=1)).manifests == 0
    assert store.is_whole(pinned)


DAMAGE = [
    ("a marked manifest is gone", lambda store, key: store.objects.pop(key), NotFound),
    ("a marked manifest is damaged", lambda store, key: store.objects.update({key: b"{"}), ArtifactError),
]


@pytest.mark.parametrize(("name", "harm", "error"), DAMAGE, ids=[row[0] for row in DAMAGE])
def test_nothing_goes_while_it_is_not_known_what_must_stay(name: str, harm: Any, error: type[Exception]) -> None:
    store = Bucket()
    store.publish(1, b"one")
    kept = store.publish(2, b"two")
    harm(store, keys.manifest(kept))
    before = set(store.objects)
    with pytest.raises(error):
        sweeping.sweep(store, config(kept))
    assert set(store.objects) - {keys.SWEEP} == before


def test_what_is_published_while_it_sweeps_keeps_the_files_that_it_reuses() -> None:
    store = Bucket()
    store.publish(1, b"one")
    kept = store.publish(2, b"two")
    published: list[str] = []

    def meanwhile(operation: str, key: str) -> None:
        if operation == "delete" and key.startswith("manifests/") and not published:
            published.append(store.publish(3, b"one", at=NOW))

    store.after = meanwhile
    sweeping.sweep(store, config(kept))
    assert published
    assert store.is_whole(published[0])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_sweep_that_dies_anywhere_leaves_every_manifest_whole(moment: str) -> None:
    """And the next one ends its work."""

    def made() -> tuple[Bucket, str]:
        store = Bucket()
        for number in range(1, 5):
            store.publish(number, b"file %d" % number, b"file %d" % (number + 1))
        return store, store.publish(5, b"file 5")

    whole, kept = made()
    sweeping.sweep(whole, config(kept))
    for number in itertools.count():
        store, kept = made()
        left = [number]

        def die(_operation: str, _key: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise StoreUnavailable("dead")

        setattr(store, moment, die)
        with contextlib.suppress(StoreUnavailable):
            sweeping.sweep(store, config(kept))
        setattr(store, moment, lambda _operation, _key: None)
        for key in [key for key in store.objects if key.startswith("manifests/")]:
            assert store.is_whole(f"sha256:{key[10:-5]}"), "a manifest that is there is whole"
        sweeping.sweep(store, config(kept))
        assert store.objects.keys() == whole.objects.keys()
        if left[0] >= 0:  # it did not die any more
            assert number > 20
            return


def test_the_age_of_objects_is_told_by_the_clock_that_dated_them() -> None:
    store = Bucket()
    kept = store.publish(1, b"one")
    store.publish(2, b"two", at=NOW - timedelta(hours=1))
    assert sweeping.server_time(store) == NOW
    assert sweeping.sweep(store, config(kept)).manifests == 0


def rows(store: Bucket, at: datetime) -> str:
    key = keys.capture(POLICY, at, "pod", 1)
    store.objects[key] = b"rows"
    store.modified[key] = NOW  # as if it had been copied from another bucket: the traffic's time counts
    return key


def test_captured_rows_go_at_their_age_and_profiles_stay() -> None:
    store = Bucket()
    kept = store.publish(1, b"one")
    old, new = rows(store, NOW - timedelta(days=91)), rows(store, NOW - timedelta(days=89))
    foreign = "capture/readme.txt"
    store.objects[foreign] = b"not ours"
    profile = keys.profile(POLICY, NOW - timedelta(days=91), "pod", 1)
    store.objects[profile] = b"counts"
    assert sweeping.sweep(store, config(kept, artifacts="Keep", captured="90d")).captured == 1
    assert old not in store.objects
    assert {new, foreign, profile} <= store.objects.keys()


def test_reports_go_at_their_age_but_not_those_of_what_serves() -> None:
    store = Bucket()
    first, serving = store.publish(1, b"one"), store.publish(2, b"two")
    start = OLD - timedelta(days=300)
    for digest in (first, serving):
        for key in (
            keys.check("uid-p", POLICY, digest, start, OLD),
            keys.check("uid-p", POLICY, digest, start, OLD).replace(".json", ".html"),
        ):
            store.objects[key], store.modified[key] = b"{}", start
    assert sweeping.sweep(store, config(first, serving, artifacts="Keep", reports="180d")).reports == 2
    assert store.below("checks/") == 2
    assert store.below("manifests/") == 2


def test_keeping_is_the_default_and_deletes_nothing() -> None:
    store = Bucket()
    store.publish(1, b"one")
    before = set(store.objects)
    plain = config().model_copy(update={"retention": config().retention.model_copy(update={"artifacts": "Keep"})})
    sweeping.sweep(store, plain)
    assert set(store.objects) - before == {keys.SWEEP}


def test_a_long_sweep_stops_and_says_that_more_is_left() -> None:
    store = Bucket()
    kept = store.publish(1, b"one")
    for number in range(2, 6):
        store.publish(number, b"file %d" % number)
    summary = sweeping.sweep(store, config(kept), most=3)
    assert (summary.manifests, summary.files, summary.complete) == (3, 0, False)
    assert store.is_whole(kept)


def test_another_models_prefix_is_not_swept() -> None:
    store = Bucket()
    store.publish(1, b"one")
    store.objects[keys.OWNER] = canonical_json({"namespace": "ops", "name": "flights", "uid": "uid-2"})
    before = dict(store.objects)
    with pytest.raises(OwnerConflict):
        job(config(), store)
    assert store.objects == before


def test_a_store_is_told_once_what_to_remove(tmp_path: Any) -> None:
    from stationkeeper.workloads.backtest.folder import FolderStore

    stores: list[Store] = [FolderStore(tmp_path, "s3://here"), MemoryStore()]
    for store in stores:
        store.put("a", b"1")
        store.delete("a")
        store.delete("a")
        assert not store.exists("a")


def test_rows_that_went_to_other_machines_go_and_how_the_attempt_ended_stays() -> None:
    store = Bucket()
    kept = store.publish(1, b"one")
    for name, at in (("train.parquet", OLD), ("model.onnx", YOUNG)):
        key = keys.exchange("e1", 1, name)
        store.objects[key], store.modified[key] = b"rows", at
    store.objects[keys.outcome("e1", 1)], store.modified[keys.outcome("e1", 1)] = b"{}", OLD
    sweeping.sweep(store, config(kept))
    assert keys.exchange("e1", 1, "train.parquet") not in store.objects
    assert keys.exchange("e1", 1, "model.onnx") in store.objects, "it is young"
    assert keys.outcome("e1", 1) in store.objects
