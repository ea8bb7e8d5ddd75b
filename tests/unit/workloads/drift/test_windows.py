"""Which traffic belongs to a window: tiles of time, late and foreign files, clocks that are wrong, bounded memory."""

import io
import itertools
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from stationkeeper.api.base import parse_duration
from stationkeeper.workloads.artifacts import captured, keys
from stationkeeper.workloads.artifacts.captured import read_captured
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.drift.collect import Collector, UnreadableProfiles
from stationkeeper.workloads.drift.windows import MAX_BACK, Window, closed, gathered
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.drift import helpers

REFERENCE = helpers.reference(5_000)
DIGEST = "sha256:" + "d" * 64
NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NO_GRACE = timedelta(0)


def starts(windows: list[Window]) -> list[str]:
    return [f"{w.start:%d %H:%M}" for w in windows]


# ---- tiles of time ----


@pytest.mark.parametrize("length", ["5m", "1h", "7h", "1d", "36h"])
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("day", [(2013, 3, 10), (2013, 3, 31), (2013, 11, 3), (2013, 12, 31)])
def test_windows_tile_time_whatever_local_clocks_do(length: str, zone: str, day: tuple[int, int, int]) -> None:
    step, local = parse_duration(length), datetime(*day, 1, 30, 11, tzinfo=ZoneInfo(zone))
    windows = closed(local, local + 10 * step, step, 2 * MINUTE)
    assert {w.end - w.start for w in windows} == {step}
    assert all(a.end == b.start for a, b in itertools.pairwise(windows))
    # The same moments as another zone writes them give the same windows.
    assert windows == closed(local.astimezone(UTC), (local + 10 * step).astimezone(UTC), step, 2 * MINUTE)


def test_the_repeated_hour_of_autumn_is_two_windows() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2013, 10, 27, 2, 30, fold=fold, tzinfo=berlin) for fold in (0, 1))
    windows = closed(datetime(2013, 10, 27, tzinfo=UTC), datetime(2013, 10, 27, 4, tzinfo=UTC), HOUR, NO_GRACE)
    assert [[moment.astimezone(UTC) in w for w in windows].index(True) for moment in (first, second)] == [0, 1]


def test_each_moment_is_in_one_window() -> None:
    windows = closed(NOON, NOON + 5 * HOUR, HOUR, NO_GRACE)
    for moment in (NOON, NOON + HOUR - timedelta(microseconds=1), NOON + HOUR, NOON + 4 * HOUR + 59 * MINUTE):
        assert sum(moment in w for w in windows) == 1
    assert NOON + 5 * HOUR not in windows[-1]


def test_a_window_closes_when_its_grace_is_over() -> None:
    grace = 2 * MINUTE
    assert starts(closed(NOON, NOON + HOUR + grace - timedelta(seconds=1), HOUR, grace)) == []
    assert starts(closed(NOON, NOON + HOUR + grace, HOUR, grace)) == ["01 12:00"]


def test_a_check_that_missed_a_year_catches_up_with_the_newest_windows_only() -> None:
    windows = closed(NOON, NOON + timedelta(days=365), HOUR, NO_GRACE)
    assert len(windows) == MAX_BACK
    assert windows[-1].end == NOON + timedelta(days=365)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOON - 5 * HOUR, []),
        (NOON, []),
        (NOON + HOUR, ["01 12:00"]),
        (NOON + HOUR - timedelta(milliseconds=1), []),
    ],
    ids=["a clock that went back", "at the start", "on time", "a little early"],
)
def test_wrong_clocks_close_nothing_too_early(now: datetime, expected: list[str]) -> None:
    assert starts(closed(NOON, now, HOUR, NO_GRACE)) == expected


def test_a_length_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than nothing"):
        closed(NOON, NOON + HOUR, timedelta(0), NO_GRACE)


