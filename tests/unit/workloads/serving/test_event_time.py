"""`capture.eventTime`: the column is taken out of the request, and rows are kept under the minute that they happened in."""

import asyncio
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.captured import event_at, list_captured, read_captured
from stationkeeper.workloads.artifacts.outputs import watched
from stationkeeper.workloads.drift.collect import Collector as Profiles
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.serving import slots
from stationkeeper.workloads.serving.app import App
from stationkeeper.workloads.serving.buffer import Answered, Entry, Refused
from stationkeeper.workloads.serving.capture import Recording
from stationkeeper.workloads.serving.loading import load
from stationkeeper.workloads.serving.metrics import Kind, Metrics
from stationkeeper.workloads.serving.moments import Told
from stationkeeper.workloads.serving.protocol import Contract, SchemaError, parse
from stationkeeper.workloads.serving.slots import Collector, Names, Object
from stationkeeper.workloads.serving.state import State
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.serving.asgi import call
from tests.unit.workloads.serving.published import inputs, published
from tests.unit.workloads.serving.test_capture import SERVED, answered, profiles, read

MIDNIGHT = datetime(2026, 11, 27, tzinfo=UTC)
T0 = MIDNIGHT.timestamp() + 600  # ten minutes into a day
COLUMN = "departed_at"


def entry(name: str, arrived: float, times: Sequence[float | None] | None, *extra: str) -> Answered:
    """A request whose rows happened then (seconds)."""
    rows = 1 if times is None else len(times)
    columns, outputs = answered(rows)
    return Answered(name, arrived, columns, outputs, extra, rows, 100, None if times is None else Told("FP64", list(times)))


def collector(metrics: Metrics | None = None, **policy: Any) -> Collector:
    capture = published().fresh(**({"flush_interval": "5s", "event_time": COLUMN} | policy)).config.capture
    return Collector(SERVED, capture, Names(SERVED.digest, "pod-1", 3), metrics or Metrics())


def starts(made: Sequence[Object], kind: Kind) -> list[datetime]:
    return [keys.slot_start(o.key) for o in made if o.kind is kind]


def sources(metrics: Metrics) -> dict[str, float]:
    name = "stationkeeper_capture_event_times_total"
    found = {s.labels["source"]: s.value for m in metrics.registry.collect() for s in m.samples if s.name == name}
    return {source: value for source, value in found.items() if value}


def kept(made: Sequence[Object]) -> MemoryStore:
    store = MemoryStore()
    for item in made:
        assert store.create(item.key, item.data), "every object has a name of its own"
    return store


# -- the request ---------------------------------------------------------------------------------------------------------


def tensor(values: Sequence[Any], datatype: str = "BYTES", name: str = COLUMN) -> dict[str, Any]:
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": list(values)}


def parsed(tensors: list[dict[str, Any]], event_time: str | None = COLUMN, features: list[Column] | None = None) -> Any:
    manifest = SERVED.manifest.model_copy(update={"features": features}) if features else SERVED.manifest
    return parse(json.dumps({"inputs": tensors}).encode(), Contract.of(manifest, probabilities=True, event_time=event_time))


def test_the_column_is_taken_out_of_the_request_and_is_no_extra_column() -> None:
    found = parsed([*inputs(), tensor(["2026-11-27T00:10Z"]), tensor([1.0], "FP64", "other")])
    assert found.told == Told("BYTES", ["2026-11-27T00:10Z"])
    assert set(found.columns) == {"distance", "hour", "carrier", "night"}
    assert found.extra == ("other",)


def test_without_event_time_the_same_column_is_unknown() -> None:
    found = parsed([*inputs(), tensor(["2026-11-27T00:10Z"])], event_time=None)
    assert (found.told, found.extra) == (None, (COLUMN,))


def test_a_request_need_not_have_it() -> None:
    found = parsed(inputs())
    assert (found.told, found.extra) == (None, ())


