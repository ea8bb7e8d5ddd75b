"""A look at a published file."""

from datetime import UTC, datetime

import pytest

from stationkeeper.api.base import sha256
from stationkeeper.api.jobs import LookConfig
from stationkeeper.workloads.artifacts.errors import OwnerConflict
from stationkeeper.workloads.imports.look import look as look_at
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.imports.made_elsewhere import FILE, source

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
CONFIG = LookConfig.model_validate(
    {
        "model": {"namespace": "ops", "name": "flights", "uid": "uid-1"},
        "storage": {"uri": "s3://test/model"},
        "source": source("onnx"),
    }
)


@pytest.fixture
def lake():
    return MemoryStore({"model.bin": b"one", "model.bin.tmp": b"another"}, "s3://lake/published")


def look(store, lake, tmp_path):
    return look_at(CONFIG, store, lambda _uri: lake, tmp_path, NOW)


def reads(lake):
    return lake.log.count(("get", "model.bin"))


def test_a_file_is_told_by_its_content_and_read_once(lake, tmp_path):
    store = MemoryStore()
    found = look(store, lake, tmp_path)
    assert (found.uri, found.digest, found.size, found.seen_at, found.message) == (FILE, sha256(b"one"), 3, NOW, "")
    assert look(store, lake, tmp_path) == found
    assert reads(lake) == 1
    lake.objects["model.bin"] = b"two"
    assert look(store, lake, tmp_path).digest == sha256(b"two")
    lake.objects["model.bin"] = b"one"
    assert look(store, lake, tmp_path).digest == sha256(b"one")
    assert reads(lake) == 2, "what was read once is known again"
    assert list(tmp_path.iterdir()) == []


def test_what_was_known_and_cannot_be_read_is_read_anew(lake, tmp_path):
    store = MemoryStore()
    look(store, lake, tmp_path)
    (key,) = [key for key in store.objects if key.startswith("sources/")]
    store.objects[key] = b"{"
    assert look(store, lake, tmp_path).digest == sha256(b"one")


@pytest.mark.parametrize(("content", "said"), [(None, "there is no file"), (b"", "has 0 bytes")])
def test_no_file_is_told_with_what_to_do(lake, tmp_path, content, said):
    del lake.objects["model.bin"]
    if content is not None:
        lake.objects["model.bin"] = content
    found = look(MemoryStore(), lake, tmp_path)
    assert found.digest is None
    assert said in found.message


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_either(lake, tmp_path):
    lake.after = lambda operation, key: lake.objects.update({"model.bin": b"new"}) if operation == "get" else None
    found = look(MemoryStore(), lake, tmp_path)
    assert found.digest is None
    assert "changed while it was read" in found.message


def test_nothing_is_written_into_a_prefix_of_another_model(lake, tmp_path):
    store = MemoryStore({"owner.json": b'{"namespace":"ops","name":"other","uid":"uid-9"}'})
    with pytest.raises(OwnerConflict):
        look(store, lake, tmp_path)
    assert list(store.objects) == ["owner.json"]
