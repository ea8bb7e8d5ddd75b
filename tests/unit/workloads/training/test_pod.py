"""The whole training pod, in process: every way in which an attempt can end."""

import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from stationkeeper.api.manifest import FILE_GOLDEN, FILE_ONNX, FILE_REFERENCE, Manifest, Task
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.artifacts.errors import DigestMismatch, OwnerConflict, StoreUnavailable
from stationkeeper.workloads.artifacts.golden import Golden
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.training.divide import divide
from stationkeeper.workloads.training.inputs import Inputs
from stationkeeper.workloads.training.schema import choose_features
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], str]:
    """The objects of a published champion that knows days 0 to 39, and its digest."""
    store = MemoryStore()
    with threadpool_limits(1):
        summary = pod.train(tmp_path_factory.mktemp("first"), pod.rows(40), store)
    assert summary.outcome is TrainingOutcome.PUBLISHED
    return store.objects, summary.digest or ""


@pytest.fixture
def first(published: tuple[dict[str, bytes], str]) -> tuple[MemoryStore, dict[str, Any]]:
    """A store with that champion."""
    objects, digest = published
    return MemoryStore(dict(objects)), {"number": 1, "digest": digest}


def challenger(champion: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"cause": "Drift", "episode": "e2", "revision": 2, "champion": champion} | changes


def test_publishes_a_model_that_loads_and_gives_its_golden_answers(first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    manifest = load_manifest(store, champion["digest"])
    predictor = load_model(manifest, {name: get_blob(store, ref) for name, ref in manifest.files.items()})
    Golden.decode(get_blob(store, manifest.files[FILE_GOLDEN])).verify(predictor)
    assert manifest.format == "onnx"
    assert FILE_ONNX in manifest.files
    assert FILE_REFERENCE in manifest.files
    assert manifest.task is Task.BINARY
    assert manifest.classes == ["false", "true"]
    assert [f.name for f in manifest.features] == ["x", "count", "colour", "member"]
    assert manifest.data.rows == 800  # refitted on the whole window, the holdout included
    assert manifest.data.through == pod.START + timedelta(days=39, minutes=19)
    assert manifest.evaluation.holdout_rows == 160
    assert [gate.verdict for gate in manifest.evaluation.gates] == ["Passed", "NotApplicable"]


def test_the_manifest_is_written_after_its_files_and_the_outcome_last(tmp_path: Path) -> None:
    store = MemoryStore()
    pod.train(tmp_path, pod.rows(), store)
    writes = [key.split("/")[0] for operation, key in store.log if operation == "create"]
    assert writes[:2] == ["owner.json", "episodes"]
    assert set(writes[2:-2]) == {"blobs"}
    assert writes[-2:] == ["manifests", "episodes"]


def test_a_drift_that_can_be_learned_is_cured(tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    summary = pod.train(tmp_path / "2", pod.rows(80, flip_from=40), store, **challenger(champion, data={"window": "40d"}))
    assert summary.outcome is TrainingOutcome.PUBLISHED
    assert summary.metrics["roc_auc"] > 0.8 > 0.3 > summary.champion_metrics["roc_auc"]
    assert summary.champion_number == 1


@pytest.mark.parametrize(
    ("frame", "changes", "reason"),
    [
        pytest.param(pod.rows(80, flip_from=64), {}, "GateRefused", id="the newest rows contradict what was learned"),
        pytest.param(pod.rows(42, seed=9), {"gates": [{"metric": "roc_auc", "min": 0.5}, {"metric": "roc_auc", "maxDrop": 0.5}],
                     "data": {"minNewRows": 0}}, "InsufficientEvidence", id="too few rows that the champion does not know"),
        pytest.param(pod.rows(80), {"gates": [{"metric": "roc_auc", "min": 0.5}], "estimator": {
            "class": "sklearn.dummy.DummyClassifier"}}, "NoGain", id="a drift is not cured by a model that is no better"),
        pytest.param(pod.rows(80).drop("x").with_columns(z=pl.col("count") * 2.0), {
            "data": {"features": ["z", "colour"]}, "gates": [{"metric": "roc_auc", "min": 0.5}]}, "ChampionNotComparable",
            id="the champion cannot answer the new columns"),
    ],
)  # fmt: skip
def test_refuses(
    tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]], frame: pl.DataFrame, changes: dict[str, Any], reason: str
) -> None:
    store, champion = first
    before = {key for key in store.objects if key.startswith(("blobs/", "manifests/"))}
    summary = pod.train(tmp_path / "2", frame, store, **challenger(champion, **changes))
    assert (summary.outcome, summary.reason) == (TrainingOutcome.REFUSED, reason), summary.message
    assert {key for key in store.objects if key.startswith(("blobs/", "manifests/"))} == before


