"""The job over a store in memory: windows, idempotence, late and damaged files, catching up, and a store that fails."""

import contextlib
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from stationkeeper.api.base import canonical_json, parse_duration, sha256
from stationkeeper.api.meta import EXIT_INVALID, EXIT_TRANSIENT
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import StoreUnavailable
from stationkeeper.workloads.checks.summary import MAX_BYTES
from stationkeeper.workloads.drift.windows import Window, closed
from stationkeeper.workloads.jobs import check_drift
from stationkeeper.workloads.jobs._run import failure
from stationkeeper.workloads.jobs.check_drift import MAX_PER_RUN, check
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.checks.world import HEALTHY, HOUR, NOON, REFERENCE, SHIFTED, capture, prepared, reports, told
from tests.unit.workloads.drift import helpers


def test_windows_are_judged_once_and_running_again_repeats_them() -> None:
    store, config = prepared()
    capture(store, config, NOON + timedelta(minutes=5))
    capture(store, config, NOON + timedelta(minutes=59), pod="pod-b")
    capture(store, config, NOON + HOUR, SHIFTED)
    now = NOON + 2 * HOUR + timedelta(minutes=3)
    first = check(config, store, now)
    assert [(w.start, w.features.value, w.rows) for w in first.windows] == [
        (NOON, "Passed", 1200),
        (NOON + HOUR, "Breached", 600),
    ]
    assert first.report is not None
    assert first.report.endswith("20130401T130000Z-20130401T140000Z.json")
    kept = dict(store.objects)
    again = check(config, store, now + timedelta(minutes=20))
    assert again.windows[-1] == first.windows[-1]
    assert again.windows[0].features == "Passed"
    assert store.objects == kept


def test_the_report_says_everything_and_reads_back() -> None:
    store, config = prepared()
    capture(store, config, NOON, SHIFTED)
    check(config, store, NOON + 2 * HOUR)
    (report,) = reports(store).values()
    assert (report.model, report.policy, report.revision, report.rows, report.reference_rows) == (
        "ml/flights",
        "watch",
        1,
        600,
        5_000,
    )
    assert report.message.startswith("2 of 4 features drifted (80% by importance): ")
    assert report.drifted_share == pytest.approx(0.8)  # temp and carrier, by importance
    assert {c.name for c in report.columns} == {"temp", "distance", "carrier", "holiday", "probability", "label"}


def test_a_window_is_judged_after_its_grace_and_a_file_within_grace_counts() -> None:
    store, config = prepared()
    capture(store, config, NOON)
    assert told(store, config, NOON + HOUR + timedelta(seconds=119)) == []
    capture(store, config, NOON + timedelta(minutes=30), pod="late")
    assert told(store, config, NOON + HOUR + timedelta(minutes=2)) == [("12:00", "Passed", 1200)]


def test_a_window_without_traffic_is_no_pass_and_stays_open_for_files_that_come_later() -> None:
    store, config = prepared()
    capture(store, config, NOON + HOUR)
    now = NOON + 2 * HOUR + timedelta(minutes=3)
    assert told(store, config, now) == [("12:00", "InsufficientData", 0), ("13:00", "Passed", 600)]
    assert len(reports(store)) == 1
    capture(store, config, NOON)
    assert told(store, config, now) == [("12:00", "Passed", 600), ("13:00", "Passed", 600)]


def test_a_judged_window_is_not_judged_again_when_a_file_comes_after_grace() -> None:
    store, config = prepared()
    capture(store, config, NOON)
    now = NOON + HOUR + timedelta(minutes=3)
    check(config, store, now)
    capture(store, config, NOON, SHIFTED, pod="too-late")
    assert told(store, config, now) == [("12:00", "Passed", 600)]


