"""The check of a model's windows beyond their counts: pages, captured rows, baselines, what the operator is told."""

from typing import Any

import polars as pl
import pytest

from stationkeeper.api.report import ColumnResult
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import StoreUnavailable
from stationkeeper.workloads.checks import records, window
from stationkeeper.workloads.checks.summary import MAX_BYTES, Told, summarise
from stationkeeper.workloads.jobs.check_drift import check
from tests.support.loaded import loaded
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.checks.world import (
    HOUR,
    MINUTE,
    NOON,
    SHIFTED,
    answered,
    capture,
    keep_sample,
    only_report,
    prepared,
    reports,
    told,
)

CLOSED = NOON + HOUR + 3 * MINUTE
TOGETHER = {"multivariate": {"tests": ["DomainClassifier", "PCAReconstruction"]}}


def pages(store: MemoryStore) -> dict[str, str]:
    return {key: data.decode() for key, data in store.objects.items() if key.endswith(".html")}


def test_a_check_without_quality_does_not_pay_for_training_libraries() -> None:
    """It runs every few minutes for every Model: they would more than double its memory and its start."""
    assert loaded("import stationkeeper.workloads.jobs.check_drift", ("sklearn", "scipy", "pandas", "skops", "onnxruntime")) == []


# ---- pages ----


def test_a_page_lies_beside_each_report_and_the_operator_is_told_of_both() -> None:
    store, config = prepared()
    capture(store, config, NOON, SHIFTED)
    summary = check(config, store, CLOSED)
    ((key, html),) = pages(store).items()
    assert summary.report == store.uri(key).removesuffix(".html") + ".json"
    assert summary.page == store.uri(key)
    assert "2 of 4 features drifted" in html


def test_a_run_that_died_before_the_page_is_made_good_without_judging_again() -> None:
    store, config = prepared()
    capture(store, config, NOON, SHIFTED)
    store.before = _dies_at("put", ".html")
    with pytest.raises(StoreUnavailable):
        check(config, store, CLOSED)
    assert (len(reports(store)), pages(store)) == (1, {})
    store.before = _dies_at("get", ".profile")
    check(config, store, CLOSED)
    assert len(pages(store)) == 1


def test_a_page_that_cannot_be_drawn_costs_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    store, config = prepared()
    capture(store, config, NOON, SHIFTED)
    monkeypatch.setattr(records, "page", lambda _report: 1 / 0)
    assert told(store, config, CLOSED) == [("12:00", "Breached", 600)]
    assert pages(store) == {}


def _dies_at(operation: str, ending: str) -> Any:
    def die(what: str, key: str) -> None:
        if what == operation and key.endswith(ending):
            raise StoreUnavailable("gone")

    return die


# ---- captured rows ----


def test_rows_show_what_counts_do_not() -> None:
    store, config = prepared()
    answered(store, config, NOON, distance=pl.Series([x + 0.5 for x in range(600)]))
    check(config, store, CLOSED)
    report = only_report(store)
    assert [(v.type, v.column, v.observed) for v in report.violations] == [
        ("data_type", "distance", "fractions in 600 of 600 rows, for example 0.5")
    ]
    assert (report.data, report.features, report.verdict) == ("Breached", "Passed", "Breached")
    assert report.message.startswith("broken data: distance fractions in 600 of 600 rows")
    assert report.action.startswith("The data is broken: automatic retraining is blocked")


def test_all_columns_together_and_segments_are_judged_on_the_kept_rows_of_the_training() -> None:
    store, config = prepared(features=TOGETHER, segments=[{"column": "carrier", "maxValues": 2}], minSamples=200)
    keep_sample(store, config)
    answered(store, config, NOON, rows=1500)
    answered(store, config, NOON + HOUR, rows=1500, shift=2.0)
    check(config, store, CLOSED + HOUR)
    healthy, moved = reports(store).values()
    assert [(m.test, m.verdict) for m in healthy.multivariate] == [
        ("DomainClassifier", "Passed"),
        ("PCAReconstruction", "Passed"),
    ]
    assert [(s.value, s.verdict) for s in healthy.segments] == [("AA", "Passed"), ("B6", "Passed"), ("(all other)", "Passed")]
    assert (healthy.features, healthy.notes) == ("Passed", [])
    assert (moved.multivariate[0].verdict, moved.multivariate[0].columns) == ("Breached", ["temp"])
    assert {s.verdict for s in moved.segments} == {"Breached"}
    assert "a classifier tells the window from the reference" in moved.message
    assert "drifted in carrier = AA (temp), carrier = B6 (temp), carrier = (all other) (temp)" in moved.message