def test_what_the_gates_saw_the_answers_differ_by_is_told(tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    gates = [{"metric": "accuracy", "min": 0.1}, {"metric": "accuracy", "maxDrop": 0.9}]
    always = {"class": "sklearn.dummy.DummyClassifier", "params": {"strategy": "constant", "constant": True}}
    frame = pod.rows(80)
    summary = pod.train(tmp_path / "2", frame, store, **challenger(champion, cause="Schedule", gates=gates, estimator=always))
    manifest = load_manifest(store, champion["digest"])
    predictor = load_model(manifest, {name: get_blob(store, ref) for name, ref in manifest.files.items()})
    judged = frame.filter(pl.col("at") >= pod.START + timedelta(days=64))
    labels = predictor.predict(from_frame(judged, manifest.features)).labels
    assert labels is not None
    refused_by_the_champion = float((labels == "false").mean())
    assert 0.3 < refused_by_the_champion < 0.7
    shift = {"true": pytest.approx(refused_by_the_champion), "false": pytest.approx(-refused_by_the_champion)}
    assert load_manifest(store, summary.digest or "").evaluation.prediction_shift == shift
    assert summary.champion_shift == {name: pytest.approx(value.expected, abs=5e-5) for name, value in shift.items()}


def test_without_a_champion_there_is_nothing_to_differ_from(first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    assert load_manifest(store, champion["digest"]).evaluation.prediction_shift == {}


def test_a_schedule_may_tie(tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    gates = [{"metric": "accuracy", "min": 0.5}, {"metric": "accuracy", "maxDrop": 0.9}]
    changes = challenger(champion, cause="Schedule", gates=gates, estimator={"class": "sklearn.dummy.DummyClassifier"})
    summary = pod.train(tmp_path / "2", pod.rows(80), store, **changes)
    assert summary.outcome is TrainingOutcome.PUBLISHED
    assert load_manifest(store, summary.digest or "").evaluation.accepted_without_gain


@pytest.mark.parametrize(
    ("days", "changes", "outcome"),
    [
        (42, {"data": {"minNewRows": 41}}, TrainingOutcome.WAITING_FOR_LABELS),
        (
            42,
            {"data": {"minNewRows": 41, "asOf": "Now"}, "onset": pod.START + timedelta(days=40)},
            TrainingOutcome.WAITING_FOR_LABELS,
        ),
        (42, {"data": {"minNewRows": 40, "asOf": "Now"}, "onset": pod.START + timedelta(days=40)}, TrainingOutcome.REFUSED),
        (42, {"data": {"minNewRows": 41}, "cause": "Schedule"}, TrainingOutcome.REFUSED),
    ],
)
def test_a_drift_waits_for_enough_new_labels(
    tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]], days: int, changes: dict[str, Any], outcome: TrainingOutcome
) -> None:
    store, champion = first
    summary = pod.train(tmp_path / "2", pod.rows(days), store, **challenger(champion, **changes))
    assert summary.outcome is outcome, summary.message


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({"data": {"asOf": "Now"}}, 4_800),  # a fifth
        ({"data": {"asOf": "Now"}, "onset": pod.START + timedelta(days=100)}, 2_000),
        ({"data": {"asOf": "Now"}, "onset": pod.START + timedelta(days=115)}, 4_800),  # half of them would be 500
        ({"data": {"asOf": "Now"}, "onset": pod.START + timedelta(days=20)}, 4_800),
        ({"onset": pod.START + timedelta(days=100)}, 4_800),  # of another clock than the rows
    ],
    ids=["no drift", "a drift of twenty days", "one too young to be judged by half", "an old one", "one on another clock"],
)
def test_half_of_the_rows_since_a_drift_teach_and_half_judge(
    first: tuple[MemoryStore, dict[str, Any]], changes: dict[str, Any], held: int
) -> None:
    store, champion = first
    known, config, rows = (
        load_manifest(store, champion["digest"]),
        pod.config(**challenger(champion, **changes)),
        pod.rows(120, 200),
    )
    features = choose_features(rows, config.training.data, known)
    assert divide(rows, config, known, features, None, None).holdout.height == held


