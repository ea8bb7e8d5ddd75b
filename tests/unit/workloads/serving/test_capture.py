"""Capture keeps every row or counts its loss: slots, sampling, limits, and a store that fails in every way."""

import io
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.captured import is_sampled
from stationkeeper.workloads.artifacts.errors import StoreDenied, StoreUnavailable
from stationkeeper.workloads.artifacts.outputs import watched
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.serving import slots, uploads
from stationkeeper.workloads.serving.buffer import Answered, Buffer, Refused
from stationkeeper.workloads.serving.capture import Recording
from stationkeeper.workloads.serving.loading import load
from stationkeeper.workloads.serving.metrics import Kind, Metrics
from stationkeeper.workloads.serving.slots import Collector, Names, Object
from stationkeeper.workloads.serving.state import Served
from stationkeeper.workloads.serving.uploads import Uploads
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.serving.published import published

T0 = 1_700_000_000.0  # a multiple of 5 s, of 10 s and of 20 s
SERVED: Served = load(published().config, lambda: published().store)


@cache
def answered(rows: int) -> tuple[dict[str, Any], dict[str, Any]]:
    columns = {
        "distance": np.full(rows, 500.0),
        "hour": np.arange(rows, dtype=np.float64) % 24,
        "carrier": np.array(["AA"] * rows, dtype=object),
        "night": np.array(["true"] * (rows - 1) + [None], dtype=object),
    }
    return columns, watched(SERVED.manifest, SERVED.predictor.predict(columns))


def entry(request_id: str, arrived: float, rows: int = 1, extra: tuple[str, ...] = ()) -> Answered:
    columns, outputs = answered(rows)
    return Answered(request_id, arrived, columns, outputs, extra, rows, 100)


def collector(metrics: Metrics | None = None, **policy: Any) -> Collector:
    capture = published().fresh(**({"flush_interval": "5s"} | policy)).config.capture
    return Collector(SERVED, capture, Names(SERVED.digest, "pod-1", 3), metrics or Metrics())


def read(objects: Sequence[Object]) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(io.BytesIO(o.data)) for o in objects if o.kind is Kind.ROWS])


def profiles(objects: Sequence[Object]) -> list[Profile]:
    return [Profile.decode(o.data, SERVED.reference) for o in objects if o.kind is Kind.PROFILE]


def count(metrics: Metrics, kind: str, outcome: str) -> float:
    name = {"rows": "stationkeeper_capture_rows_total", "profile": "stationkeeper_capture_profile_rows_total"}[kind]
    return metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


def stored(store: MemoryStore) -> tuple[pl.DataFrame, Profile]:
    """All captured rows and the sum of all profiles of a store."""
    frames = [pl.read_parquet(io.BytesIO(data)) for key, data in store.objects.items() if key.endswith(".parquet")]
    total = Profile.empty(SERVED.reference)
    for key, data in store.objects.items():
        if key.endswith(".profile"):
            total = total.merge(Profile.decode(data, SERVED.reference))
    return pl.concat(frames) if frames else pl.DataFrame(), total


# -- slots -----------------------------------------------------------------------------------------------------------


def test_rows_are_stored_with_id_position_time_revision_inputs_and_outputs() -> None:
    target = collector()
    target.collect([entry("a", T0 + 1.25, rows=2), entry("b", T0 + 2)])
    rows = read(target.due(T0 + 6))
    assert rows.select("request_id", "row").rows() == [("a", 0), ("a", 1), ("b", 0)]
    assert rows["arrived_at"].dt.epoch("us").to_list() == [int((T0 + 1.25) * 1e6)] * 2 + [int((T0 + 2) * 1e6)]
    assert rows["arrived_at"].dtype == pl.Datetime("us", "UTC")
    assert set(rows["revision"]) == {SERVED.digest}
    assert rows["input.night"].to_list() == [True, None, None]
    assert rows["input.carrier"].to_list() == ["AA"] * 3
    assert rows["output.label"].dtype == pl.String
    assert rows["output.probability"].is_between(0, 1).all()


def test_missing_numbers_are_null_not_nan() -> None:
    target, given = collector(), entry("a", T0)
    target.collect([replace(given, columns={**given.columns, "distance": np.array([np.nan])})])
    assert read(target.everything())["input.distance"].to_list() == [None]


