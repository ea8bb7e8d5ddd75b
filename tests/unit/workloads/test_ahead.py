"""Objects come in the order they were asked for, whatever was fetched first, and no more are under way than may be."""

import threading
from datetime import UTC, datetime

import pytest

from stationkeeper.workloads.artifacts import ahead
from stationkeeper.workloads.artifacts.ahead import get_each
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound, StoreUnavailable
from stationkeeper.workloads.artifacts.store import ObjectInfo
from tests.support.memory_store import MemoryStore

NAMES = [f"{i:03}" for i in range(60)]


def stored(*sizes: int) -> tuple[MemoryStore, list[ObjectInfo]]:
    store = MemoryStore({name: name.encode() for name in NAMES})
    infos = [ObjectInfo(name, sizes[0] if sizes else 3, "", datetime(2026, 3, 1, tzinfo=UTC)) for name in NAMES]
    return store, infos


def test_objects_come_in_their_order_though_the_first_is_the_last_to_arrive() -> None:
    store, infos = stored()
    others = threading.Semaphore(0)

    def before(_operation: str, key: str) -> None:
        if key == NAMES[0]:
            assert others.acquire(timeout=10)  # at least one other is under way meanwhile
        else:
            others.release()

    store.before = before
    assert [(info.key, got.result()) for info, got in get_each(store, infos)] == [(n, n.encode()) for n in NAMES]


def test_what_is_wrong_with_one_object_is_said_where_its_turn_is() -> None:
    store, infos = stored()
    del store.objects[NAMES[20]]
    store.objects[NAMES[30]] = b"too long"
    said: dict[str, str] = {}
    for info, got in get_each(store, infos, max_bytes=3):
        try:
            assert got.result() == info.key.encode()
        except (NotFound, MalformedArtifact) as error:
            said[info.key] = type(error).__name__
    assert said == {NAMES[20]: "NotFound", NAMES[30]: "MalformedArtifact"}


@pytest.mark.parametrize(("size", "most"), [(3, ahead._AHEAD), (ahead._ROOM // 4, 4), (ahead._ROOM + 1, 1)])
def test_of_objects_that_nobody_took_yet_few_are_asked_for_and_of_large_ones_fewer(size: int, most: int) -> None:
    store, infos = stored(size)
    each = get_each(store, infos)
    for taken in range(1, 20):
        next(each)[1].result()
        assert len(store.log) <= taken + most
    each.close()


def test_who_stops_at_an_error_asks_for_no_more() -> None:
    store, infos = stored()
    threads = set(threading.enumerate())

    def before(_operation: str, key: str) -> None:
        if key == NAMES[5]:
            raise StoreUnavailable("the server is gone")

    store.before = before
    each = get_each(store, infos)
    for _ in range(5):
        next(each)[1].result()
    with pytest.raises(StoreUnavailable):
        next(each)[1].result()
    each.close()
    assert len(store.log) <= 6 + ahead._AHEAD
    assert set(threading.enumerate()) <= threads
