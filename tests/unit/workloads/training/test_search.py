"""Searched parameters: found inside the training rows, the same each time, bounded, and learned with again."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.manifest import FILE_ONNX, SearchRecord
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.workloads.artifacts.columns import from_frame, model_input
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.jobs import train as job
from stationkeeper.workloads.training import search
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.fit import target_of
from stationkeeper.workloads.training.handover import Schema
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

TREE = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"min_samples_leaf": 20}}
DEPTHS = {"max_depth": [1, 4], "min_samples_leaf": [1, 30]}


def searched(estimator: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **wanted: Any) -> Any:
    """A configuration that searches."""
    cfg = pod.config(estimator=estimator or TREE, data=data or {})
    return cfg.model_validate(cfg.wire() | {"training": cfg.training.wire() | {"search": {"params": DEPTHS} | wanted}})


def run(tmp: Path, cfg: Any, frame: pl.DataFrame | None = None) -> tuple[MemoryStore, Any]:
    store = MemoryStore()
    source = MemoryStore({"a.parquet": pod.parquet(pod.rows(60) if frame is None else frame)}, "s3://lake/rows")
    summary, _ = pod.Pod(tmp, store, source).run(cfg)
    return store, summary


@pytest.mark.parametrize(("strategy", "trials"), [("Random", 3), ("Grid", 4), ("Halving", 4)])
@pytest.mark.parametrize("timestamp", ["at", None])
def test_what_was_found_is_judged_published_and_learned_with_again(
    tmp_path: Path, strategy: str, trials: int, timestamp: str | None
) -> None:
    data = {"timestamp": timestamp} | ({} if timestamp else {"features": ["x", "colour"], "asOf": "Now"})
    store, summary = run(tmp_path, searched(strategy=strategy, trials=trials, data=data))
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    manifest = load_manifest(store, summary.digest or "")
    found = manifest.search
    assert found is not None
    assert (found.strategy, found.metric, found.trials, found.stopped) == (strategy, "roc_auc", trials, False)
    assert found.params["max_depth"] == 4, "one split alone is worse than sixteen leaves"
    assert manifest.params == {"min_samples_leaf": found.params["min_samples_leaf"], "max_depth": 4}
    assert 0.7 < found.score < 1
    assert manifest.evaluation.refit == ("WholeWindow" if timestamp else "None")


@pytest.mark.parametrize("booster", ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier"])
def test_parameters_of_boosting_are_found_too(tmp_path: Path, booster: str) -> None:
    estimator = {"class": booster, "params": {"n_estimators": 20}}
    wanted = {"params": {"max_depth": [1, 4], "learning_rate": [0.001, 0.3]}, "strategy": "Grid", "trials": 4}
    store, summary = run(tmp_path, searched(estimator, **wanted))
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    manifest = load_manifest(store, summary.digest or "")
    assert manifest.search is not None
    assert manifest.params == {"n_estimators": 20, **manifest.search.params}
    assert manifest.format == "skops"


def test_the_same_attempt_finds_the_same_and_another_one_may_not(tmp_path: Path) -> None:
    found = []
    for name in ("1", "2"):
        store, summary = run(tmp_path / name, searched(trials=2))
        found.append(load_manifest(store, summary.digest or ""))
    assert found[0].search == found[1].search
    assert found[0].files[FILE_ONNX] == found[1].files[FILE_ONNX]


def test_the_holdout_is_not_searched_in(tmp_path: Path) -> None:
    """Whatever is in the newest rows, the same is found."""
    records = []
    for name, flip in (("as ever", None), ("contradicting", 48)):
        run_ = pod.Pod(
            tmp_path / name,
            MemoryStore(),
            MemoryStore({"a.parquet": pod.parquet(pod.rows(60, flip_from=flip))}, "s3://lake/rows"),
        )
        cfg = searched()
        job.step_prepare(cfg, run_.paths, run_.open)
        job.step_train(cfg, run_.paths)
        records.append(SearchRecord.model_validate_json(run_.paths.found_on(0).read_bytes()))
    assert records[0] == records[1]


def test_every_challenger_has_its_own_search(tmp_path: Path) -> None:
    store, summary = run(tmp_path, searched(data={"windows": ["30d", "60d"]}), pod.rows(60, 40))
    manifest = load_manifest(store, summary.digest or "")
    assert [sorted(candidate.params) for candidate in manifest.evaluation.candidates] == [["max_depth", "min_samples_leaf"]] * 2
    assert manifest.search is not None
    assert manifest.search.params == next(c.params for c in manifest.evaluation.candidates if c.chosen)


@pytest.mark.parametrize(
    ("wanted", "reason", "says"),
    [
        ({"params": {"max_dept": [1]}}, "InvalidParameters", "max_depth"),
        ({"params": {"max_depth": [3, -3]}}, "InvalidParameters", "max_depth"),
        ({"strategy": "Grid", "trials": 3}, "InvalidParameters", "4 combinations, more than the 3"),
        ({"metric": "roc_acu"}, "UnknownMetric", "search.metric: 'roc_acu'"),
    ],
)
def test_what_cannot_work_is_refused_before_a_row_is_read(tmp_path: Path, wanted: dict[str, Any], reason: str, says: str) -> None:
    _, summary = run(tmp_path, searched(**wanted))
    assert (summary.outcome, summary.reason) == (TrainingOutcome.INVALID_DATA, reason)
    assert says in summary.message


def rows_of(tmp: Path, cfg: Any, frame: pl.DataFrame) -> tuple[Schema, pl.DataFrame]:
    run_ = pod.Pod(tmp, MemoryStore(), MemoryStore({"a.parquet": pod.parquet(frame)}, "s3://lake/rows"))
    job.step_prepare(cfg, run_.paths, run_.open)
    return Schema.model_validate_json(run_.paths.schema.read_bytes()), pl.read_parquet(run_.paths.train)


def find(tmp: Path, cfg: Any, frame: pl.DataFrame) -> SearchRecord:
    meaning, rows = rows_of(tmp, cfg, frame)
    return search.find(cfg, meaning, model_input(from_frame(rows, meaning.features), meaning.features), target_of(rows, meaning))


def test_when_time_is_up_the_best_so_far_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = 0
    begin = time.monotonic()

    def slow() -> float:  # every look at the clock after the first seven is too late
        nonlocal fits
        fits += 1
        return begin if fits <= 7 else begin + 1e9

    monkeypatch.setattr(search.time, "monotonic", slow)
    found = find(tmp_path, searched(strategy="Grid", folds=3), pod.rows(60))
    assert (found.trials, found.stopped) == (2, True)


@pytest.mark.parametrize("strategy", ["Random", "Halving"])
def test_a_search_that_has_no_time_says_what_to_change(tmp_path: Path, strategy: str) -> None:
    with pytest.raises(AttemptEnded, match=r"found nothing within 0ms: raise search\.timeLimit") as ended:
        find(tmp_path, searched(strategy=strategy, timeLimit="0ms"), pod.rows(60))
    assert ended.value.reason == "SearchTooLong"


def test_what_no_combination_can_fit_is_a_failed_training(tmp_path: Path) -> None:
    cfg = searched(estimator={"class": "sklearn.naive_bayes.MultinomialNB"}, params={"alpha": [0.1, 1.0]})
    _, summary = run(tmp_path, cfg)
    assert (summary.outcome, summary.reason) == (TrainingOutcome.FAILED, "TrainingFailed")
    assert "could not try any combination" in summary.message


def test_a_fold_without_a_rare_class_is_scored_on_all_of_them(tmp_path: Path) -> None:
    """In order of time the first folds may know two of three classes."""
    late = pl.int_range(pl.len()) > 700
    kind = pl.when(late & (pl.col("x") > 1)).then(pl.lit("new")).when(pl.col("y")).then(pl.lit("yes")).otherwise(pl.lit("no"))
    frame = pod.rows(60).with_columns(y=kind)
    cfg = searched(metric="neg_log_loss", params={"max_depth": [2, 5]}, strategy="Grid")
    assert np.isfinite(find(tmp_path, cfg, frame).score)


def test_the_positive_label_counts_as_such_in_the_search(tmp_path: Path) -> None:
    frame = pod.rows(60).with_columns(y=pl.when(pl.col("y")).then(pl.lit("a")).otherwise(pl.lit("b")))
    depth = {"params": {"max_depth": [4]}, "metric": "precision", "strategy": "Grid"}
    scores = [
        find(
            tmp_path / label,
            searched(data={"positiveLabel": label}, **depth),
            frame.filter((pl.col("y") == "a") | (pl.col("x") < 1)),
        )
        for label in ("a", "b")
    ]
    assert scores[0].score != pytest.approx(scores[1].score, abs=1e-3)


def test_a_regression_is_searched_too(tmp_path: Path) -> None:
    frame = pod.rows(60).with_columns(y=pl.col("x").fill_null(0.0) * 2 + pl.col("count"))
    cfg = searched(
        estimator={"class": "sklearn.tree.DecisionTreeRegressor"}, params={"max_depth": [1, 6]}, metric="r2", strategy="Grid"
    )
    assert find(tmp_path, cfg, frame).params == {"max_depth": 6}