HGB = "sklearn.ensemble.HistGradientBoostingClassifier"
GOOD = pod.rows()


@pytest.mark.parametrize(
    ("frame", "changes", "reason", "says"),
    [
        (GOOD.drop("y"), {}, "MissingTargetColumn", "'y'"),
        (GOOD.drop("at"), {}, "MissingTimestampColumn", "'at'"),
        (GOOD, {"data": {"features": ["x", "nope"]}}, "MissingFeatureColumn", "'nope'"),
        (GOOD, {"data": {"features": ["x", "y"]}}, "InvalidSpec", "'y'"),
        (GOOD.with_columns(x=pl.lit(None, pl.Float64)), {"data": {"features": ["x"]}}, "MissingFeatureColumn", "no values"),
        (GOOD.with_columns(x=pl.when(pl.col("at") < pod.START + timedelta(days=30)).then("x")), {}, "MissingFeatureColumn", "newest"),
        (GOOD, {"data": {"asOf": "Now", "window": "30d"}}, "EmptyWindow", "LatestRow"),
        (GOOD.with_columns(y=pl.lit(None, pl.Boolean)), {}, "EmptyWindow", "labels"),
        (GOOD.with_columns(y=pl.lit(value=True)), {}, "ConstantTarget", "window"),
        (GOOD.head(60), {}, "TooFewRows", "30"),
        (GOOD.with_columns(twin=pl.col("y").cast(pl.Int64) * 2), {}, "SuspectedLeakage", "'twin'"),
        (GOOD.with_columns(word=pl.col("y").cast(pl.String)), {}, "SuspectedLeakage", "'word'"),
        (GOOD.with_columns(born=pl.col("at").dt.date()), {}, "UnsupportedColumnType", "'born'"),
        (GOOD.with_columns(at=pl.lit("yesterday")), {}, "MalformedTimestamp", "yesterday"),
        (GOOD.with_columns(at=pl.lit(7)), {}, "MalformedTimestamp", "Int"),
        (GOOD.with_columns(y=pl.col("x").fill_null(0.5)), {}, "MalformedTarget", "regressor"),
        (GOOD.rename({"x": "^.*$"}), {}, "MalformedData", "rename"),
        (b"no parquet", {}, "MalformedData", "a.parquet"),
        (GOOD, {"data": {"format": "csv"}}, "NoData", ".csv"),
        (GOOD, {"data": {"positiveLabel": "maybe"}}, "InvalidSpec", "positiveLabel"),
        (GOOD, {"estimator": {"class": "sklearn.ensemble.HistGradientBoostingClasifier"}}, "UnknownEstimator", "did you mean Hist"),
        (GOOD, {"estimator": {"class": "sklearn.linear_model.DecisionTreeClassifier"}}, "UnknownEstimator", "sklearn.tree"),
        (GOOD, {"estimator": {"class": "sklearn.utils.Bunch"}}, "UnknownEstimator", "classifier"),
        (GOOD, {"estimator": {"class": "sklearn.ensemble.VotingClassifier"}}, "UnknownEstimator", "wraps"),
        (GOOD, {"estimator": {"class": "xgboost.XGBClasifier"}}, "UnknownEstimator", "did you mean XGBClassifier"),
        (GOOD, {"estimator": {"class": "lightgbm.LGBMClassifier", "params": {"output_model": "x"}}}, "InvalidParameters", "num_leaves"),
        (GOOD, {"estimator": {"class": "xgboost.XGBClassifier", "params": {"callbacks": []}}}, "InvalidParameters", "takes code"),
        (GOOD, {"estimator": {"class": HGB, "params": {"max_itr": 3}}}, "InvalidParameters", "max_iter"),
        (GOOD, {"estimator": {"class": HGB, "params": {"max_iter": -3}}}, "InvalidParameters", "max_iter"),
        (GOOD, {"gates": [{"metric": "roc_acu", "min": 0.5}]}, "UnknownMetric", "roc_auc"),
        (GOOD, {"gates": [{"metric": "roc_auc", "maxDrop": 0.5}]}, "InvalidSpec", "min"),
        (GOOD, {"gates": [{"metric": "roc_auc", "min": 0.5}], "estimator": {"class": "sklearn.svm.LinearSVC"}}, "UnsuitableMetric",
         "roc_auc"),
    ],
)  # fmt: skip
def test_invalid_data_ends_the_attempt_and_says_what_to_do(
    tmp_path: Path, frame: pl.DataFrame | bytes, changes: dict[str, Any], reason: str, says: str
) -> None:
    store = MemoryStore()
    summary = pod.train(tmp_path, frame, store, **changes)
    assert (summary.outcome, summary.reason) == (TrainingOutcome.INVALID_DATA, reason), summary.message
    assert says in summary.message
    assert TrainingSummary.model_validate_json(store.objects[keys.outcome("e1", 1)]) == summary
    assert not any(key.startswith("manifests/") for key in store.objects)


