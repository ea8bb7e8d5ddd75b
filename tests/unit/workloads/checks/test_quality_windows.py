"""Windows judged again when their labels have matured, and estimated until then."""

from datetime import datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.manifest import FILE_ESTIMATION, FILE_SKOPS, Manifest
from stationkeeper.api.report import DriftReport
from stationkeeper.api.summary import CheckSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.artifacts.errors import StoreDenied
from stationkeeper.workloads.artifacts.runtime import Predictions, dump_skops
from stationkeeper.workloads.checks import matured, quality
from stationkeeper.workloads.jobs.check_drift import check
from stationkeeper.workloads.training import estimation
from stationkeeper.workloads.training.metrics import Answers
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.checks.world import HOUR, MINUTE, NOON, answered, manifest, parquet, prepared, reports
from tests.unit.workloads.drift import helpers

LAG = timedelta(hours=2)
LABELS = {"uri": "s3://labels/flights", "lag": "2h", "column": "late"}
ASKED = {"metric": "roc_auc", "maxDrop": 0.05}
ROWS = 1500


def truths(seed: int, rows: int = ROWS, *, turned: bool = False) -> list[str]:
    """Labels that follow the probabilities, or turn against them."""
    probability = helpers.predictions(rows, seed)["probability"]
    late = np.random.default_rng(seed + 9).random(rows) < (1 - probability if turned else probability)
    return np.where(late, "late", "fine").tolist()


@cache
def known() -> bytes:
    """The `estimation.json` of the revision."""
    rows, seed = 5_000, 77
    outputs = helpers.predictions(rows, seed)
    probabilities = np.column_stack((1 - outputs["probability"], outputs["probability"]))
    judged = Predictions(labels=outputs["label"], probabilities=probabilities)
    order = ["fine", "late"]
    answers = Answers.of_classes(judged, order, order, truths(seed, rows))
    record = Manifest.model_validate(manifest({}))
    holdout = helpers.frame(helpers.columns(rows, seed)).with_columns(pl.col("holiday") == "true")
    return estimation.fit(record, [], answers, holdout, judged, 0).encode()


def world(**policy: Any) -> tuple[MemoryStore, MemoryStore, CheckConfig]:
    store, config = prepared(
        extra={FILE_ESTIMATION: known()}, labels=LABELS, **{"quality": ASKED, "minSamples": 200, "grace": "2m", **policy}
    )
    return store, MemoryStore(name="s3://labels/flights"), config


def label(labels: MemoryStore, slot: datetime, seed: int, **more: Any) -> None:
    """The labels of the rows that `answered` made."""
    ids = [f"{i}-{slot:%H%M}" for i in range(ROWS)]
    labels.put(f"{slot:%H%M}.parquet", parquet(pl.DataFrame({"request_id": ids, "late": truths(seed, **more)})))


def quality_reports(store: MemoryStore) -> dict[str, DriftReport]:
    return {key: report for key, report in reports(store).items() if "/quality/" in key}


def said(summary: CheckSummary) -> list[tuple[str, str, int]]:
    return [(f"{q.start:%H:%M}", q.verdict.value, q.labels) for q in summary.quality]


DUE = NOON + HOUR + LAG + 3 * MINUTE


def test_a_window_is_judged_on_labels_after_lag_and_grace_and_only_once() -> None:
    store, labels, config = world()
    answered(store, config, NOON, ROWS, 1)
    label(labels, NOON, 1)
    assert said(check(config, store, DUE - 5 * MINUTE, labels)) == []
    summary = check(config, store, DUE, labels)
    assert said(summary) == [("12:00", "Passed", ROWS)]
    assert summary.quality[0].score == pytest.approx(0.72, abs=0.03)
    assert summary.quality[0].skill == pytest.approx(summary.quality[0].score - 0.5), "any constant ranks by chance"
    ((key, report),) = quality_reports(store).items()
    assert key.endswith("/quality/20130401T120000Z-20130401T130000Z.json")
    assert key.replace(".json", ".html") in store.objects
    assert (report.verdict, report.features, report.rows) == ("Passed", "Passed", ROWS)
    kept = dict(store.objects)
    labels.objects.clear()
    assert said(check(config, store, DUE + MINUTE, labels)) == [("12:00", "Passed", ROWS)]
    assert store.objects.keys() == kept.keys()