def test_a_feature_can_be_the_time_and_stays_a_feature() -> None:
    found = parsed(inputs(), event_time="hour")
    assert found.told == Told("INT64", [17])
    assert found.columns["hour"].tolist() == [17.0]


def test_it_may_come_beside_a_matrix() -> None:
    numbers = [Column(name=name, kind=ColumnKind.NUMERIC) for name in ("a", "b")]
    matrix = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}
    found = parsed([matrix, tensor([5, 6], "INT64")], features=numbers)
    assert found.columns["b"].tolist() == [2.0, 4.0]
    assert found.told == Told("INT64", [5, 6])


def test_a_table_under_its_name_is_no_column_of_times() -> None:
    wide = {"name": COLUMN, "shape": [1, 2], "datatype": "INT64", "data": [1, 2]}
    found = parsed([*inputs(), wide])
    assert (found.told, found.extra) == (None, ())


def test_a_refused_request_says_when_its_rows_happened() -> None:
    with pytest.raises(SchemaError, match="carrier") as refusal:
        parsed([*inputs(carrier=None), tensor([7], "INT64")])
    assert refusal.value.told == Told("INT64", [7])
    with pytest.raises(SchemaError, match="no tensor for") as refusal:
        parsed([tensor([7, 8], "INT64")])
    assert refusal.value.rows == 2


def test_over_http_the_answer_is_the_same_and_the_row_is_kept_under_its_minute() -> None:
    revision = published().fresh(flush_interval="5s", event_time=COLUMN)
    served, metrics, now = load(revision.config, lambda: revision.store), Metrics(), MIDNIGHT.timestamp() + 30
    recording = Recording(served, revision.config.capture, revision.store, metrics, pod="p", clock=lambda: now)
    recording.start()
    app = App("flights", 7, revision.digest, State(served=served, recorder=recording), metrics, wall=lambda: now)

    def ask(*more: dict[str, Any]) -> Any:
        document = {"id": "r1", "inputs": [*inputs(), *more]}
        return asyncio.run(call(app, "POST", "/v2/models/flights/infer", json.dumps(document).encode()))

    plain, timed = ask(), ask(tensor(["2026-11-27T00:58:59+01:00"]))
    assert timed.status == 200
    assert timed.body == plain.body
    assert ask(tensor([[]])).status == 400, "what the protocol forbids stays forbidden"
    assert recording.close(10)
    rows = read_captured(revision.store, revision.digest, MIDNIGHT - timedelta(hours=1), MIDNIGHT, max_rows=10)
    assert rows is not None
    assert rows["event_at"].to_list() == [datetime(2026, 11, 26, 23, 58, 59, tzinfo=UTC)]
    assert sources(metrics) == {"event": 1, "missing": 1}


# -- one flush, several minutes ----------------------------------------------------------------------------------------


def test_rows_of_one_flush_are_written_under_the_minutes_that_they_happened_in() -> None:
    target = collector()
    target.collect([entry("a", T0 + 1, [T0 - 3600, T0 + 0.5, T0 - 3590]), entry("b", T0 + 2, [MIDNIGHT.timestamp() - 0.001])])
    assert target.due(T0 + 5) == [], "nothing is written before the slot of the arrival ends"
    made = target.due(T0 + 5.5)
    wanted = [MIDNIGHT - timedelta(minutes=50), MIDNIGHT - timedelta(minutes=1), MIDNIGHT + timedelta(minutes=10)]
    assert starts(made, Kind.ROWS) == starts(made, Kind.PROFILE) == wanted
    assert [p.rows for p in profiles(made)] == [2, 1, 1]
    assert [o.key.split("/")[2] for o in made if o.kind is Kind.ROWS] == ["2026-11-26", "2026-11-26", "2026-11-27"]
    rows = read(made).sort("request_id", "row")
    assert rows["event_at"].dt.epoch("ms").to_list() == [int(s * 1e3) for s in (T0 - 3600, T0 + 0.5, T0 - 3590)] + [
        int(MIDNIGHT.timestamp() * 1e3) - 1
    ]
    assert rows["arrived_at"].dt.epoch("s").unique().sort().to_list() == [T0 + 1, T0 + 2]