def test_an_estimator_that_raises_is_a_failed_attempt(tmp_path: Path) -> None:
    store = MemoryStore()
    summary = pod.train(tmp_path, pod.rows(), store, estimator={"class": "sklearn.naive_bayes.MultinomialNB"})
    assert (summary.outcome, summary.reason) == (TrainingOutcome.FAILED, "TrainingFailed")
    assert "MultinomialNB.fit raised ValueError" in summary.message
    assert keys.outcome("e1", 1) in store.objects


def test_what_xgboost_says_is_told_without_where_it_was_built(tmp_path: Path) -> None:
    summary = pod.train(tmp_path, pod.rows(), estimator={"class": "xgboost.XGBClassifier", "params": {"booster": "none"}})
    assert summary.message == "XGBClassifier.fit raised XGBoostError: Unknown gbm type none"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "write", ["owner.json", keys.inputs("e1", 1), "blobs/", "the last of blobs/", "manifests/", "samples/", keys.outcome("e1", 1)]
)
def test_a_pod_that_dies_at_any_write_is_made_good_by_the_next(tmp_path: Path, write: str, when: str) -> None:
    store = MemoryStore()
    source = MemoryStore({"a.parquet": pod.parquet(pod.rows())}, "s3://lake/rows")
    cfg = pod.config(estimator={"class": "sklearn.linear_model.LogisticRegression"})
    wanted, left, dead = write.removeprefix("the last of "), 6 if write.startswith("the last") else 1, False

    def die(operation: str, key: str) -> None:
        nonlocal left, dead
        left -= operation in ("create", "put") and key.startswith(wanted)
        dead = dead or left == 0
        if dead:
            raise StoreUnavailable("the network is gone")

    setattr(store, when, die)
    with contextlib.suppress(StoreUnavailable):
        pod.Pod(tmp_path / "dies", store, source).run(cfg)
    assert dead
    store.before = store.after = lambda _operation, _key: None
    for key in [key for key in store.objects if key.startswith("manifests/")]:
        manifest = Manifest.model_validate_json(store.objects[key])
        assert all(get_blob(store, ref) for ref in manifest.files.values()), "a manifest comes after its files"
    again, _ = pod.Pod(tmp_path / "again", store, source).run(cfg)
    assert isinstance(again, TrainingSummary)
    assert again.outcome is TrainingOutcome.PUBLISHED
    assert TrainingSummary.model_validate_json(store.objects[keys.outcome("e1", 1)]) == again
    assert len(load_manifest(store, again.digest or "").files) == 6
    third, _ = pod.Pod(tmp_path / "third", store, source).run(cfg)
    assert third == again


