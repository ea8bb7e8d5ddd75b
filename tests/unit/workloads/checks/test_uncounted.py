"""A revision that was made elsewhere and came without rows: its windows are compared with its own first rows, or not at all."""

import pytest

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.jobs.check_drift import check
from tests.unit.workloads.checks import world
from tests.unit.workloads.checks.world import HOUR, NOON, answered, only_report, reports, told

CLOSED = NOON + HOUR + 10 * world.MINUTE


@pytest.fixture
def elsewhere(monkeypatch):
    """A revision with a binding and without a reference; its pods count nothing."""
    monkeypatch.setattr(world, "capture", lambda *_args, **_more: "")

    def make(**policy):
        store, config = world.prepared(False, **policy)
        digest = config.revision.digest
        plain = world.manifest({}) | {"binding": {"named": True}}
        data = canonical_json(plain)
        del store.objects[keys.manifest(digest)]
        store.create(keys.manifest(sha256(data)), data)
        return store, config.model_copy(update={"revision": config.revision.model_copy(update={"digest": sha256(data)})})

    return make


def test_without_a_baseline_nothing_is_judged_and_the_message_says_what_to_do(elsewhere):
    store, config = elsewhere()
    answered(store, config, NOON)
    (window,) = check(config, store, CLOSED).windows
    assert (window.data, window.features, window.predictions) == ("InsufficientData",) * 3
    assert "baseline.firstRows" in window.message
    assert "evaluation set" in window.message
    assert reports(store) == {}


def test_windows_are_compared_with_the_first_rows_that_were_captured(elsewhere):
    store, config = elsewhere(baseline={"firstRows": 1000})
    for hour in range(3):
        answered(store, config, NOON + hour * HOUR, seed=hour, shift=2.0)
    answered(store, config, NOON + 3 * HOUR, seed=9)
    verdicts = [verdict for _, verdict, _ in told(store, config, CLOSED + 3 * HOUR)]
    assert verdicts == ["InsufficientData", "InsufficientData", "Passed", "Breached"]
    like, unlike = reports(store).values()
    assert (like.reference_rows, like.baseline) == (1200, "the traffic from 2013-04-01T12:00:00Z to 2013-04-01T14:00:00Z")
    assert "temp" in [c.name for c in unlike.columns if c.verdict == "Breached"]


def test_rows_are_compared_with_rows_too(elsewhere):
    named = {"window": {"start": "2013-04-01T12:00:00Z", "end": "2013-04-01T13:00:00Z"}}
    store, config = elsewhere(baseline=named, features={"multivariate": {"tests": ["DomainClassifier", "PCAReconstruction"]}})
    answered(store, config, NOON, rows=1500, shift=2.0)
    answered(store, config, NOON + HOUR, rows=1500, seed=2, shift=2.0)
    check(config, store, CLOSED + HOUR)
    report = only_report(store)
    assert [(m.test, m.verdict) for m in report.multivariate] == [("DomainClassifier", "Passed"), ("PCAReconstruction", "Passed")]
    assert report.verdict == "Passed"


def test_too_few_first_rows_judge_nothing(elsewhere):
    store, config = elsewhere(baseline={"firstRows": 5000})
    answered(store, config, NOON)
    (window,) = check(config, store, CLOSED).windows
    assert window.message == "the baseline holds 600 of the 5000 captured rows that it needs"


def test_damaged_rows_are_an_error(elsewhere):
    store, config = elsewhere(baseline={"firstRows": 500})
    answered(store, config, NOON)
    key = answered(store, config, NOON + HOUR, seed=2)
    store.put(key, b"PAR1")
    windows = check(config, store, CLOSED + HOUR).windows
    assert [window.features for window in windows] == ["InsufficientData", "Error"]
    store.put(keys.capture(config.revision.digest, NOON, "pod-a", 0), b"PAR1")
    assert check(config, store, CLOSED + HOUR).windows[0].message.startswith("the baseline: no captured rows")


def test_windows_of_little_traffic_grow_once_there_is_something_to_compare_with(elsewhere):
    store, config = elsewhere(baseline={"firstRows": 600}, minSamples=500, maxWindow="4h")
    answered(store, config, NOON, rows=600)
    for hour in (1, 2, 3):
        answered(store, config, NOON + hour * HOUR, rows=250, seed=hour)
    assert [verdict for _, verdict, _ in told(store, config, CLOSED + 3 * HOUR)][-1] == "InsufficientData"
    report = only_report(store)
    assert (report.rows, report.start, report.end) == (500, NOON + HOUR, NOON + 3 * HOUR)


def test_no_window_is_settled_while_nothing_can_be_counted(elsewhere):
    store, config = elsewhere(baseline={"firstRows": 5000}, minSamples=500, maxWindow="2h")
    for hour in range(4):
        answered(store, config, NOON + hour * HOUR, rows=250, seed=hour)
    windows = check(config, store, CLOSED + 3 * HOUR).windows
    assert {window.features for window in windows} == {"InsufficientData"}
    assert not any("/extents/" in key for key in store.objects)


def test_rows_that_came_too_late_are_told(elsewhere):
    store, config = elsewhere(baseline={"firstRows": 500})
    for hour in range(2):
        answered(store, config, NOON + hour * HOUR, rows=600, seed=hour)
    check(config, store, CLOSED + HOUR)
    late = answered(store, config, NOON + HOUR + 5 * world.MINUTE, rows=40, seed=7)
    store.modified[late] = CLOSED + HOUR
    answered(store, config, NOON + 2 * HOUR, rows=600, seed=2)
    check(config, store, CLOSED + 2 * HOUR)
    newest = max(world.reports(store).values(), key=lambda report: report.start)
    assert any(note.startswith("40 rows came after their window was judged") for note in newest.notes)


def test_a_clock_that_is_ahead_is_told(elsewhere):
    store, config = elsewhere(baseline={"firstRows": 500})
    answered(store, config, NOON, rows=600)
    key = answered(store, config, NOON + HOUR, rows=600, seed=2)
    store.modified[key] = NOON + HOUR - 2 * world.MINUTE
    check(config, store, CLOSED + HOUR)
    assert any("120 s ahead" in note for note in only_report(store).notes)
