"""Little traffic: windows that grow until they hold enough rows, settled once whatever comes late, dies or races."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, StoreUnavailable
from stationkeeper.workloads.drift.windows import MAX_BACK
from stationkeeper.workloads.jobs import check_drift
from stationkeeper.workloads.jobs.check_drift import check
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.checks.world import HOUR, MINUTE, NOON, REFERENCE, capture, prepared, reports, told
from tests.unit.workloads.drift import helpers

HUNDRED = {seed: helpers.profile(REFERENCE, 100, seed).encode() for seed in range(12)}
LATE = NOON + 12 * HOUR + 3 * MINUTE


def quiet(hours: int = 12, **policy: Any) -> Any:
    """A hundred rows an hour; half a thousand make a window."""
    store, config = prepared(**{"minSamples": 500, "maxWindow": "8h", **policy})
    for hour in range(hours):
        capture(store, config, NOON + hour * HOUR, HUNDRED[hour])
    return store, config


def spans(store: MemoryStore) -> list[str]:
    return [f"{(r.start - NOON) // HOUR}-{(r.end - NOON) // HOUR} {r.rows} {r.features}" for r in reports(store).values()]


def test_windows_grow_until_they_hold_enough_rows() -> None:
    store, config = quiet()
    assert told(store, config, LATE) == [("12:00", "Passed", 500), ("17:00", "Passed", 500), ("22:00", "InsufficientData", 0)]
    assert spans(store) == ["0-5 500 Passed", "5-10 500 Passed"]
    waiting = check(config, store, LATE).windows[-1]
    assert waiting.message == "200 rows so far: the window grows until it holds minSamples, up to maxWindow"
    assert waiting.end - waiting.start == 2 * HOUR


def test_without_max_window_nothing_is_taken_together() -> None:
    store, config = quiet(2, maxWindow=None)
    assert [verdict for _, verdict, _ in told(store, config, NOON + 2 * HOUR + 3 * MINUTE)] == ["InsufficientData"] * 2
    assert len(reports(store)) == 2
    assert not [key for key in store.objects if "/extents/" in key]


def test_a_window_that_has_grown_as_long_as_it_may_is_closed_with_what_it_has() -> None:
    store, config = quiet(9, maxWindow="3h")
    check(config, store, LATE)
    assert spans(store) == ["0-3 300 InsufficientData", "3-6 300 InsufficientData", "6-9 300 InsufficientData"]


def test_each_run_goes_on_where_the_last_ended_and_rows_are_read_once_a_run() -> None:
    whole, config = quiet()
    check(config, whole, LATE)
    store, _ = quiet()
    for hour in range(13):
        check(config, store, NOON + hour * HOUR + 3 * MINUTE)
    assert reports(store).keys() == reports(whole).keys()
    store.log.clear()
    check(config, store, LATE)
    read = [key for operation, key in store.log if operation == "get" and key.endswith(".profile")]
    assert len(read) == len(set(read)) == 2, "only what waits is counted again"


def test_files_that_come_late_make_no_second_report_of_the_same_rows() -> None:
    store, config = quiet()
    check(config, store, NOON + 5 * HOUR + 3 * MINUTE)
    assert spans(store) == ["0-5 500 Passed"]
    for hour in (0, 4, 5):
        capture(store, config, NOON + hour * HOUR, helpers.profile(REFERENCE, 450, 9).encode(), pod="late")
    check(config, store, LATE)
    assert spans(store) == ["0-5 500 Passed", "5-6 550 Passed", "6-11 500 Passed"]


def test_a_damaged_profile_costs_the_window_that_it_is_in_and_no_more() -> None:
    store, config = quiet()
    store.objects[keys.profile(config.revision.digest, NOON + HOUR, "pod-a", 0)] = b"SKDP"
    check(config, store, LATE)
    assert spans(store) == ["0-2 0 Error", "2-7 500 Passed", "7-12 500 Passed"]


def test_dying_between_any_two_steps_settles_the_same_windows() -> None:
    whole, config = quiet()
    start = dict(whole.objects)
    check(config, whole, LATE)
    expected = reports(whole).keys()
    for step in range(len(whole.log)):
        store = MemoryStore(start)
        left = iter(range(step))

        def die(_operation: str, _key: str, left: Any = left) -> None:
            if next(left, None) is None:
                raise StoreUnavailable("gone")

        store.after = die
        with contextlib.suppress(StoreUnavailable):
            check(config, store, LATE)
        store.after = lambda _operation, _key: None
        capture(store, config, NOON, helpers.profile(REFERENCE, 1, 9).encode(), pod="late")
        check(config, store, LATE)
        assert reports(store).keys() == expected


def test_of_two_runs_that_have_seen_different_files_the_first_decides() -> None:
    store, config = quiet()
    key = keys.extent(config.policy_uid, config.policy_digest, config.revision.digest, NOON)

    def race(operation: str, at: str) -> None:
        if operation == "create" and at == key:
            store.objects.setdefault(key, b"2013-04-01T14:00:00Z")

    store.before = race
    check(config, store, LATE)
    assert spans(store) == ["0-2 200 InsufficientData", "2-7 500 Passed", "7-12 500 Passed"]


@pytest.mark.parametrize("end", [b"\x00", b"2013-04-01T12:00:00Z", b"2013-04-01T14:00:00"], ids=["no time", "no end", "no zone"])
def test_an_end_that_nobody_wrote_is_named(end: bytes) -> None:
    store, config = quiet()
    key = keys.extent(config.policy_uid, config.policy_digest, config.revision.digest, NOON)
    store.put(key, end)
    with pytest.raises(MalformedArtifact, match=f"{key} says no time"):
        check(config, store, LATE)


def test_quality_is_judged_on_the_same_windows() -> None:
    spec = {"uri": "s3://labels/flights", "lag": "2h", "column": "late"}
    store, config = quiet(quality={"metric": "roc_auc", "min": 0.5})
    config = config.model_copy(update={"labels": type(config).model_validate(config.wire() | {"labels": spec}).labels})
    summary = check(config, store, NOON + 7 * HOUR + 3 * MINUTE, MemoryStore(name="s3://labels/flights"))
    assert [(f"{q.start:%H}-{q.end:%H}", q.verdict) for q in summary.quality] == [("12-17", "InsufficientData")]
    before = check(config, store, NOON + 7 * HOUR, MemoryStore(name="s3://labels/flights"))
    assert before.quality == []


def test_a_window_that_waits_is_still_looked_at_when_it_began_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    store, config = prepared(minSamples=500, maxWindow="32h")
    for hour in range(0, 2 * MAX_BACK, 2):
        capture(store, config, NOON + hour * HOUR, HUNDRED[hour % 12])
    monkeypatch.setattr(check_drift, "MAX_PER_RUN", 100)
    check(config, store, NOON + 2 * MAX_BACK * HOUR + 3 * MINUTE)
    assert spans(store)[0] == "0-9 500 Passed"


def test_the_last_window_of_a_revision_that_serves_no_more_is_closed_with_what_it_has() -> None:
    store, config = quiet(7)
    config = config.model_copy(update={"until": NOON + 6 * HOUR + 30 * MINUTE})
    check(config, store, NOON + 6 * HOUR + 3 * MINUTE)
    assert spans(store) == ["0-5 500 Passed"]
    check(config, store, LATE)
    assert spans(store) == ["0-5 500 Passed", "5-7 200 InsufficientData"]


@pytest.mark.parametrize("most", ["59m", "33h"])
def test_a_max_window_that_means_nothing_is_refused(most: str) -> None:
    with pytest.raises(ValueError, match="must be as long as 1h, the window, at least, and as 32 of them at most"):
        DriftPolicySpec.model_validate({"modelRef": {"name": "x"}, "window": "1h", "maxWindow": most})


def test_a_check_twice_an_hour_for_two_days_writes_as_many_reports_as_one_at_the_end() -> None:
    store, config = prepared(minSamples=300, maxWindow="12h")
    for hour in range(48):
        if hour % 24 < 10:
            capture(store, config, NOON + hour * HOUR, HUNDRED[hour % 12])
    for half in range(97):
        check(config, store, NOON + half * timedelta(minutes=30) + 3 * MINUTE)
    assert sum(report.rows for report in reports(store).values()) == 2000
    assert [s.split()[0] for s in spans(store)] == ["0-3", "3-6", "6-9", "9-21", "24-27", "27-30", "30-33", "33-45"]