def test_quality_that_fell_breaches_and_asks_for_a_retraining() -> None:
    store, labels, config = world(segments=[{"column": "carrier", "maxValues": 1}])
    for hour, turned in enumerate((False, True)):
        answered(store, config, NOON + hour * HOUR, ROWS, hour)
        label(labels, NOON + hour * HOUR, hour, turned=turned)
    summary = check(config, store, DUE + HOUR, labels)
    assert said(summary) == [("12:00", "Passed", ROWS), ("13:00", "Breached", ROWS)]
    report = list(quality_reports(store).values())[-1]
    assert report.action == "A retraining is asked for when 2 of 3 windows agree that the quality fell."
    assert "surely more than the 0.05 of maxDrop" in report.message
    assert [q.segment for q in report.quality if q.method == "Labels"] == [None, "carrier = AA", "carrier = (all other)"]
    assert [(f"{p.start:%H}", p.method) for p in report.history] == [("12", "Labels")]
    assert report.history[0].skill == pytest.approx(report.history[0].score.value - 0.5)
    assert [q.skill for q in summary.quality] == [report.history[0].skill, report.quality[0].skill], (
        "it can be compared across time"
    )


def test_before_labels_come_quality_is_estimated_and_held_to_the_last_labels() -> None:
    store, labels, config = world()
    for hour in range(5):
        answered(store, config, NOON + hour * HOUR, ROWS, hour)
    label(labels, NOON, 0)
    check(config, store, NOON + HOUR + 3 * MINUTE, labels)
    check(config, store, NOON + 5 * HOUR + 3 * MINUTE, labels)
    first, *_, last = (report for key, report in reports(store).items() if "/quality/" not in key)
    assert [q.method for q in first.quality] == ["CBPE"]
    assert "no labels have confirmed it yet" in first.quality[0].message
    assert last.quality[0].score is not None
    assert last.quality[0].score.value == pytest.approx(0.72, abs=0.03)
    assert f"the last {ROWS} labels bear it out" in last.quality[0].message
    assert {p.method for p in last.history} == {"CBPE"}
    assert last.verdict == "Passed"


def test_an_estimate_that_the_last_labels_contradict_is_withheld_and_never_breaches() -> None:
    store, labels, config = world()
    for hour in range(4):
        answered(store, config, NOON + hour * HOUR, ROWS, hour)
    label(labels, NOON, 0, turned=True)
    check(config, store, NOON + 4 * HOUR + 3 * MINUTE, labels)
    last = [report for key, report in reports(store).items() if "/quality/" not in key][-1]
    assert (last.quality[0].score, last.verdict) == (None, "Passed")
    assert "the last 1500 labels contradict it" in str(last.quality[0].withheld)