def test_clocks_that_are_wrong_count_no_row_twice_and_none_before_its_window_closes() -> None:
    store, config = prepared()
    for hour in range(4):
        capture(store, config, NOON + hour * HOUR + timedelta(minutes=30))
    ahead = capture(store, config, NOON + 2 * HOUR, pod="ahead")  # rows of noon, by a clock of two o'clock
    capture(store, config, NOON + timedelta(days=300), pod="of-next-year")
    behind = keys.profile(config.revision.digest, NOON + timedelta(minutes=59), "behind", 0)
    seen = []
    for hour in range(1, 5):
        closing = NOON + hour * HOUR + timedelta(minutes=2)
        if hour == 1:
            store.put(behind, HEALTHY)  # a minute behind, within the grace
        seen.append(check(config, store, closing).windows[-1].rows)
    assert ahead in store.objects
    assert seen == [1200, 600, 1200, 600]
    assert sum(report.rows for report in reports(store).values()) == 6 * 600
    assert told(store, config, NOON + HOUR)[-1:] == [], "a check whose clock went back judges nothing"


@pytest.mark.parametrize(("seconds", "told"), [(20, False), (40, True), (5400, True), (90_000, False)])
def test_a_clock_that_is_ahead_of_the_stores_is_told(seconds: int, told: bool) -> None:
    store, config = prepared()
    for minute, pod in ((0, "right"), (5, "ahead")):
        key = capture(store, config, NOON + timedelta(minutes=minute), pod=pod)
        store.modified[key] = NOON + timedelta(
            minutes=minute + (1 if pod == "right" else 0), seconds=-seconds if pod == "ahead" else 0
        )
    check(config, store, NOON + HOUR + timedelta(minutes=3))
    (report,) = reports(store).values()
    expected = [
        f"rows were up to {seconds} s ahead of the store's clock, by a pod's or by their event time: they count in later windows"
    ]
    assert report.notes == (expected if told else [])


def test_the_schedule_and_the_zone_of_a_clock_decide_nothing() -> None:
    """The night in which Berlin has two hours of two o'clock, checked by a clock of Berlin at odd moments, or once in UTC."""
    berlin, begin = ZoneInfo("Europe/Berlin"), datetime(2013, 10, 26, 22, tzinfo=UTC)
    stores = []
    for zone, minutes in ((berlin, range(0, 480, 13)), (UTC, [480])):
        store, config = prepared()
        config = config.model_copy(update={"since": begin.astimezone(zone)})
        for hour in range(8):
            capture(store, config, begin + hour * HOUR + timedelta(minutes=15))
        for minute in minutes:
            check(config, store, (begin + timedelta(minutes=minute + 5)).astimezone(zone))
        stores.append({key: (r.start, r.end, r.rows, r.verdict) for key, r in reports(store).items()})
    local, utc = stores
    assert len(utc) == 8
    assert {key: utc[key] for key in local} == local
    assert len(local) >= 7


def test_a_damaged_profile_is_an_error_of_its_window_only() -> None:
    store, config = prepared()
    bad = capture(store, config, NOON, HEALTHY[:-1])
    capture(store, config, NOON, HEALTHY, pod="good")
    capture(store, config, NOON + HOUR, b"\x80\x04pickle")
    capture(store, config, NOON + 2 * HOUR)
    store.put(f"{keys.profile_day(config.revision.digest, NOON)}README.txt", b"foreign")
    now = NOON + 3 * HOUR + timedelta(minutes=3)
    assert [v for _, v, _ in told(store, config, now)] == ["Error", "Error", "Passed"]
    message = next(iter(reports(store).values())).message
    assert message.startswith(f"1 of 2 profiles cannot be read: {store.uri(bad)}")
    assert "checksum" in message


def test_a_backlog_is_worked_off_oldest_first_without_a_storm() -> None:
    store, config = prepared()
    for hour in range(40):
        capture(store, config, NOON + hour * HOUR)
    now = NOON + 40 * HOUR + timedelta(minutes=3)
    sizes = []
    for _ in range(4):
        summary = check(config, store, now)
        sizes.append(len(reports(store)))
    assert sizes == [MAX_PER_RUN, 2 * MAX_PER_RUN, 32, 32]
    assert min(r.start for r in reports(store).values()) == NOON + 8 * HOUR  # older ones are let go
    assert [w.start for w in summary.windows] == [NOON + hour * HOUR for hour in range(30, 40)]


def test_silence_does_not_hold_up_later_windows() -> None:
    store, config = prepared()
    capture(store, config, NOON + 25 * HOUR)
    assert told(store, config, NOON + 26 * HOUR + timedelta(minutes=3))[-1] == ("13:00", "Passed", 600)