def test_of_two_pods_the_first_outcome_is_reported_by_both(tmp_path: Path) -> None:
    store = MemoryStore()
    other = pod.train(tmp_path / "other", pod.rows(), MemoryStore())

    def overtake(operation: str, key: str) -> None:
        if operation == "create" and key.endswith("outcome.json"):
            store.objects.setdefault(key, other.encode())

    store.before = overtake
    assert pod.train(tmp_path / "late", pod.rows(), store) == other


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_retried_pod_refuses_other_rows_than_the_frozen_ones(tmp_path: Path, change: str) -> None:
    store = MemoryStore()
    source = MemoryStore(
        {"a.parquet": pod.parquet(pod.rows(30)), "b.parquet": pod.parquet(pod.rows(10, first=30))}, "s3://lake/rows"
    )
    pod.Pod(tmp_path / "1", store, source).run(pod.config())
    del store.objects[keys.outcome("e1", 1)]
    source.objects["c.parquet"] = b"newer objects do not matter"
    same, _ = pod.Pod(tmp_path / "2", store, source).run(pod.config())
    assert isinstance(same, TrainingSummary)
    assert same.outcome is TrainingOutcome.PUBLISHED
    del store.objects[keys.outcome("e1", 1)]
    if change == "gone":
        del source.objects["b.parquet"]
    else:
        source.objects["b.parquet"] = pod.parquet(pod.rows(10, first=30, seed=5))
    summary, code = pod.Pod(tmp_path / "3", store, source).run(pod.config())
    assert isinstance(summary, TrainingSummary)
    assert (summary.reason, code) == ("InputChanged", 3)
    assert "b.parquet" in summary.message


def test_the_same_attempt_trains_the_same_model(tmp_path: Path) -> None:
    digests = []
    for name in ("1", "2"):
        store = MemoryStore()
        summary = pod.train(tmp_path / name, pod.rows(), store)
        digests.append(load_manifest(store, summary.digest or "").files[FILE_ONNX].digest)
    assert digests[0] == digests[1]


def test_another_models_prefix_is_not_touched(tmp_path: Path) -> None:
    store = MemoryStore()
    pod.train(tmp_path / "1", pod.rows(), store)
    before = dict(store.objects)
    with pytest.raises(OwnerConflict, match="default/test"):
        pod.train(tmp_path / "2", pod.rows(), store, episode="e9", model={"namespace": "x", "name": "y", "uid": "uid-2"})
    assert store.objects == before


def test_a_tampered_champion_is_not_compared_with(tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    key = keys.blob(load_manifest(store, champion["digest"]).files[FILE_ONNX].digest)
    store.objects[key] = store.objects[key][:-1] + b"\0"
    with pytest.raises(DigestMismatch):
        pod.train(tmp_path / "2", pod.rows(80), store, **challenger(champion))
    assert keys.outcome("e2", 1) not in store.objects


def test_captures_under_the_data_prefix_are_not_learned_from(tmp_path: Path) -> None:
    source = MemoryStore({"a.parquet": pod.parquet(pod.rows()), "model/capture/x.parquet": b"ours"}, "s3://test")
    summary, _ = pod.Pod(tmp_path, MemoryStore(), source).run(pod.config())
    assert isinstance(summary, TrainingSummary)
    assert summary.outcome is TrainingOutcome.PUBLISHED


@pytest.mark.parametrize(
    ("estimator", "params", "metric", "form"),
    [
        ("sklearn.linear_model.LogisticRegression", {}, "roc_auc", "onnx"),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 10}, "neg_log_loss", "onnx"),
        ("sklearn.svm.LinearSVC", {}, "accuracy", "skops"),
        ("sklearn.neighbors.KNeighborsClassifier", {}, "roc_auc", None),
        ("sklearn.ensemble.BaggingClassifier", {"n_estimators": 3}, "f1", None),
        ("xgboost.XGBClassifier", {"n_estimators": 5, "max_depth": 3}, "roc_auc", "skops"),
        ("lightgbm.LGBMClassifier", {"n_estimators": 5, "num_leaves": 7}, "roc_auc", "skops"),
    ],
)
def test_estimators_of_many_kinds(tmp_path: Path, estimator: str, params: dict[str, Any], metric: str, form: str | None) -> None:
    store = MemoryStore()
    gates = [{"metric": metric, "min": -10.0}]
    summary = pod.train(tmp_path, pod.rows(), store, estimator={"class": estimator, "params": params}, gates=gates)
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    manifest = load_manifest(store, summary.digest or "")
    assert form in (None, manifest.format)