def test_rows_without_a_time_count_by_their_arrival_and_say_why() -> None:
    metrics = Metrics()
    target = collector(metrics)
    target.collect([entry("a", T0 + 1, [None, T0 - 90 * 86_400, T0 + 3600, T0 - 60]), entry("b", T0 + 2, None)])
    rows = read(target.everything()).sort("request_id", "row")
    assert rows["time_source"].to_list() == ["missing", "late", "early", "event", "missing"]
    assert rows["event_at"].null_count() == 4
    assert rows.select(event_at(rows).dt.epoch("s"))["event_at"].to_list() == [T0 + 1] * 3 + [T0 - 60, T0 + 2]
    assert sources(metrics) == {"event": 1, "missing": 2, "late": 1, "early": 1}


def test_refused_rows_and_unknown_columns_go_to_their_minutes_too() -> None:
    target = collector()
    refused: Entry = Refused(T0, ("carrier",), (), 3, 1, Told("FP64", [T0 - 60, T0 - 60, T0]))
    target.collect([refused, entry("a", T0, [T0 - 60, T0, T0], "new"), entry("b", T0, [T0 - 60])])
    before, now = profiles(target.everything())
    assert ((before.rows, before.refused_rows), (now.rows, now.refused_rows)) == ((2, 2), (2, 1))
    assert (before.extra_rows, now.extra_rows) == ({"new": 1}, {"new": 2})
    assert before.refused_of("carrier") == (2, 0)


def test_a_flush_holds_a_bounded_number_of_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "MINUTES_BYTES", 0)
    metrics = Metrics()
    target = collector(metrics)
    most = slots.MIN_MINUTES
    twice = [T0 - 60 * i for i in range(most - 10)] * 2
    target.collect([entry("a", T0, [*(T0 - 60 * i for i in range(most - 10, most + 20)), *twice])])
    target.collect([entry("b", T0, [T0 - 60 * 500, T0])])
    made = target.everything()
    assert len(starts(made, Kind.PROFILE)) == len(set(starts(made, Kind.PROFILE))) == most
    assert sum(p.rows for p in profiles(made)) == 30 + len(twice) + 2
    assert sources(metrics) == {"event": 10 + len(twice) + 1, "scattered": 21}
    assert read(made).filter(pl.col("time_source") == "scattered")["arrived_at"].dt.epoch("s").unique().to_list() == [T0]


def test_a_model_without_a_reference_keeps_rows_by_their_minutes() -> None:
    target = collector()
    target._blank = None
    target.collect([entry("a", T0, [T0 - 60, T0]), Refused(T0, (), (), 1, 1, Told("FP64", [T0]))])
    made = target.everything()
    assert {o.kind for o in made} == {Kind.ROWS}
    assert len(made) == 2


def test_too_many_rows_of_one_flush_are_written_early_under_their_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "PART_BYTES", 10_000)
    target = collector()
    made = [o for i in range(10) for o in target.collect([entry(f"r{i}", T0, [T0 - 60, T0] * 50)])]
    assert len(made) > 2
    everything = made + target.everything()
    assert read(everything).height == 1000
    assert [p.rows for p in profiles(everything)] == [500, 500]
    kept(everything)


# -- whatever comes -----------------------------------------------------------------------------------------------------

