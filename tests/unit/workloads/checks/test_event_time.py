"""Windows by event time: what labels, estimates and reports make of it, and rows that came too late for their window."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from stationkeeper.api.model import Labels
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.captured import event_at, read_arrived
from stationkeeper.workloads.drift.baseline import naive
from stationkeeper.workloads.jobs.check_drift import check
from stationkeeper.workloads.quality.answers import blocks
from stationkeeper.workloads.quality.labels import join
from stationkeeper.workloads.quality.reading import SCHEMA, Found
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.checks.world import (
    HEALTHY,
    HOUR,
    MINUTE,
    NOON,
    REFERENCE,
    answered,
    capture,
    only_report,
    parquet,
    prepared,
    reports,
)
from tests.unit.workloads.drift import helpers

DAY = timedelta(days=1)
CLOSED = NOON + HOUR + 3 * MINUTE


def rows(*pairs: tuple[datetime, datetime | None]) -> pl.DataFrame:
    """Captured rows: when each arrived, and when it happened where that is known."""
    arrived, happened = zip(*pairs, strict=True)
    at = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(len(pairs))],
            "row": [0] * len(pairs),
            "arrived_at": pl.Series(arrived, dtype=at),
            "event_at": pl.Series(happened, dtype=at),
        }
    )


def labelled(*names: str) -> Found:
    return Found(
        pl.DataFrame(
            [{"request_id": name, "row": 0, "truth": "1", "seen": True, "written": NOON + HOUR, "times": 1} for name in names],
            schema=SCHEMA,
        )
    )


def test_a_label_matures_when_its_lag_has_passed_since_the_event() -> None:
    captured = rows((NOON, NOON - DAY), (NOON, None), (NOON, NOON - 2 * HOUR))
    config = Labels(uri="s3://labels/x", lag="3h")
    joined = join(captured, labelled("r0", "r1", "r2"), config, as_of=NOON + 2 * HOUR)
    assert joined.rows["request_id"].to_list() == ["r0", "r2"]
    assert joined.waiting == 1
    assert joined.counts.late == 1, "that of yesterday's row came a day after it; its lag ended before"


def test_blocks_of_time_and_references_go_by_the_event() -> None:
    spread = rows(*((NOON, NOON - (number % 40) * DAY) for number in range(400)))
    by_day = blocks(spread)
    assert len(set(by_day.tolist())) == 40
    assert by_day[0] == by_day[40] != by_day[1]
    assert naive(spread)[1] - naive(spread)[0] == -timedelta(days=1)
    mixed = rows((NOON, None), (NOON, NOON - DAY))
    assert mixed.select(event_at(mixed)).to_series().to_list() == [NOON, NOON - DAY]


def test_what_arrived_is_found_under_the_minutes_that_it_happened_in() -> None:
    """A shadow asks what was asked lately, whenever that happened."""
    store, digest = MemoryStore(), "sha256:" + "a" * 64
    for number, (arrived, happened) in enumerate(
        [
            (NOON + MINUTE, NOON - 2 * DAY),
            (NOON - HOUR, NOON - 2 * DAY),
            (NOON + 2 * MINUTE, NOON + 4 * MINUTE),
            (NOON + HOUR, NOON),
        ]
    ):
        key = keys.capture(digest, happened, "pod", number)
        store.put(key, parquet(rows((arrived, happened)).with_columns(request_id=pl.lit(f"q{number}"))))
        store.modified[key] = arrived + MINUTE
    found = read_arrived(store, digest, NOON, NOON + 3 * MINUTE, max_rows=100)
    assert found is not None
    assert found["request_id"].to_list() == ["q0", "q2"]
    read = [key for operation, key in store.log if operation == "get"]
    assert not any("-pod-1." in key for key in read), "what was written before is not read"


def test_a_report_says_how_many_rows_count_by_their_arrival_and_why() -> None:
    store, config = prepared()
    key = answered(store, config, NOON)
    frame = pl.read_parquet(store.objects[key])
    source = pl.Series("time_source", ["late"] * 5 + ["missing"] * 20 + ["event"] * (frame.height - 25))
    at = pl.when(source == "event").then(pl.col("arrived_at")).alias("event_at")
    store.put(key, parquet(frame.with_columns(source).with_columns(at)))
    check(config, store, CLOSED)
    assert (
        "25 of 600 captured rows count by their arrival, their event time being missing (20), late (5)"
        in only_report(store).notes
    )


def test_rows_without_an_event_time_need_no_note() -> None:
    store, config = prepared()
    answered(store, config, NOON)
    check(config, store, CLOSED)
    assert not any("event time" in note for note in only_report(store).notes)


def late(store: MemoryStore, number: int) -> list[str]:
    """What the report that begins so many hours after noon says of rows that came too late."""
    (found,) = (r for r in reports(store).values() if r.start == NOON + number * HOUR)
    return [note for note in found.notes if "came after" in note]


def test_rows_that_come_after_their_window_was_judged_are_told_once_by_the_next_report() -> None:
    store, config = prepared()
    clock = [NOON + HOUR]

    def stamp(operation: str, key: str) -> None:
        if operation in ("put", "create"):
            store.modified.setdefault(key, clock[0])

    store.after = stamp
    for hour in range(4):
        clock[0] = NOON + hour * HOUR + 30 * MINUTE
        capture(store, config, NOON + hour * HOUR + 29 * MINUTE)
        if hour in (1, 2):
            capture(store, config, NOON + 10 * MINUTE, pod=f"slow-{hour}")
        if hour == 2:
            capture(store, config, NOON + HOUR + 10 * MINUTE, helpers.profile(REFERENCE, 100, 3).encode(), pod="slow")
        clock[0] = CLOSED + hour * HOUR
        check(config, store, clock[0])
    several = "700 rows came after their window was judged (2 windows from 2013-04-01T12:00:00Z on)"
    assert [note.partition(" and are")[0] for hour in range(4) for note in late(store, hour)] == [
        "600 rows came after their window was judged (that of 2013-04-01T12:00:00Z)",
        several,
    ]
    assert (late(store, 0), len(late(store, 1)), len(late(store, 2)), late(store, 3)) == ([], 1, 1, [])


@pytest.mark.parametrize("damage", ["gone", "broken"])
def test_late_rows_that_cannot_be_read_hold_up_nothing(damage: str) -> None:
    store, config = prepared()
    capture(store, config, NOON)
    check(config, store, CLOSED)
    key = capture(store, config, NOON, HEALTHY[:40], pod="late")
    store.modified[key] = CLOSED
    capture(store, config, NOON + HOUR)

    def vanish(operation: str, name: str) -> None:
        if damage == "gone" and (operation, name) == ("get", key):
            store.objects.pop(key, None)

    store.before = vanish
    assert check(config, store, CLOSED + HOUR).windows[-1].features == "Passed"
    assert late(store, 1) == []