def test_a_row_belongs_to_the_slot_of_its_arrival() -> None:
    target = collector()
    target.collect([entry("a", T0 + 4.999), entry("b", T0 + 5.0), entry("c", T0 - 0.001)])
    made = target.due(T0 + 20)
    assert [keys.slot_start(o.key).timestamp() for o in made] == [T0 - 5, T0 - 5, T0, T0, T0 + 5, T0 + 5]
    assert [p.rows for p in profiles(made)] == [1, 1, 1]
    assert all(o.key.startswith(("capture/", "profiles/")) and "-pod-1-" in o.key for o in made)


def test_a_slot_is_written_when_it_has_ended_and_late_requests_are_in() -> None:
    target = collector()
    target.collect([entry("a", T0)])
    assert target.next_end() == T0 + 5 + slots.LATE_SECONDS
    assert target.due(T0 + 5) == []
    assert len(target.due(T0 + 5.5)) == 2
    assert target.next_end() is None


def test_a_row_that_comes_after_its_slot_was_written_makes_another_object() -> None:
    target = collector()
    target.collect([entry("a", T0)])
    first = target.due(T0 + 6)
    target.collect([entry("late", T0 + 1)])
    second = target.due(T0 + 7)
    assert {keys.slot_start(o.key) for o in first} == {keys.slot_start(o.key) for o in second}
    assert not {o.key for o in first} & {o.key for o in second}


def test_a_clock_that_jumps_opens_a_bounded_number_of_slots() -> None:
    target = collector()
    target.collect([entry(f"r{i}", T0 + 5 * i) for i in range(slots.MAX_OPEN + 10)])
    assert len(profiles(target.due(T0))) == 10
    assert len(profiles(target.everything())) == slots.MAX_OPEN


def test_rows_of_one_slot_are_split_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "PART_BYTES", 10_000)
    target = collector()
    made = [o for i in range(10) for o in target.collect([entry(f"r{i}", T0, rows=100)])]
    assert len(made) > 2
    everything = made + target.everything()
    assert read(everything).height == 1000
    assert [p.rows for p in profiles(everything)] == [1000]


def test_refused_rows_and_unknown_columns_are_in_the_profile_only() -> None:
    target = collector()
    target.collect([Refused(T0, ("carrier",), (), 3, 1), Refused(T0, (), ("hour",), 2, 1), entry("a", T0, 4, ("new",))])
    made = target.everything()
    (profile,) = profiles(made)
    assert (profile.rows, profile.refused_rows) == (4, 5)
    assert (profile.refused_of("carrier"), profile.refused_of("hour")) == ((3, 0), (0, 2))
    assert profile.extra_rows == {"new": 4}
    assert read(made).height == 4


# -- sampling and limits -------------------------------------------------------------------------------------------------


def test_sampling_hashes_the_request_id_and_never_touches_the_profile() -> None:
    metrics = Metrics()
    target = collector(metrics, sample_rate=0.3)
    target.collect([entry(f"r{i}", T0, rows=2) for i in range(500)])
    made = target.everything()
    rows = read(made)
    wanted = {f"r{i}" for i in range(500) if is_sampled(f"r{i}", 0.3)}
    assert set(rows["request_id"]) == wanted
    assert 110 < len(wanted) < 190
    assert set(rows["sample_rate"]) == {0.3}
    assert profiles(made)[0].rows == 1000
    assert count(metrics, "rows", "sampled_out") == 1000 - rows.height


def test_nothing_is_stored_at_rate_zero_but_profiles() -> None:
    target = collector(sample_rate=0.0)
    target.collect([entry("a", T0)])
    assert [o.kind for o in target.everything()] == [Kind.PROFILE]


def test_rows_beyond_the_minutes_limit_are_counted_and_not_stored() -> None:
    metrics = Metrics()
    target = collector(metrics, max_rows_per_minute=5)
    minute = T0 // 60 * 60
    target.collect([entry("a", minute + 1, rows=3), entry("b", minute + 2, rows=4), entry("c", minute + 3)])
    target.collect([entry("d", minute + 60, rows=2)])
    made = target.everything()
    assert read(made).group_by("request_id").len().sort("request_id").rows() == [("a", 3), ("b", 2), ("d", 2)]
    assert sum(p.rows for p in profiles(made)) == 10
    assert count(metrics, "rows", "limited") == 3


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), min_size=1, max_size=20),
    st.lists(st.floats(0, 40), max_size=5),
)
def test_profiles_count_exactly_the_rows_that_are_captured(traffic: list[tuple[float, int]], looks: list[float]) -> None:
    target, made = collector(), []
    for i, (at, size) in enumerate(traffic):
        target.collect([entry(f"r{i}", T0 + at, size)])
        made += [o for look in looks[i : i + 1] for o in target.due(T0 + look)]
    made += target.everything()
    rows, counted = read(made), profiles(made)
    assert sum(p.rows for p in counted) == rows.height == sum(n for _, n in traffic)
    assert rows.select("request_id", "row").is_duplicated().sum() == 0
    carriers = sum(p.counts("features", "carrier") for p in counted)
    assert int(np.sum(carriers)) == rows.height
    assert len({o.key for o in made}) == len(made)