@pytest.mark.parametrize("timestamp", ["at", None])
@pytest.mark.parametrize(
    "estimator",
    [
        "sklearn.ensemble.HistGradientBoostingRegressor",
        "sklearn.linear_model.Ridge",
        "lightgbm.LGBMRegressor",
        "xgboost.XGBRegressor",
    ],
)
def test_regression(tmp_path: Path, timestamp: str | None, estimator: str) -> None:
    frame = pod.rows().with_columns(y=pl.col("x").fill_null(0.0) * 2 + pl.col("count") + pl.col("member"))
    data = {"timestamp": timestamp, "features": ["x", "count", "colour", "member"]}
    store = MemoryStore()
    summary = pod.train(tmp_path, frame, store, data=data, estimator={"class": estimator}, gates=[{"metric": "r2", "min": 0.7}])
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    manifest = load_manifest(store, summary.digest or "")
    assert manifest.task is Task.REGRESSION
    assert manifest.evaluation.refit == ("WholeWindow" if timestamp else "None")


def test_several_classes_from_csv(tmp_path: Path) -> None:
    kinds = pl.when(pl.col("x") > 0.5).then(pl.lit("high")).when(pl.col("x") < -0.5).then(pl.lit("low")).otherwise(pl.lit("mid"))
    frame = pod.rows().with_columns(y=kinds)
    source = MemoryStore({"a.csv": frame.write_csv().encode()}, "s3://lake/rows")
    store = MemoryStore()
    cfg = pod.config(data={"format": "csv"}, gates=[{"metric": "roc_auc_ovr", "min": 0.7}, {"metric": "accuracy", "min": 0.5}])
    summary, code = pod.Pod(tmp_path, store, source).run(cfg)
    assert isinstance(summary, TrainingSummary)
    assert (summary.outcome, code) == (TrainingOutcome.PUBLISHED, 0), summary.message
    manifest = load_manifest(store, summary.digest or "")
    assert (manifest.task, manifest.classes) == (Task.MULTICLASS, ["high", "low", "mid"])


def quarantined(artifacts: MemoryStore, digest: str = "") -> list[dict[str, str]]:
    """The data of the attempt e1/1 in this store is quarantined."""
    frozen = Inputs.model_validate_json(artifacts.objects[keys.inputs("e1", 1)])
    return [{"dataDigest": digest or frozen.digest, "revisionDigest": "sha256:" + "7" * 64, "reason": "it was worse"}]


def test_the_same_code_on_the_same_data_is_not_trained_again(tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    refused = challenger(champion, cause="Manual", quarantined=quarantined(store))
    before = set(store.objects)
    summary = pod.train(tmp_path / "same", pod.rows(40), store, **refused)
    assert (summary.outcome, summary.reason) == (TrainingOutcome.QUARANTINED, "Quarantined")
    assert "made revision 777777777777, which is quarantined (it was worse); new data or changed code lifts it" in summary.message
    assert "stationkeeper resume --trainings test" in summary.message
    assert set(store.objects) - before == {keys.inputs("e2", 1), keys.outcome("e2", 1)}, "nothing was trained"
    assert not (tmp_path / "same" / "data" / "train.parquet").exists()
    # Another pod of the attempt hears the same, even when new data has come meanwhile: its inputs are frozen.
    again = pod.train(tmp_path / "again", pod.rows(80), store, **refused)
    assert again == summary


def test_a_crash_between_verdict_and_outcome_ends_the_same(tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    refused = challenger(champion, cause="Manual", quarantined=quarantined(store))

    def lost(operation: str, key: str) -> None:
        if (operation, key) == ("create", keys.outcome("e2", 1)):
            raise StoreUnavailable("down")

    store.before = lost
    with pytest.raises(StoreUnavailable):
        pod.train(tmp_path / "dies", pod.rows(40), store, **refused)
    store.before = lambda _operation, _key: None
    assert pod.train(tmp_path / "next", pod.rows(40), store, **refused).outcome is TrainingOutcome.QUARANTINED


def test_new_data_is_learned_from(tmp_path: Path, first: tuple[MemoryStore, dict[str, Any]]) -> None:
    store, champion = first
    summary = pod.train(
        tmp_path,
        pod.rows(80, flip_from=40),
        store,
        **challenger(champion, quarantined=quarantined(store), data={"window": "40d"}),
    )
    assert summary.outcome is TrainingOutcome.PUBLISHED