@pytest.mark.parametrize(
    ("trouble", "note"),
    [
        ("no rows", "no rows were captured: only counts were judged"),
        ("foreign file", "captured rows were not looked at: no captured rows: s3://test/model/capture/"),
        ("no sample", "is not there: no rows of the training are kept to compare rows with"),
        ("foreign sample", "cannot be read"),
        ("a bug", "captured rows were not looked at: division by zero"),
    ],
)
def test_trouble_with_rows_is_a_note_and_what_counts_showed_stands(
    trouble: str, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, config = prepared(features=TOGETHER)
    keep_sample(store, config)
    key = answered(store, config, NOON, rows=1500, shift=2.0)
    if trouble == "no rows":
        del store.objects[key]
    if trouble == "foreign file":
        store.put(key, b"PAR1 and nothing else")
    if trouble == "no sample":
        del store.objects[keys.sample(config.revision.digest)]
    if trouble == "foreign sample":
        store.put(keys.sample(config.revision.digest), b"\x80\x04pickle")
    if trouble == "a bug":
        monkeypatch.setattr(window, "judge_rows", lambda *_arguments, **_more: 1 / 0)
    check(config, store, CLOSED)
    report = only_report(store)
    assert any(note in line for line in report.notes), report.notes
    assert {c.name for c in report.columns if c.verdict == "Breached"} == {"temp"}


def test_a_store_that_fails_is_tried_again_and_not_taken_for_missing_rows() -> None:
    store, config = prepared()
    answered(store, config, NOON)
    store.before = _dies_at("get", ".parquet")
    with pytest.raises(StoreUnavailable):
        check(config, store, CLOSED)
    assert reports(store) == {}


# ---- baselines ----


def test_windows_are_compared_with_the_first_rows_and_those_rows_with_nothing() -> None:
    store, config = prepared(baseline={"firstRows": 1000})
    for hour in range(3):
        answered(store, config, NOON + hour * HOUR, seed=hour, shift=2.0)
    answered(store, config, NOON + 3 * HOUR, seed=9)
    now = CLOSED + 3 * HOUR
    assert [verdict for _, verdict, _ in told(store, config, now)] == [
        "InsufficientData",
        "InsufficientData",
        "Passed",
        "Breached",
    ]
    like, unlike = reports(store).values()
    assert (like.reference_rows, like.baseline) == (1200, "the traffic from 2013-04-01T12:00:00Z to 2013-04-01T14:00:00Z")
    assert [c.name for c in unlike.columns if c.verdict == "Breached"] == ["temp"]


def test_a_named_window_of_traffic_gives_the_rows_to_compare_rows_with() -> None:
    named = {"window": {"start": "2013-04-01T12:00:00Z", "end": "2013-04-01T13:00:00Z"}}
    store, config = prepared(baseline=named, features=TOGETHER)
    answered(store, config, NOON, rows=1500, shift=2.0)
    answered(store, config, NOON + HOUR, rows=1500, seed=2, shift=2.0)
    check(config, store, CLOSED + HOUR)
    report = only_report(store)
    assert [(m.test, m.verdict) for m in report.multivariate] == [("DomainClassifier", "Passed"), ("PCAReconstruction", "Passed")]
    assert (report.verdict, report.notes) == ("Passed", [])


def test_a_baseline_that_is_not_there_yet_judges_nothing_and_stays_open() -> None:
    store, config = prepared(baseline={"firstRows": 5000})
    answered(store, config, NOON)
    (verdict,) = check(config, store, CLOSED).windows
    assert (verdict.features, verdict.message) == ("InsufficientData", "the baseline holds 600 of the 5000 rows that it needs")
    assert reports(store) == {}


def test_a_damaged_baseline_is_an_error_of_every_window() -> None:
    store, config = prepared(baseline={"firstRows": 500})
    capture(store, config, NOON, b"SKDP")
    capture(store, config, NOON + HOUR)
    windows = check(config, store, CLOSED + HOUR).windows
    assert [w.features for w in windows] == ["Error", "Error"]
    assert windows[0].message.startswith("the baseline: 1 of 1 profiles cannot be read")


# ---- what the operator is told ----


def test_the_columns_that_lie_furthest_away_are_told() -> None:
    store, config = prepared()
    capture(store, config, NOON, SHIFTED)
    summary = check(config, store, CLOSED)
    assert [c.name for c in summary.columns][:2] == ["temp", "carrier"]
    assert all(c.statistic > c.threshold for c in summary.columns[:2])
    assert summary.windows[-1].drifted_share == pytest.approx(0.8)


def test_what_does_not_fit_is_left_out_the_least_wanted_first() -> None:
    store, config = prepared()
    capture(store, config, NOON, SHIFTED)
    summary = check(config, store, CLOSED)
    long = [summary.columns[0].model_copy(update={"name": "\N{SNOWMAN}" * 128, "statistic": n / 7}) for n in range(10)]
    loud = Told(summary.windows[0].model_copy(update={"message": "\N{SNOWMAN}" * 256}))
    report = only_report(store).model_copy(update={"columns": [_named(c.name) for c in long]})
    crowded = summarise(config, [loud] * 9 + [Told(loud.verdict, report, "s3://test/r.json", "s3://test/" + "x" * 600)])
    assert len(crowded.encode()) <= MAX_BYTES
    assert (len(crowded.columns), len(crowded.windows)) == (0, 5)
    assert (crowded.report, crowded.page) == ("s3://test/r.json", None)  # an address that is too long is none


def _named(name: str) -> ColumnResult:
    return ColumnResult(
        name=name, group="features", test="PSI", statistic=2 / 7, threshold=1 / 7, calibrated=True, verdict="Breached"
    )
