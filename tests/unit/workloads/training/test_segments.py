"""Parts of the rows, budgets and the anchor: what else a challenger must prove."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.stats import t

from stationkeeper.api.evaluation import Budget, Gate
from stationkeeper.api.manifest import EvaluationRecord, GateResult, Task
from stationkeeper.api.status import Cause, TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training import bootstrap
from stationkeeper.workloads.training.bench import Bench
from stationkeeper.workloads.training.budget import judge_budget, latency
from stationkeeper.workloads.training.gates import Gain, decide, judge, judge_anchor
from stationkeeper.workloads.training.metrics import Answers
from stationkeeper.workloads.training.segments import MAX_PARTS, _student, judge_segments
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

MAE = "neg_mean_absolute_error"
T0 = datetime(2013, 1, 1, tzinfo=UTC)


def bench(ours: NDArray[np.float64], theirs: NDArray[np.float64] | None) -> Bench:
    truth = np.zeros(len(ours))
    champion = None if theirs is None else Answers.of_values(theirs, truth)
    return Bench(Task.REGRESSION, Answers.of_values(ours, truth), champion, None, 7)


def judged(
    carriers: list[str | None], ours: NDArray[np.float64], theirs: NDArray[np.float64], limit: float = 0.1, timed: bool = False
) -> list[GateResult]:
    gate = Gate(metric=MAE, max_drop=limit, segments=["carrier"])
    times = bootstrap.microseconds([T0 + timedelta(hours=i) for i in range(len(ours))]) if timed else None
    return judge_segments([gate], bench(ours, theirs), pl.DataFrame({"carrier": carriers}), times, None)


def verdicts(results: list[GateResult]) -> dict[str | None, str]:
    return {result.segment: result.verdict for result in results}


@pytest.mark.parametrize("timed", [False, True])
def test_a_part_that_is_surely_worse_refuses_though_the_whole_gains(timed: bool) -> None:
    rng = np.random.default_rng(0)
    carriers = ["AA", "UA"] * 200
    theirs = rng.uniform(0.9, 1.1, 400)
    ours = np.where(np.array(carriers) == "AA", 0.2, 1.5)
    results = judged(carriers, ours, theirs, timed=timed)
    assert verdicts(results) == {"carrier = AA": "Passed", "carrier = UA": "Refused"}
    assert "where carrier = UA (200 rows)" in results[1].message
    decision = decide(results, Cause.DRIFT, Gain(0.3, 0.3), 1, None)
    assert (decision.accepted, decision.reason) == (False, "GateRefused")


def test_a_part_that_may_be_worse_passes() -> None:
    """The whole must prove that it is no worse; of a part, which is small, that is not asked."""
    rng = np.random.default_rng(1)
    ours, theirs = rng.uniform(0, 2, 40), rng.uniform(0, 2, 40)
    (result,) = judged(["AA"] * 40, ours + 0.1, theirs)
    assert result.verdict == "Passed"
    assert result.drop is not None
    assert result.drop.low < 0.1 < result.drop.high  # type: ignore[operator]


def test_small_parts_are_not_judged_and_that_is_said() -> None:
    carriers = ["AA"] * 100 + ["HA"] * 29 + [None] * 5
    results = judged(carriers, np.ones(134), np.ones(134))
    assert verdicts(results) == {"carrier = AA": "Passed", "carrier": "NotApplicable"}
    assert results[1].message == "not judged for want of rows: HA, (missing)"


def test_where_no_part_can_be_judged_nothing_is_proven() -> None:
    results = judged([f"N{i}" for i in range(100)], np.ones(100), np.ones(100))
    assert verdicts(results) == {"carrier": "InsufficientData"}
    decision = decide(results, Cause.SCHEDULE, Gain(0.1, 0.1), 1, None)
    assert decision.reason == "InsufficientEvidence"
    assert decision.message.startswith(f"{MAE} carrier: no value of 'carrier' has 30 rows")


def test_only_the_largest_parts_are_looked_at() -> None:
    carriers = [f"C{i}" for i in range(MAX_PARTS + 3) for _ in range(40)]
    results = judged(carriers, np.ones(len(carriers)), np.ones(len(carriers)))
    assert len(results) == MAX_PARTS + 1
    assert results[-1].message == "3 rarer values were not looked at"


def test_many_parts_of_an_equal_challenger_do_not_refuse_it_by_chance() -> None:
    rng = np.random.default_rng(5)
    carriers = [f"C{i}" for i in range(20) for _ in range(60)]
    refused = 0
    for _ in range(12):  # at one in forty, three of twelve would come once in three hundred
        ours, theirs = rng.normal(size=1200), rng.normal(size=1200)
        refused += any(result.verdict == "Refused" for result in judged(carriers, ours, theirs, limit=0.0, timed=True))
    assert refused <= 2


@pytest.mark.parametrize("freedom", [19, 30, 200])
@pytest.mark.parametrize("probability", [0.975, 0.999, 0.9997])
def test_students_quantile(freedom: int, probability: float) -> None:
    assert _student(probability, freedom) == pytest.approx(t.ppf(probability, freedom), rel=0.01)


@pytest.mark.parametrize(
    ("paired", "incomparable", "verdict"),
    [(None, None, "NotApplicable"), (None, "other columns", "InsufficientData"), (29, None, "InsufficientData")],
)
def test_without_rows_to_compare_on(paired: int | None, incomparable: str | None, verdict: str) -> None:
    gate = Gate(metric=MAE, max_drop=0.1, segments=["carrier"])
    made = bench(np.ones(paired), np.ones(paired)) if paired else None
    rows = pl.DataFrame({"carrier": ["AA"] * (paired or 0)})
    assert [r.verdict for r in judge_segments([gate], made, rows, None, incomparable)] == [verdict]


class Slow:
    """Answers after a while."""

    def __init__(self, seconds: list[float]) -> None:
        self.meaning: Any = pod.config()
        self.meaning = type("Meaning", (), {"features": []})()
        self.clock = 0.0
        self.seconds = seconds
        self.asked = 0

    def predict(self, _columns: Any) -> Predictions:
        self.clock += self.seconds[self.asked % len(self.seconds)]
        self.asked += 1
        return Predictions()

    def answer(self, _data: Any) -> Predictions:
        raise AssertionError


def test_a_budget_of_latency_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow([0.001] * 18 + [0.009] * 2)
    monkeypatch.setattr("stationkeeper.workloads.training.budget.time.perf_counter", lambda: slow.clock)
    frame = pl.DataFrame({"x": [1.0, 2.0]})
    assert latency(slow, frame) == pytest.approx(0.009)
    budget = Budget(latency="5ms", size="2Mi")
    results = judge_budget(budget, slow, 3 * 2**20, frame)
    assert [(r.metric, r.bound, r.verdict) for r in results] == [("size", "max", "Refused"), ("latency", "max", "Refused")]
    assert results[0].message == "the model has 3.00 MiB, more than 2Mi"
    assert results[1].message == "95 of 100 single rows are answered within 9.00 ms, more than 5ms"
    assert [r.verdict for r in judge_budget(Budget(latency="9ms", size="3Mi"), slow, 3 * 2**20, frame)] == ["Passed"] * 2
    assert judge_budget(None, slow, 1, frame) == []
    assert [Budget(size=size).bytes for size in ("1Ki", "2Mi", "3Gi")] == [2**10, 2 * 2**20, 3 * 2**30]


def test_what_these_rows_can_tell_apart_is_said() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random(200)
    ours = theirs + rng.normal(scale=0.5, size=200)
    (result,) = judge([Gate(metric=MAE, max_drop=0.001)], bench(ours, None), bench(ours, theirs), None)
    assert result.verdict == "Refused"
    assert result.resolves is not None
    assert result.drop is not None
    assert result.resolves == pytest.approx((result.drop.high or 0) - result.drop.value)
    assert f"these rows tell only drops beyond {result.resolves:.4f} from none" in result.message


@pytest.mark.parametrize(("worse", "verdict"), [(0.0, "Passed"), (0.05, "Passed"), (0.2, "Refused")])
def test_the_anchor_holds_back_whoever_falls_below_it(worse: float, verdict: str) -> None:
    gates = [Gate(metric=MAE, min=-9), Gate(metric=MAE, max_drop=0.1)]
    (result,) = judge_anchor(gates, bench(np.full(40, 1.0 + worse), np.full(40, 1.0)), 3, None)
    assert (result.bound, result.verdict) == ("anchor", verdict)
    if verdict == "Refused":
        assert "below that of revision 3, the anchor" in result.message


def test_an_anchor_that_cannot_answer_holds_nobody_back_and_is_told() -> None:
    (result,) = judge_anchor([Gate(metric=MAE, max_drop=0.1)], None, 3, "its files have been deleted")
    assert result.verdict == "NotApplicable"
    assert result.message == "revision 3, the anchor, cannot be compared with: its files have been deleted"


# The whole pod.


def two(tmp: Path, frame: pl.DataFrame, **changes: Any) -> tuple[MemoryStore, TrainingSummary]:
    """A first revision that knows days 0 to 39, and a second training on `frame`."""
    store = MemoryStore()
    first = pod.train(tmp / "1", pod.rows(40), store)
    base = {"episode": "e2", "revision": 2, "cause": "Schedule", "champion": {"number": 1, "digest": first.digest}}
    return store, pod.train(tmp / "2", frame, store, **(base | changes))


SEGMENTED = [{"metric": "roc_auc", "min": 0.5}, {"metric": "roc_auc", "maxDrop": 0.4, "segments": ["region"]}]
NAMED = {"features": ["x", "count", "colour", "member"]}


def test_a_column_that_is_no_feature_may_part_the_rows(tmp_path: Path) -> None:
    """Where the truth is turned round for the challenger alone, it is worse than the champion there."""
    frame = pod.rows(80, 40, seed=3)
    region = pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("north")).otherwise(pl.lit("south"))
    frame = frame.with_columns(region=region)
    store, summary = two(tmp_path, frame, gates=SEGMENTED, data=NAMED)
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    manifest = load_manifest(store, summary.digest or "")
    assert "region" not in {feature.name for feature in manifest.features}
    assert [gate.segment for gate in manifest.evaluation.gates] == [None, None, "region = south", "region = north"]
    assert all(gate.champion for gate in manifest.evaluation.gates[2:])


def test_a_missing_segment_column_is_told(tmp_path: Path) -> None:
    summary = pod.train(tmp_path, pod.rows(), gates=SEGMENTED, data=NAMED)
    assert (summary.outcome, summary.reason) == (TrainingOutcome.INVALID_DATA, "MissingSegmentColumn")
    assert "'region'" in summary.message


def test_a_model_beyond_its_budget_is_judged_and_not_published(tmp_path: Path) -> None:
    store = MemoryStore()
    summary = pod.train(tmp_path, pod.rows(), store, evaluation={"budget": {"size": "1Ki", "latency": "60s"}})
    assert (summary.outcome, summary.reason) == (TrainingOutcome.REFUSED, "GateRefused")
    assert "more than 1Ki" in summary.message
    assert summary.metrics, "what it scored is told nevertheless"
    kept = EvaluationRecord.model_validate_json(store.objects[keys.evaluation("e1", 1)])
    assert [(gate.metric, gate.verdict) for gate in kept.gates[-2:]] == [("size", "Refused"), ("latency", "Passed")]
    assert not [key for key in store.objects if key.startswith(("blobs/", "manifests/"))]


def test_a_budget_that_is_kept_is_recorded(tmp_path: Path) -> None:
    store = MemoryStore()
    summary = pod.train(tmp_path, pod.rows(), store, evaluation={"budget": {"size": "64Mi", "latency": "60s"}})
    manifest = load_manifest(store, summary.digest or "")
    assert [(g.metric, g.verdict) for g in manifest.evaluation.gates[-2:]] == [("size", "Passed"), ("latency", "Passed")]
    served = manifest.files["model.onnx" if manifest.format == "onnx" else "model.skops"].size
    assert manifest.evaluation.gates[-2].challenger is not None
    assert manifest.evaluation.gates[-2].challenger.value == served


def test_the_status_says_what_the_holdout_can_tell(tmp_path: Path) -> None:
    store, summary = two(tmp_path, pod.rows(80))
    judged = load_manifest(store, summary.digest or "").evaluation
    resolved = next(gate.resolves for gate in judged.gates if gate.bound == "maxDrop")
    assert resolved
    assert summary.resolves == pytest.approx(resolved)
    assert summary.message.endswith(f"; a drop of {resolved:.4f} or more would have been seen")


@pytest.mark.parametrize("gone", [False, True])
def test_the_pod_asks_the_anchor_too(tmp_path: Path, gone: bool) -> None:
    """The champion is a poor one; what equals it is below the revision before it."""
    store = MemoryStore()
    good = pod.train(tmp_path / "1", pod.rows(40), store)
    dummy = {"estimator": {"class": "sklearn.dummy.DummyClassifier"}, "gates": [{"metric": "accuracy", "min": 0.1}]}
    poor = pod.train(tmp_path / "2", pod.rows(60), store, episode="e2", revision=2, **dummy)
    assert poor.outcome is TrainingOutcome.PUBLISHED, poor.message
    if gone:
        del store.objects[keys.manifest(good.digest or "")]
    gates = [{"metric": "accuracy", "min": 0.1}, {"metric": "accuracy", "maxDrop": 0.2}]
    identities = {"champion": {"number": 2, "digest": poor.digest}, "anchor": {"number": 1, "digest": good.digest}}
    third = pod.train(
        tmp_path / "3",
        pod.rows(90),
        store,
        episode="e3",
        revision=3,
        cause="Schedule",
        **(dummy | {"gates": gates}),
        **identities,
    )
    if gone:
        assert third.outcome is TrainingOutcome.PUBLISHED, third.message
        record = load_manifest(store, third.digest or "").evaluation
        assert (record.anchor_number, record.gates[-1].bound, record.gates[-1].verdict) == (1, "anchor", "NotApplicable")
    else:
        assert (third.outcome, third.reason) == (TrainingOutcome.REFUSED, "GateRefused")
        assert "below that of revision 1, the anchor" in third.message