# Around midnight, out of order, from late to early; None is a client that says nothing.
times = st.one_of(st.none(), st.integers(-4 * 86_400, 1200).map(lambda s: s + 0.25), st.integers(-900, -500).map(float))
traffic = st.lists(st.tuples(st.integers(0, 20), st.lists(times, min_size=1, max_size=6)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(traffic, st.lists(st.integers(0, 30), max_size=4))
def test_every_row_is_counted_and_kept_once_in_its_own_window(
    requests: list[tuple[int, list[float | None]]], looks: list[int]
) -> None:
    """However requests are spread over flushes: a window holds the rows that happened in it, in counts and rows alike."""
    target, made = collector(), []
    for i, (after, offsets) in enumerate(requests):
        told = [None if offset is None else T0 + offset for offset in offsets]
        made += target.collect([entry(f"r{i}", T0 + after, told)])
        made += [o for look in looks[i : i + 1] for o in target.due(T0 + look)]
    made += target.everything()
    store, rows = kept(made), read(made)
    assert rows.select("request_id", "row").is_duplicated().sum() == 0
    assert rows.height == sum(len(offsets) for _, offsets in requests)
    windows = rows.with_columns(event_at(rows).dt.truncate("15m").alias("window")).group_by("window").len().sort("window")
    counted = Profiles(store, SERVED.digest, SERVED.reference)  # type: ignore[arg-type]
    for start, count in windows.rows():
        window = Window(start, start + timedelta(minutes=15))
        profile = counted.collect(window)
        captured = read_captured(store, SERVED.digest, window.start, window.end, max_rows=1000)
        assert profile is not None
        assert captured is not None
        assert profile.rows == captured.height == count
        assert all(at in window for at in captured.select(event_at(captured)).to_series().to_list())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(2, 40))
def test_profiles_by_event_time_merge_to_those_of_the_rows_in_the_order_of_time(random: Any, rows: int) -> None:
    """Out-of-order rows in any batches give, minute by minute, what the same rows give that are sorted and counted at once."""
    rng = np.random.default_rng(random.randint(0, 2**32))
    at = T0 - rng.integers(0, 300, rows).astype(np.float64)
    columns = {
        "distance": rng.gamma(2, 400, rows),
        "hour": rng.integers(0, 24, rows).astype(np.float64),
        "carrier": rng.choice(np.array(["AA", "UA", "XX", None], dtype=object), rows),
        "night": rng.choice(np.array(["true", "false"], dtype=object), rows),
    }
    outputs = watched(SERVED.manifest, SERVED.predictor.predict(columns))
    cuts = sorted({0, rows, *rng.integers(0, rows, 3).tolist()})
    target = collector()
    for a, b in pairwise(cuts):
        part, given_ = ({n: v[a:b] for n, v in c.items()} for c in (columns, outputs))
        target.collect([Answered(f"r{a}", T0 + a % 7, part, given_, (), b - a, 1, Told("FP64", at[a:b].tolist()))])
    made = target.everything()
    order = np.argsort(at, kind="stable")
    for minute in np.unique(at[order] // 60 * 60):
        chosen = order[at[order] // 60 * 60 == minute]
        wanted = Profile.empty(SERVED.reference)  # type: ignore[arg-type]
        wanted.update({n: v[chosen] for n, v in columns.items()}, {n: v[chosen] for n, v in outputs.items()})
        found = Profile.empty(SERVED.reference)  # type: ignore[arg-type]
        for item in made:
            if item.kind is Kind.PROFILE and keys.slot_start(item.key).timestamp() == minute:
                found = found.merge(Profile.decode(item.data, SERVED.reference))  # type: ignore[arg-type]
        assert found.encode() == wanted.encode()


def test_without_event_time_files_are_what_they_were() -> None:
    target = collector(event_time=None)
    target.collect([entry("a", T0 + 6, [T0 - 3600])])
    made = target.everything()
    assert starts(made, Kind.ROWS) == [datetime.fromtimestamp(T0 + 5, UTC)]
    (data,) = (o.data for o in made if o.kind is Kind.ROWS)
    assert not {"event_at", "time_source"} & set(pl.read_parquet_schema(io.BytesIO(data)))


def test_the_minutes_of_all_days_are_listed_in_their_order() -> None:
    target = collector()
    target.collect([entry("a", T0, [T0 - 2 * 86_400, T0 - 60, T0 - 86_400])])
    store = kept(target.everything())
    listed = [begins for begins, _ in list_captured(store, SERVED.digest, None, MIDNIGHT + timedelta(days=1))]
    assert listed == sorted(listed)
    assert [begins.day for begins in listed] == [25, 26, 27]