# -- the buffer -----------------------------------------------------------------------------------------------------------


def test_the_buffer_takes_no_more_than_its_limit() -> None:
    buffer = Buffer(250)
    assert [buffer.add(entry(f"r{i}", T0)) for i in range(4)] == [True, True, False, False]
    assert buffer.size == 200
    assert [e.request_id for e in buffer.take() if isinstance(e, Answered)] == ["r0", "r1"]
    assert buffer.add(entry("again", T0))


# -- the store fails ------------------------------------------------------------------------------------------------------


def item(name: str, kind: Kind = Kind.ROWS, size: int = 10, rows: int = 1) -> Object:
    return Object(kind, name, b"x" * size, rows)


def test_a_write_whose_answer_was_lost_is_not_written_twice() -> None:
    store, metrics = MemoryStore(), Metrics()
    queue = Uploads(store, metrics)
    lost = [True]

    def after(operation: str, _key: str) -> None:
        if operation == "create" and lost.pop():
            raise StoreUnavailable("timeout")

    store.after = after
    queue.add([item("k", rows=7)])
    assert not queue.attempt()
    lost.append(False)
    assert queue.attempt()
    assert list(store.objects) == ["k"]
    assert [key for operation, key in store.log if operation == "create"] == ["k", "k"]
    assert count(metrics, "rows", "written") == 7


