"""The watching pod tells an object's state by its listing, and never mistakes its absence for a change."""

import pytest

from stationkeeper.api.jobs import WatchConfig
from stationkeeper.workloads.artifacts.errors import NotFound
from stationkeeper.workloads.jobs.watch import watch
from tests.support.memory_store import MemoryStore


def look(store: MemoryStore, uri: str = "s3://code/team/train.py") -> str:
    config = WatchConfig.model_validate(
        {"model": {"namespace": "ops", "name": "m", "uid": "u"}, "storage": {"uri": "s3://models/m"}, "uri": uri}
    )
    opened: list[str] = []

    def open_(_: WatchConfig, folder: str) -> MemoryStore:
        opened.append(folder)
        return store

    summary, code = watch(config, open_)
    assert (code, opened, summary.uri) == (0, ["s3://code/team"], uri)
    return summary.digest


def test_the_same_content_is_the_same_state_and_another_is_not() -> None:
    store = MemoryStore({"train.py": b"fit()", "train.py.bak": b"x"})
    first = look(store)
    store.objects["train.py"] = b"fit()"
    assert look(store) == first
    store.objects["train.py"] = b"fit2()"
    assert look(store) != first
    assert not [operation for operation, _ in store.log if operation == "get"], "it is not read"


@pytest.mark.parametrize("uri", ["s3://code/team/gone.py", "s3://code"])
def test_an_object_that_is_not_there_is_named(uri: str) -> None:
    with pytest.raises(NotFound, match=uri):
        look(MemoryStore({"train.py": b"fit()"}), uri)