def test_the_summary_fits_whatever_the_messages() -> None:
    store, config = prepared()
    config = config.model_copy(update={"policy_spec": helpers.policy(features={"columns": [{"name": "\N{SNOWMAN}" * 120}]})})
    for hour in range(12):
        capture(store, config, NOON + hour * HOUR)
    summary = check(config, store, NOON + 12 * HOUR + timedelta(minutes=3))
    assert len(summary.encode()) <= MAX_BYTES
    assert summary.windows[-1].start == NOON + 11 * HOUR
    assert len(summary.windows) >= 5


def test_profiles_of_another_revision_are_not_looked_at() -> None:
    store, config = prepared()
    store.put(keys.profile("sha256:" + "b" * 64, NOON, "pod", 0), HEALTHY)
    assert told(store, config, NOON + HOUR + timedelta(minutes=3)) == [("12:00", "InsufficientData", 0)]


def test_dying_between_any_two_steps_loses_nothing() -> None:
    whole, config = prepared()
    for hour in range(3):
        capture(whole, config, NOON + hour * HOUR)
    start, now = dict(whole.objects), NOON + 3 * HOUR + timedelta(minutes=3)
    expected = check(config, whole, now)
    for hook in ("before", "after"):
        for step in range(len(whole.log)):
            store = MemoryStore(start)
            left = iter(range(step))

            def die(_operation: str, _key: str, left: Any = left) -> None:
                if next(left, None) is None:
                    raise StoreUnavailable("gone")

            setattr(store, hook, die)
            with contextlib.suppress(StoreUnavailable):
                check(config, store, now)
            setattr(store, hook, lambda _operation, _key: None)
            again = check(config, store, now)
            assert [(w.start, w.features) for w in again.windows] == [(w.start, w.features) for w in expected.windows]
            assert store.objects.keys() == whole.objects.keys()


def test_another_run_that_was_first_is_believed() -> None:
    store, config = prepared()
    capture(store, config, NOON)
    now = NOON + HOUR + timedelta(minutes=3)
    check(config, store, now)
    ((key, report),) = reports(store).items()
    rival = canonical_json(report.model_copy(update={"message": "rival"}).wire())
    del store.objects[key]

    def race(operation: str, at: str) -> None:
        if operation == "create" and at == key:
            store.objects.setdefault(key, rival)

    store.before = race
    assert check(config, store, now).windows[0].message == "rival"


def test_an_unreadable_report_is_an_error_that_says_what_to_do() -> None:
    store, config = prepared()
    capture(store, config, NOON)
    now = NOON + HOUR + timedelta(minutes=3)
    check(config, store, now)
    store.objects[next(iter(reports(store)))] = b"{"
    assert check(config, store, now).windows[0].message == "its report cannot be read; remove it to judge the window again"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("no reference", "ArtifactCorrupt"),
        ("blob gone", "ArtifactMissing"),
        ("blob changed", "ArtifactCorrupt"),
        ("window", "InvalidSpec"),
    ],
)
def test_a_revision_that_cannot_be_compared_with_ends_the_job(damage: str, reason: str) -> None:
    store, config = prepared(with_reference=damage != "no reference")
    blob = keys.blob(sha256(REFERENCE.encode()))
    if damage == "blob gone":
        del store.objects[blob]
    if damage == "blob changed":
        store.objects[blob] = REFERENCE.encode()[:-1] + b" "
    if damage == "window":
        config = config.model_copy(update={"policy_spec": helpers.policy().model_copy(update={"window": "0s"})})
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the reason is what counts
        check(config, store, NOON + 2 * HOUR)
    summary, code = failure(caught.value)
    assert (summary.reason, code) == (reason, EXIT_INVALID)


def test_the_process_reports_how_it_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    store, config = prepared()
    monkeypatch.setenv("STATIONKEEPER_TERMINATION_LOG", str(tmp_path / "end"))
    monkeypatch.setenv("STATIONKEEPER_CONFIG", config.model_dump_json(by_alias=True, exclude_none=True))
    monkeypatch.setattr(check_drift, "configure_logging", lambda: None)
    monkeypatch.setattr("stationkeeper.workloads.artifacts.s3.S3Store.open", lambda _storage: store)
    assert check_drift.main() == 0
    assert json.loads((tmp_path / "end").read_text())["kind"] == "DriftCheck"
    store.before = lambda _operation, _key: (_ for _ in ()).throw(StoreUnavailable("no answer"))
    assert check_drift.main() == EXIT_TRANSIENT
    assert json.loads((tmp_path / "end").read_text())["reason"] == "StorageUnreachable"