def predecessor(store: MemoryStore) -> dict[str, Any]:
    """A revision that knows nothing: its answers are of another world."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"n0": rng.normal(size=400), "n1": rng.normal(size=400), "t0": "AA", "t1": "true"})
    fitted = make_pipeline(make_column_transformer((SimpleImputer(), ["n0"])), LogisticRegression())
    fitted.fit(frame, rng.integers(0, 2, 400))
    files = {FILE_SKOPS: put_blob(store, dump_skops(fitted)).wire()}
    data = canonical_json(manifest(files) | {"format": "skops", "number": 7})
    store.create(keys.manifest(sha256(data)), data)
    return {"number": 7, "digest": sha256(data)}


@pytest.mark.parametrize(("turned", "worse"), [(True, True), (False, False)])
def test_on_probation_the_predecessor_is_asked_for_the_same_rows(turned: bool, worse: bool) -> None:
    store, labels, config = world()
    config = CheckConfig.model_validate(config.wire() | {"predecessor": predecessor(store)})
    answered(store, config, NOON, ROWS, 1)
    label(labels, NOON, 1, turned=turned)
    (verdict,) = check(config, store, DUE, labels).quality
    assert (verdict.predecessor, verdict.worse) == (7, worse)
    (report,) = quality_reports(store).values()
    found = report.quality[0].predecessor
    assert found is not None
    assert found.score.value == pytest.approx(0.5, abs=0.06), "it knows nothing"
    assert (found.drop.low is not None and found.drop.low > 0) == worse
    assert "revision 7 on the same rows" in verdict.message
    assert (", surely" in verdict.message) == worse


def test_a_predecessor_that_cannot_be_asked_is_a_note_and_no_verdict() -> None:
    store, labels, config = world()
    config = CheckConfig.model_validate(config.wire() | {"predecessor": {"number": 7, "digest": "sha256:" + "7" * 64}})
    answered(store, config, NOON, ROWS, 1)
    label(labels, NOON, 1)
    (verdict,) = check(config, store, DUE, labels).quality
    assert (verdict.verdict, verdict.predecessor, verdict.worse) == ("Passed", None, None)
    assert any("revision 7 was not asked" in note for report in quality_reports(store).values() for note in report.notes)


def test_windows_without_labels_stay_open_and_hold_up_no_later_one() -> None:
    store, labels, config = world()
    for hour in range(2):
        answered(store, config, NOON + hour * HOUR, ROWS, hour)
    label(labels, NOON + HOUR, 1)
    assert said(check(config, store, DUE + HOUR, labels)) == [("12:00", "InsufficientData", 0), ("13:00", "Passed", ROWS)]
    assert len(quality_reports(store)) == 1
    label(labels, NOON, 0)
    assert said(check(config, store, DUE + HOUR, labels)) == [("12:00", "Passed", ROWS), ("13:00", "Passed", ROWS)]


def test_a_window_with_too_few_labels_stays_open_while_more_may_come() -> None:
    store, labels, config = world()
    answered(store, config, NOON, ROWS, 1)
    ids, late = [f"{i}-1200" for i in range(ROWS)], truths(1)
    labels.put("a.parquet", parquet(pl.DataFrame({"request_id": ids[:150], "late": late[:150]})))
    summary = check(config, store, DUE, labels)
    assert said(summary) == [("12:00", "InsufficientData", 150)]
    assert "150 matured labels are fewer than the 200 of minLabels; 1350 rows have none" in summary.quality[0].message
    assert not quality_reports(store)
    labels.put("b.parquet", parquet(pl.DataFrame({"request_id": ids[150:], "late": late[150:]})))
    assert said(check(config, store, DUE, labels)) == [("12:00", "Passed", ROWS)]
    assert len(quality_reports(store)) == 1


def test_a_window_of_too_few_requests_is_closed_at_once() -> None:
    store, labels, config = world()
    answered(store, config, NOON, 150, 1)
    assert said(check(config, store, DUE, labels)) == [("12:00", "InsufficientData", 0)]
    (report,) = quality_reports(store).values()
    assert report.verdict == "InsufficientData"


def test_captured_rows_that_are_damaged_are_an_error_of_their_window_alone() -> None:
    store, labels, config = world()
    for hour in range(2):
        key = answered(store, config, NOON + hour * HOUR, ROWS, hour)
        label(labels, NOON + hour * HOUR, hour)
        if hour == 0:
            store.objects[key] = b"PAR1"
    assert said(check(config, store, DUE + HOUR, labels)) == [("12:00", "Error", 0), ("13:00", "Passed", ROWS)]


def test_estimates_are_held_to_the_newest_window_with_enough_labels() -> None:
    store, labels, config = world()
    for hour in range(4):
        answered(store, config, NOON + hour * HOUR, ROWS, hour)
    label(labels, NOON, 0, turned=True)
    labels.put("few.parquet", parquet(pl.DataFrame({"request_id": ["0-1300"], "late": ["late"]})))
    check(config, store, NOON + 4 * HOUR + 3 * MINUTE, labels)
    last = [report for key, report in reports(store).items() if "/quality/" not in key][-1]
    assert "the last 1500 labels contradict it" in str(last.quality[0].withheld)


def test_labels_may_lie_beside_the_models_own_storage() -> None:
    """`s3://models/flights-labels` begins as `s3://models/flights` does and is not in it."""
    store, labels, config = world()
    store.name, labels.name = "s3://models/flights", "s3://models/flights-labels"
    answered(store, config, NOON, ROWS, 1)
    label(labels, NOON, 1)
    assert said(check(config, store, DUE, labels)) == [("12:00", "Passed", ROWS)]


def test_without_estimates_and_before_labels_nothing_is_said_of_quality() -> None:
    store, labels, config = world(quality=ASKED | {"estimate": "Off"})
    answered(store, config, NOON, ROWS, 1)
    check(config, store, NOON + HOUR + 3 * MINUTE, labels)
    (report,) = reports(store).values()
    assert (report.quality, report.verdict) == ([], "Passed")


@pytest.mark.parametrize(
    ("policy", "own", "says"),
    [
        ("Retrain", None, "A retraining is asked for when 2 of 3 windows agree that the quality fell."),
        ("Retrain", "Observe", "The policy only tells."),
        ("Observe", "Retrain", "A retraining is asked for when 2 of 3 windows agree that the quality fell."),
    ],
)
def test_lost_quality_does_what_its_own_action_says(policy: str, own: str | None, says: str) -> None:
    store, labels, config = world(action=policy, quality=ASKED | ({"action": own} if own else {}))
    answered(store, config, NOON, ROWS, 1)
    label(labels, NOON, 1, turned=True)
    check(config, store, DUE, labels)
    (report,) = quality_reports(store).values()
    assert (report.verdict, report.action) == ("Breached", says)


def test_labels_of_a_selected_part_and_their_columns_are_as_the_model_says() -> None:
    store, labels, config = world()
    spec = {"uri": "s3://labels/flights", "format": "csv", "key": "trace", "column": "outcome", "lag": "2h",
            "selection": {"column": "granted", "value": "yes"}}  # fmt: skip
    config = CheckConfig.model_validate(config.wire() | {"labels": spec})
    answered(store, config, NOON, ROWS, 1)
    granted = ["yes" if i % 3 else "no" for i in range(ROWS)]
    frame = pl.DataFrame({"trace": [f"{i}-1200" for i in range(ROWS)], "outcome": truths(1), "granted": granted})
    labels.put("a.csv", frame.write_csv().encode())
    assert said(check(config, store, DUE, labels)) == [("12:00", "Passed", 1000)]
    (report,) = quality_reports(store).values()
    assert "of answers whose granted is 'yes' only (500 others have no outcome)" in report.message


def test_a_lag_of_millennia_matures_nothing_and_stops_no_check() -> None:
    store, labels, config = world()
    config = CheckConfig.model_validate(config.wire() | {"labels": LABELS | {"lag": "999999d"}})
    answered(store, config, NOON, ROWS, 1)
    summary = check(config, store, DUE, labels)
    assert (said(summary), summary.windows[0].features) == ([], "Passed")


def test_an_estimate_that_breaks_is_an_error_in_its_own_report(monkeypatch: pytest.MonkeyPatch) -> None:
    store, labels, config = world()
    answered(store, config, NOON, ROWS, 1)
    monkeypatch.setattr(quality, "estimate", lambda *_arguments, **_more: 1 / 0)
    (told,) = [window for window in check(config, store, NOON + HOUR + 3 * MINUTE, labels).windows if window.rows]
    (report,) = reports(store).values()
    assert (told.features, report.quality[0].verdict) == ("Passed", "Error")
    assert report.quality[0].message == "the quality was not estimated: division by zero"


def test_a_backlog_is_worked_off_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    store, labels, config = world()
    monkeypatch.setattr(matured, "MAX_PER_RUN", 2)
    for hour in range(5):
        answered(store, config, NOON + hour * HOUR, ROWS, hour)
        label(labels, NOON + hour * HOUR, hour)
    sizes = []
    for _ in range(4):
        check(config, store, DUE + 4 * HOUR, labels)
        sizes.append(len(quality_reports(store)))
    assert sizes == [2, 4, 5, 5]


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("a foreign file", "1200.parquet cannot be read as parquet"),
        ("another column", "has no column 'late' but request_id, delayed"),
        ("no permission", "access denied"),
        ("a metric of another task", "r2 judges a regression"),
        ("a bug", "division by zero"),
    ],
)
def test_trouble_with_labels_is_an_error_of_quality_alone(trouble: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, labels, config = world(quality=ASKED | ({"metric": "r2"} if "metric" in trouble else {}))
    answered(store, config, NOON, ROWS, 1)
    label(labels, NOON, 1)
    if trouble == "a foreign file":
        labels.put("1200.parquet", b"PAR1")
    if trouble == "another column":
        labels.put("1200.parquet", parquet(pl.DataFrame({"request_id": ["0-1200"], "delayed": ["late"]})))
    if trouble == "no permission":
        labels.before = lambda _operation, _key: (_ for _ in ()).throw(StoreDenied("access denied"))
    if trouble == "a bug":
        monkeypatch.setattr(matured, "judge_quality", lambda *_arguments, **_more: 1 / 0)
    summary = check(config, store, DUE, labels)
    (verdict,) = summary.quality
    assert verdict.verdict == "Error"
    assert message in verdict.message
    assert [w.features for w in summary.windows] == ["Passed", "InsufficientData", "InsufficientData"]


def test_a_model_without_labels_is_told_so() -> None:
    store, config = prepared(quality=ASKED)
    answered(store, config, NOON)
    assert said(check(config, store, DUE)) == []
    (report,) = reports(store).values()
    assert "quality is not measured: the Model names no labels (spec.labels)" in report.notes
    assert report.quality[0].withheld == "this revision knows nothing of its probabilities or errors; the next training stores it"


def test_a_report_that_cannot_be_read_is_an_error_that_says_what_to_do() -> None:
    store, labels, config = world()
    answered(store, config, NOON, ROWS, 1)
    label(labels, NOON, 1)
    check(config, store, DUE, labels)
    (key,) = quality_reports(store)
    store.objects[key] = b"{"
    (verdict,) = check(config, store, DUE, labels).quality
    assert (verdict.verdict, verdict.message) == ("Error", "its report cannot be read; remove it to judge the window again")