def test_the_days_of_a_window_are_those_of_utc() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    day = datetime(2013, 4, 1, tzinfo=UTC)
    assert Window(day - HOUR, day).days() == [day - timedelta(days=1)]
    assert Window(datetime(2013, 4, 1, 4, tzinfo=india), datetime(2013, 4, 1, 6, tzinfo=india)).days() == [
        day - timedelta(days=1),
        day,
    ]


# ---- little traffic ----


def tile(first: int, last: int | None = None) -> Window:
    """Hours `first` to `last` of the day, both inclusive."""
    return Window(NOON + first * HOUR, NOON + ((first if last is None else last) + 1) * HOUR)


GATHERINGS: list[tuple[str, list[int], list[Window], list[str]]] = [
    ("enough by itself", [9, 12], [], ["0-0 9 whole", "1-1 12 whole"]),
    ("until they hold enough", [3, 3, 3, 5], [], ["0-2 9 whole", "3-3 5 waits"]),
    ("silence begins nothing", [0, 0, 4, 4], [], ["0-0 0 waits", "1-1 0 waits", "2-3 8 whole"]),
    ("silence within counts as time", [4, 0, 4, 1], [], ["0-2 8 whole", "3-3 1 waits"]),
    ("no longer than it may be", [1, 1, 1, 1, 1, 9], [], ["0-3 4 whole", "4-5 10 whole"]),
    ("too few for too long is told once", [1, 0, 0, 0, 0, 2], [], ["0-3 1 whole", "4-4 0 waits", "5-5 2 waits"]),
    ("what is settled stays", [9, 9, 9, 9], [tile(0, 1)], ["0-1 0 whole", "2-2 9 whole", "3-3 9 whole"]),
    ("late rows before a settled window stay before it", [4, 4, 4, 4], [tile(1, 2)], ["0-0 4 waits", "1-2 0 whole", "3-3 4 waits"]),
    ("a settled window may begin before the tiles", [9, 9, 3], [tile(-2, 0)], ["-2-0 0 whole", "1-1 9 whole", "2-2 3 waits"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "counts", "settled", "expected"), GATHERINGS, ids=[row[0] for row in GATHERINGS])
def test_adjacent_windows_are_taken_together(name: str, counts: list[int], settled: list[Window], expected: list[str]) -> None:
    rows = {tile(i): count for i, count in enumerate(counts)}
    asked: list[Window] = []

    def count(of: Window) -> int:
        asked.append(of)
        return rows[of]

    found = list(gathered(rows, settled, count, 8, 4 * HOUR))
    shown = [
        f"{(s.window.start - NOON) // HOUR}-{(s.window.end - NOON) // HOUR - 1} {s.rows} {'whole' if s.whole else 'waits'}"
        for s in found
    ]
    assert shown == expected
    assert not any(of.start in window for of in asked for window in settled), "what is settled is not read again"


def test_growing_windows_settle_to_the_same_whenever_and_however_often_they_are_looked_at() -> None:
    counts = [(i * 7919) % 5 for i in range(60)]
    rows = {tile(i): count for i, count in enumerate(counts)}

    def course(looks: list[int]) -> list[Window]:
        settled: list[Window] = []
        for look in looks:
            found = gathered(list(rows)[:look], settled, rows.__getitem__, 8, 12 * HOUR)
            settled = [stretch.window for stretch in found if stretch.whole]
        return settled

    once = course([60])
    assert course(list(range(61))) == once
    assert course([7, 7, 31, 60]) == once
    assert all(a.end <= b.start for a, b in itertools.pairwise(once))


# ---- profiles of a window ----


def put(store: MemoryStore, minute: float, rows: int, pod: str = "a") -> str:
    key = keys.profile(DIGEST, NOON + timedelta(minutes=minute), pod, 0)
    store.put(key, helpers.profile(REFERENCE, rows).encode())
    return key


def collected(store: MemoryStore, start: datetime = NOON, length: timedelta = HOUR) -> int | None:
    profile = Collector(store, DIGEST, REFERENCE).collect(Window(start, start + length))
    return None if profile is None else profile.rows


def test_flush_intervals_belong_to_the_window_that_they_begin_in() -> None:
    store = MemoryStore()
    for minute, rows in ((-1, 1), (0, 10), (59, 100), (60, 1_000)):
        put(store, minute, rows)
    assert collected(store) == 110
    assert collected(store, NOON + HOUR) == 1_000
    assert collected(store, NOON + 2 * HOUR) is None


def test_a_window_over_midnight_has_the_files_of_both_days() -> None:
    store = MemoryStore()
    put(store, 11 * 60 + 59, 10)
    put(store, 12 * 60, 100)
    assert collected(store, NOON + 11.5 * HOUR) == 110


def test_files_that_come_late_are_seen_by_the_next_look() -> None:
    store = MemoryStore()
    put(store, 0, 10)
    assert collected(store) == 10
    put(store, 0, 100, pod="late")
    assert collected(store) == 110


def test_a_pod_whose_clock_is_ahead_counts_when_its_window_closes() -> None:
    store = MemoryStore()
    put(store, 0, 10)
    put(store, 90, 100, pod="ahead")
    windows = closed(NOON, NOON + HOUR, HOUR, NO_GRACE)
    assert [collected(store, w.start) for w in windows] == [10]
    windows = closed(NOON, NOON + 2 * HOUR, HOUR, NO_GRACE)
    assert [collected(store, w.start) for w in windows] == [10, 100]


def test_foreign_names_are_passed_over_and_damaged_profiles_are_named() -> None:
    store = MemoryStore()
    put(store, 0, 10)
    store.put(keys.profile_day(DIGEST, NOON) + "README.txt", b"hello")
    assert collected(store) == 10
    damaged = [put(store, minute, 10) for minute in range(1, 6)]
    for key in damaged:
        store.objects[key] = b"not a profile"
    with pytest.raises(UnreadableProfiles) as caught:
        collected(store)
    assert str(caught.value).startswith(f"5 of 6 profiles cannot be read: {store.uri(damaged[0])}")
    assert "and 2 more" in str(caught.value)


def test_a_profile_of_another_reference_is_no_evidence() -> None:
    store = MemoryStore()
    other = helpers.profile(helpers.reference(5_000, 1), 10).encode()
    store.put(keys.profile(DIGEST, NOON, "a", 0), other)
    with pytest.raises(UnreadableProfiles, match="another revision"):
        collected(store)


def test_the_first_flush_intervals_that_hold_enough() -> None:
    store = MemoryStore()
    for minute, rows, pod in ((0, 10, "a"), (5, 100, "a"), (5, 5, "b"), (7, 1_000, "a")):
        put(store, minute, rows, pod)
    window = Window(NOON, NOON + HOUR)
    found = {n: Collector(store, DIGEST, REFERENCE).first(window, n) for n in (1, 11, 116, 9_999)}
    assert {n: (profile.rows, end) for n, (profile, end) in found.items()} == {
        1: (10, NOON + 5 * MINUTE),
        11: (115, NOON + 7 * MINUTE),
        116: (1_115, NOON + HOUR),
        9_999: (1_115, NOON + HOUR),
    }


# ---- rows of a window ----


def rows(ids: list[str], temp: Any = 1.0, **more: Any) -> bytes:
    frame = pl.DataFrame(
        {"request_id": ids, "row": [0] * len(ids), "arrived_at": [NOON] * len(ids), "input.temp": [temp] * len(ids), **more}
    )
    target = io.BytesIO()
    frame.write_parquet(target)
    return target.getvalue()


def capture(store: MemoryStore, minute: float, data: bytes, pod: str = "a") -> str:
    key = keys.capture(DIGEST, NOON + timedelta(minutes=minute), pod, 0)
    store.put(key, data)
    return key


def read(store: MemoryStore, max_rows: int = 100) -> pl.DataFrame | None:
    return read_captured(store, DIGEST, NOON, NOON + HOUR, max_rows=max_rows)


def ids(found: pl.DataFrame | None) -> list[str]:
    assert found is not None
    return sorted(found["request_id"].to_list())


def test_rows_belong_to_the_window_that_their_flush_began_in() -> None:
    store = MemoryStore()
    assert read(store) is None
    for minute, name in ((-1, "before"), (0, "first"), (59, "last"), (60, "after")):
        capture(store, minute, rows([name]))
    assert ids(read(store)) == ["first", "last"]


def test_of_many_rows_every_reader_keeps_the_same_however_they_were_filed() -> None:
    names = [f"r{i}" for i in range(500)]
    one, many = MemoryStore(), MemoryStore()
    capture(one, 0, rows(names))
    for minute in range(50):
        capture(many, minute, rows(names[minute::50]))
    assert len(ids(read(one))) == 100
    assert ids(read(one)) == ids(read(many))


def test_files_are_put_together_once_and_not_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[int] = []
    join = captured.pl.concat

    def watched(frames: list[pl.DataFrame], **how: Any) -> pl.DataFrame:
        joined.append(sum(frame.height for frame in frames))
        return join(frames, **how)

    monkeypatch.setattr(captured.pl, "concat", watched)
    store = MemoryStore()
    for minute in range(60):
        capture(store, minute, rows([f"{minute}"]))
    assert len(ids(read(store))) == 60
    assert sorted(joined) == [0, 60]


def test_memory_is_bounded_by_rows_and_not_by_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[int] = []
    keep = captured._smallest

    def watched(frame: pl.DataFrame, max_rows: int) -> pl.DataFrame:
        heights.append(frame.height)
        return keep(frame, max_rows)

    monkeypatch.setattr(captured, "_smallest", watched)
    store = MemoryStore()
    for minute in range(60):
        capture(store, minute, rows([f"{minute}-{i}" for i in range(50)]))
    assert len(ids(read(store))) == 100
    assert max(heights) <= 2 * 100 + 50


def test_a_column_that_changes_type_mid_window_comes_as_text() -> None:
    store = MemoryStore()
    capture(store, 0, rows(["a"], 1.5))
    capture(store, 1, rows(["b"], "n/a"))
    found = read(store)
    assert found is not None
    assert found.sort("request_id")["input.temp"].to_list() == ["1.5", "n/a"]


def test_a_column_that_appears_mid_window_is_missing_before() -> None:
    store = MemoryStore()
    capture(store, 0, rows(["a"]))
    capture(store, 1, rows(["b"], **{"input.wind": [3.0]}))
    found = read(store)
    assert found is not None
    assert found.sort("request_id")["input.wind"].to_list() == [None, 3.0]


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"PAR1", "parquet"), (b"", ""), (rows(["a"])[:-9], ""), ("foreign", "it has no column request_id")],
    ids=["no Parquet", "empty", "cut", "foreign Parquet"],
)
def test_files_that_are_no_captured_rows_are_named(data: Any, says: str) -> None:
    if data == "foreign":
        target = io.BytesIO()
        pl.DataFrame({"x": [1]}).write_parquet(target)
        data = target.getvalue()
    store = MemoryStore()
    capture(store, 0, rows(["a"]))
    key = capture(store, 1, data)
    with pytest.raises(MalformedArtifact) as caught:
        read(store)
    assert store.uri(key) in str(caught.value)
    assert says in str(caught.value)
    assert str(caught.value).endswith("restore or remove them")


def test_a_file_that_retention_swept_meanwhile_is_no_error() -> None:
    store = MemoryStore()
    capture(store, 0, rows(["a"]))
    gone = capture(store, 1, rows(["b"]))

    def sweep(operation: str, key: str) -> None:
        if (operation, key) == ("get", gone):
            raise NotFound("gone")

    store.before = sweep
    assert ids(read(store)) == ["a"]


def test_foreign_names_among_captured_rows_are_passed_over() -> None:
    store = MemoryStore()
    capture(store, 0, rows(["a"]))
    store.put(keys.capture_day(DIGEST, NOON) + "README.txt", b"hello")
    assert ids(read(store)) == ["a"]