# ---- windows ----


@pytest.mark.parametrize("length", ["5m", "1h", "7h", "1d", "36h"])
@pytest.mark.parametrize("since", [datetime(2013, 3, 9, 23, 47, 11, tzinfo=UTC), datetime(2013, 11, 2, tzinfo=UTC)])
def test_windows_tile_time_over_midnight_and_daylight_saving(length: str, since: datetime) -> None:
    step = parse_duration(length)
    windows = closed(since, since + 10 * step, step, timedelta(minutes=2))
    assert since in windows[0]
    assert all(a.end == b.start for a, b in itertools.pairwise(windows))
    assert {w.end - w.start for w in windows} == {step}
    # The next run, whenever it starts, sees the same tiles.
    later = closed(since, since + 10 * step + timedelta(seconds=17), step, timedelta(minutes=2))
    assert set(windows) <= set(later)


def test_the_window_in_which_a_revision_began_to_serve_counts_and_the_one_before_does_not() -> None:
    on_time = closed(NOON, NOON + 3 * HOUR, HOUR, timedelta(0))
    within = closed(NOON + timedelta(minutes=59), NOON + 3 * HOUR, HOUR, timedelta(0))
    assert (on_time[0].start, within[0].start) == (NOON, NOON)


@pytest.mark.parametrize(
    ("until", "last"),
    [(NOON + HOUR, 12), (NOON + HOUR + timedelta(seconds=1), 13), (NOON + 9 * HOUR, 14)],
    ids=["at its end", "just after", "still to come"],
)
def test_the_window_in_which_a_revision_ceased_to_serve_is_its_last(until: datetime, last: int) -> None:
    windows = closed(NOON, NOON + 3 * HOUR, HOUR, timedelta(0), until=until)
    assert windows[-1].start.hour == last


def test_a_revision_is_judged_on_its_own_part_of_the_window_in_which_it_began() -> None:
    store, config = prepared()
    since = NOON + timedelta(minutes=40)
    config = config.model_copy(update={"since": since})
    capture(store, config, since)
    store.put(keys.profile("sha256:" + "b" * 64, NOON, "predecessor", 0), SHIFTED)
    assert told(store, config, NOON + HOUR + timedelta(minutes=3)) == [("12:00", "Passed", 600)]
    (report,) = reports(store).values()
    assert (report.start, report.end) == (NOON, NOON + HOUR)
    assert report.notes == ["revision 1 has served since 2013-04-01T12:40:00Z: the window holds what it answered"]


def test_what_a_revision_answered_as_a_canary_in_that_window_is_of_its_part() -> None:
    """Two revisions at once: each row counts for the one whose digest it carries, whoever had how much of the traffic."""
    store, config = prepared()
    config = config.model_copy(update={"since": NOON + timedelta(minutes=30)})
    capture(store, config, NOON + timedelta(minutes=10), pod="canary")
    capture(store, config, NOON + timedelta(minutes=30))
    capture(store, config, NOON - timedelta(minutes=1), SHIFTED, pod="canary")  # of a window that others served
    for minute in range(30):
        store.put(keys.profile("sha256:" + "b" * 64, NOON + timedelta(minutes=minute), "stable", 0), SHIFTED)
    assert told(store, config, NOON + HOUR + timedelta(minutes=3)) == [("12:00", "Passed", 1200)]


def test_a_clock_that_went_back_finds_nothing() -> None:
    assert closed(NOON, NOON - 5 * HOUR, HOUR, timedelta(0)) == []


def test_the_days_of_a_window_that_ends_at_midnight() -> None:
    day = datetime(2013, 4, 1, tzinfo=UTC)
    assert Window(day - HOUR, day).days() == [day - timedelta(days=1)]
    assert Window(day - HOUR, day + HOUR).days() == [day - timedelta(days=1), day]