def test_memory_is_bounded_and_rows_are_given_up_before_profiles(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    queue = Uploads(MemoryStore(), metrics, limit=100)
    queue.add([item("p1", Kind.PROFILE, 40, 100), item("r1", Kind.ROWS, 40, 5), item("r2", Kind.ROWS, 40, 6)])
    assert (count(metrics, "rows", "dropped"), count(metrics, "profile", "dropped")) == (5, 0)
    queue.add([item("p2", Kind.PROFILE, 50, 200)])
    assert (count(metrics, "rows", "dropped"), count(metrics, "profile", "dropped")) == (11, 0)
    queue.add([item("p3", Kind.PROFILE, 50, 300)])
    assert count(metrics, "profile", "dropped") == 100
    assert "capture lost 5 rows of r1" in caplog.text


def test_an_object_that_the_store_refuses_again_and_again_makes_room_for_the_next() -> None:
    store, metrics = MemoryStore(), Metrics()

    def refuse(_operation: str, key: str) -> None:
        if key == "bad":
            raise StoreDenied("no")

    store.before = refuse
    queue = Uploads(store, metrics)
    queue.add([item("bad", rows=3), item("good", rows=4)])
    tries = [queue.attempt() for _ in range(uploads.MAX_REFUSALS + 1)]
    assert tries == [False] * uploads.MAX_REFUSALS + [True]
    assert list(store.objects) == ["good"]
    assert (count(metrics, "rows", "failed"), count(metrics, "rows", "written")) == (3, 4)


def test_a_store_that_is_away_is_never_given_up_while_there_is_memory() -> None:
    store, metrics = MemoryStore(), Metrics()

    def away(_operation: str, _key: str) -> None:
        raise StoreUnavailable("refused")

    store.before = away
    queue = Uploads(store, metrics)
    queue.add([item("k")])
    assert not any(queue.attempt() for _ in range(50))
    store.before = lambda _operation, _key: None
    assert queue.attempt()
    assert count(metrics, "rows", "written") == 1


# -- the whole, with its threads -------------------------------------------------------------------------------------------


def recording(store: MemoryStore, metrics: Metrics, **options: Any) -> Recording:
    capture = published().fresh(flush_interval="5s").config.capture
    started = Recording(SERVED, capture, store, metrics, pod="pod-1", **options)
    started.start()
    return started


def send(target: Recording, name: str, count_: int, rows: int = 1) -> None:
    for i in range(count_):
        made = entry(f"{name}{i}", 0, rows)
        target.answered(made.request_id, time.time(), made.columns, made.outputs, (), 100)


def test_everything_is_written_at_the_end() -> None:
    store, metrics = MemoryStore(), Metrics()
    target = recording(store, metrics)
    senders = [threading.Thread(target=send, args=(target, f"t{n}-", 50, 2)) for n in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    target.refused(time.time(), ["carrier"], [], 9)
    assert target.close(10)
    rows, total = stored(store)
    assert (rows.height, total.rows, total.refused_rows) == (400, 400, 9)
    assert rows.select("request_id", "row").is_duplicated().sum() == 0
    assert (count(metrics, "rows", "written"), count(metrics, "profile", "written")) == (400, 409)
    assert all(operation == "create" for operation, _ in store.log)


def test_the_clocks_slots_are_written_while_it_runs() -> None:
    """Time is moved by hand; the threads are real."""
    now, store, metrics = [T0], MemoryStore(), Metrics()
    target = recording(store, metrics, clock=lambda: now[0])
    for i in range(3):
        made = entry(f"r{i}", 0)
        target.answered(made.request_id, T0 + i, made.columns, made.outputs, (), 100)
    now[0] = T0 + 6
    deadline = time.monotonic() + 10
    while not count(metrics, "profile", "written") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert {keys.slot_start(key).timestamp() for key in store.objects} == {T0}
    assert stored(store)[1].rows == 3
    assert target.close(10)
    assert len(store.objects) == 2, "what was written is not written again"


def test_rows_that_come_after_the_end_are_counted_as_lost() -> None:
    store, metrics = MemoryStore(), Metrics()
    target = recording(store, metrics)
    assert target.close(10)
    send(target, "late", 3)
    assert not target.close(1)
    assert count(metrics, "profile", "dropped") == 3


def test_two_processes_of_one_pod_name_do_not_collide() -> None:
    store = MemoryStore()
    for life in range(2):
        target = recording(store, Metrics())
        send(target, f"life{life}-", 3)
        assert target.close(10)
    assert stored(store)[0].height == 6


def test_a_dead_store_at_the_end_costs_a_counted_loss_and_no_long_wait(caplog: pytest.LogCaptureFixture) -> None:
    store, metrics = MemoryStore(), Metrics()

    def away(_operation: str, _key: str) -> None:
        raise StoreUnavailable("refused")

    store.before = away
    target = recording(store, metrics)
    send(target, "r", 10)
    began = time.monotonic()
    assert not target.close(1.0)
    assert time.monotonic() - began < 5
    assert store.objects == {}
    assert (count(metrics, "rows", "failed"), count(metrics, "profile", "failed")) == (10, 10)
    assert "capture lost 10 rows" in caplog.text


def test_a_full_buffer_drops_counts_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    store, metrics = MemoryStore(), Metrics()
    capture = published().fresh(flush_interval="5s").config.capture
    target = Recording(SERVED, capture, store, metrics, pod="pod-1", buffer_bytes=10_000)
    send(target, "r", 100)  # the thread has not started: nobody takes anything out
    target.start()
    assert target.close(10)
    rows, total = stored(store)
    assert 0 < rows.height < 100
    assert rows.height == total.rows
    assert count(metrics, "rows", "dropped") == count(metrics, "profile", "dropped") == 100 - rows.height
    assert f"capture dropped {100 - rows.height} rows" in caplog.text


def test_a_failure_inside_capture_is_counted_and_capture_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    store, metrics = MemoryStore(), Metrics()
    update, broken = Profile.update, [True]

    def fail_once(*arguments: Any) -> None:
        if broken:
            raise ValueError(f"a bug, seen {broken.pop()}")
        update(*arguments)

    monkeypatch.setattr(Profile, "update", fail_once)
    target = recording(store, metrics)
    send(target, "lost", 1)
    deadline = time.monotonic() + 5
    while broken and time.monotonic() < deadline:
        time.sleep(0.02)
    send(target, "r", 5)
    assert target.close(10)
    rows, total = stored(store)
    assert (rows.height, total.rows) == (6, 5)
    assert (count(metrics, "profile", "failed"), count(metrics, "profile", "written")) == (1, 5)
