"""Estimates against the truth of simulated worlds: right under covariate shift, withheld when labels contradict them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestRegressor

from stationkeeper.api.manifest import Task
from stationkeeper.api.report import LabelCounts, QualityResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.quality.estimate import Proof, estimate
from stationkeeper.workloads.quality.labels import TRUTH, Joined
from stationkeeper.workloads.training.calibration import Curve, fit_curve
from stationkeeper.workloads.training.estimation import Estimation
from stationkeeper.workloads.training.losses import fit_losses
from tests.unit.workloads.quality.truths import FEATURES, World, check

HOLDOUT = 5_000
WINDOW = 2_000


@cache
def learned(task: Task) -> Estimation:
    return World(task, HOLDOUT, 1).estimation()


def estimated(world: World, metric: str, proof: Proof | None = None, **changes: Any) -> QualityResult:
    return estimate(world.captured(), world.manifest, check(metric, **changes), learned(world.task), proof or Proof())


@pytest.mark.parametrize(
    ("task", "metric", "near"),
    [
        (Task.BINARY, "roc_auc", 0.03),
        (Task.BINARY, "neg_log_loss", 0.06),
        (Task.BINARY, "neg_brier_score", 0.02),
        (Task.BINARY, "accuracy", 0.02),
        (Task.BINARY, "f1", 0.03),
        (Task.MULTICLASS, "accuracy", 0.03),
        (Task.MULTICLASS, "neg_log_loss", 0.06),
        (Task.REGRESSION, "neg_mean_absolute_error", 0.1),
        (Task.REGRESSION, "neg_root_mean_squared_error", 0.15),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 0.8, -0.8])
def test_estimates_follow_the_truth_when_inputs_shift(task: Task, metric: str, near: float, shift: float) -> None:
    world = World(task, HOLDOUT, 7, shift=shift)
    found = estimated(world, metric)
    assert found.score is not None
    assert found.score.value == pytest.approx(world.score(metric), abs=near)


@pytest.mark.parametrize(
    ("task", "metric"), [(Task.BINARY, "roc_auc"), (Task.BINARY, "accuracy"), (Task.REGRESSION, "neg_mean_absolute_error")]
)
def test_the_interval_holds_the_truth_in_nineteen_windows_of_twenty(task: Task, metric: str) -> None:
    inside = 0
    for seed in range(40):
        world = World(task, WINDOW // 2, 100 + seed, shift=0.5 * (seed % 3 - 1))
        score = estimated(world, metric).score
        assert score is not None
        assert score.low is not None
        assert score.high is not None
        inside += score.low <= world.score(metric) <= score.high
    assert inside >= 35  # of 40 at 95 %: fewer in 1 of 60 suites, were windows all there is


def test_an_estimate_beats_the_holdout_where_inputs_decide_how_hard_it_is() -> None:
    """The accuracy on the holdout says nothing of a month of hard cases; the estimate does."""
    errors = []
    for seed in range(10):
        world = World(Task.BINARY, WINDOW, seed + 50, shift=1.5)
        score = estimated(world, "accuracy").score
        assert score is not None
        true = world.score("accuracy")
        errors.append((abs(score.value - true), abs(learned(Task.BINARY).expected["accuracy"].score - true)))
    ours, holdouts = np.mean(errors, axis=0)
    assert ours < holdouts / 3


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        (Task.BINARY, "roc_auc"),
        (Task.BINARY, "neg_log_loss"),
        (Task.MULTICLASS, "accuracy"),
        (Task.REGRESSION, "neg_mean_absolute_error"),
    ],
)
def test_under_concept_drift_it_is_wrong_and_the_next_labels_withhold_it(task: Task, metric: str) -> None:
    drifted = World(task, WINDOW, 3, flip=0.4)
    blind = estimated(drifted, metric)  # nobody knows yet
    assert blind.score is not None
    assert blind.score.low is not None
    assert drifted.score(metric) < blind.score.low
    assert blind.message.endswith("no labels have confirmed it yet")
    seen = estimated(drifted, metric, Proof(drifted.joined()))
    assert (seen.score, seen.verdict) == (None, Verdict.INSUFFICIENT_DATA)
    assert seen.withheld is not None
    assert "contradict it" in seen.withheld


@pytest.mark.parametrize("task", list(Task))
def test_labels_of_shifted_inputs_confirm_it(task: Task) -> None:
    metric = "neg_mean_absolute_error" if task is Task.REGRESSION else "accuracy"
    found = estimated(World(task, WINDOW, 3), metric, Proof(World(task, WINDOW, 4, shift=0.5).joined()), maxDrop=0.2)
    assert (found.verdict, found.withheld) == (Verdict.PASSED, None)
    assert "bear it out" in found.message


def strange(share: float) -> Joined:
    rows = World(Task.BINARY, WINDOW, 4).joined().rows
    new = pl.int_range(pl.len()) < share * WINDOW
    return Joined(rows.with_columns(pl.when(new).then(pl.lit("cancelled")).otherwise(pl.col(TRUTH)).alias(TRUTH)), LabelCounts())


NORMAL = World(Task.BINARY, WINDOW, 3)
UNASKED = World(Task.REGRESSION, WINDOW, 3)
Ask = Callable[[], QualityResult]


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda: estimate(NORMAL.captured(), NORMAL.manifest, check(), None), "the next training stores it"),
        (lambda: estimated(NORMAL, "roc_auc", Proof(broken="distance is missing")), "the data is broken (distance is missing)"),
        (lambda: estimated(NORMAL, "roc_auc", Proof(strange(0.02))), "classes that the model never learned"),
        (lambda: estimate(NORMAL.captured().drop("output.probability"), NORMAL.manifest, check("accuracy"), learned(Task.BINARY)),
         "this model gives no probabilities"),
        (lambda: estimated(UNASKED, "r2"), "r2 cannot be estimated, only neg_mean_absolute_error"),
        (lambda: estimated(World(Task.MULTICLASS, WINDOW, 3), "roc_auc_ovo"), "roc_auc_ovo cannot be estimated"),
    ],
    ids=["an old revision", "broken data", "unseen classes", "no probabilities", "r2", "a metric without weights"],
)  # fmt: skip
def test_it_is_withheld_with_the_reason(ask: Ask, why: str) -> None:
    found = ask()
    assert (found.score, found.verdict) == (None, Verdict.INSUFFICIENT_DATA)
    assert why in str(found.withheld)
    assert found.message == f"no estimate: {found.withheld}"


def test_a_few_unseen_classes_do_not_withhold_it() -> None:
    assert estimated(NORMAL, "roc_auc", Proof(strange(0.002))).withheld is None


@pytest.mark.parametrize(("rows", "verdict"), [(20, Verdict.PASSED), (21, Verdict.ERROR)])
def test_answers_that_are_no_numbers_are_left_out_and_told_and_many_are_an_error(rows: int, verdict: Verdict) -> None:
    first = pl.int_range(pl.len()) < rows
    name = "output.probability"
    captured = NORMAL.captured().with_columns(pl.when(first).then(float("nan")).otherwise(pl.col(name)).alias(name))
    found = estimate(captured, NORMAL.manifest, check(maxDrop=0.2), learned(Task.BINARY))
    assert (found.verdict, f"{rows} of 2000 captured answers are no" in found.message) == (verdict, True), found.message


def test_labels_of_one_class_do_not_confirm_it() -> None:
    joined = NORMAL.joined()
    late = Joined(joined.rows.with_columns(pl.lit("late").alias(TRUTH)), joined.counts)
    assert "has no value on the last 2000 labels: they do not confirm it" in estimated(NORMAL, "roc_auc", Proof(late)).message


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: estimated(NORMAL, "r2"), "judges a regression"),
        (lambda: estimated(UNASKED, "roc_auc"), "judges a classification"),
        (lambda: estimate(UNASKED.captured(), NORMAL.manifest, check(), learned(Task.BINARY)), "output.label"),
        (lambda: estimate(UNASKED.captured().drop("input.x"), UNASKED.manifest, check("neg_mean_absolute_error"),
                          learned(Task.REGRESSION)), "'x': is missing"),
    ],
    ids=["a metric of regressions", "a metric of classes", "rows of another model", "a missing feature"],
)  # fmt: skip
def test_what_cannot_be_estimated_at_all_is_an_error(ask: Ask, says: str) -> None:
    found = ask()
    assert (found.verdict, says in found.message) == (Verdict.ERROR, True), found.message


def test_too_few_rows_are_insufficient() -> None:
    found = estimated(World(Task.BINARY, 199, 1), "roc_auc")
    assert (found.verdict, found.message) == (Verdict.INSUFFICIENT_DATA, "199 rows are fewer than the 200 of minLabels")


def test_too_few_labels_neither_confirm_nor_contradict() -> None:
    few = World(Task.BINARY, 150, 3, flip=0.5)
    assert "the last 150 labels are too few to confirm it" in estimated(NORMAL, "roc_auc", Proof(few.joined())).message


def test_the_same_rows_give_the_same_estimate() -> None:
    assert estimated(NORMAL, "roc_auc") == estimated(NORMAL, "roc_auc")


@pytest.mark.parametrize("rows", [400, 20_000])
def test_a_curve_finds_how_probabilities_come_true(rows: int) -> None:
    """By a sigmoid on few rows, by steps on many."""
    rng = np.random.default_rng(0)
    true = 1 / (1 + np.exp(-rng.normal(-1, 1.5, rows)))
    said = true**2 / (true**2 + (1 - true) ** 2)  # twice too sure
    curve = fit_curve(said, rng.random(rows) < true)
    assert np.abs(curve.apply(said) - true).mean() < (0.05 if rows < 1_000 else 0.015)
    assert np.abs(said - true).mean() > 0.09
    assert (np.diff(curve.observed) >= 0).all()
    assert (np.diff(curve.predicted) > 0).all()


@pytest.mark.parametrize(
    ("said", "came"),
    [
        (np.full(50, 0.3), np.arange(50) % 3 == 0),
        (np.linspace(0, 1, 50), np.zeros(50, dtype=bool)),
        (np.linspace(0, 1, 50), np.ones(50, dtype=bool)),
        (np.repeat([0.0, 1.0], 1_000), np.repeat([False, True], 1_000)),
        (np.array([0.5]), np.array([True])),
    ],
    ids=["one probability", "never true", "always true", "certain and right", "one row"],
)
def test_a_curve_of_odd_rows_stays_a_probability(said: Any, came: Any) -> None:
    curve = fit_curve(said, came)
    for observed in (None, curve.draws(np.random.default_rng(0), 1)[0]):
        applied = curve.apply(np.linspace(0, 1, 11), observed)
        assert ((applied >= 0) & (applied <= 1)).all()


def test_every_point_of_a_curve_rests_on_fifty_rows() -> None:
    """Also where most rows share a probability, between which quantiles leave a few."""
    rng = np.random.default_rng(0)
    said = np.concatenate((np.full(1_500, 0.2), np.full(1_500, 0.7), rng.random(60)))
    came = rng.random(len(said)) < said
    curve = fit_curve(said, came)
    assert min(curve.rows) >= 50
    assert sum(dict(zip(curve.observed, curve.rows, strict=True)).values()) == len(said)


def test_drawn_curves_never_fall_and_lie_about_what_was_seen() -> None:
    rng = np.random.default_rng(1)
    said = rng.random(5_000)
    curve = fit_curve(said, rng.random(5_000) < said)
    drawn = curve.draws(rng, 500)
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert drawn.mean(axis=0) == pytest.approx(np.array(curve.observed), abs=0.02)


def test_drawn_curves_spread_as_rows_allow() -> None:
    curve = Curve(predicted=[0.2, 0.8], observed=[0.2, 0.8], rows=[100, 10_000])
    rng = np.random.default_rng(0)
    drawn = curve.draws(rng, 2_000)
    assert drawn.std(axis=0) == pytest.approx([0.04, 0.004], rel=0.1)


def test_the_forest_answers_as_the_one_it_was_taken_from() -> None:
    rng = np.random.default_rng(0)
    rows, x = 3_000, rng.normal(size=3_000)
    columns = {
        "x": np.where(rng.random(rows) < 0.1, np.nan, x),
        "carrier": rng.choice(np.array(["AA", "UA", None], dtype=object), rows),
    }
    said, truth = 2 * x, 2 * x + rng.normal(size=rows) * np.exp(0.4 * x)
    losses = fit_losses(said, truth, columns, FEATURES, 5)
    points = losses.points(said, columns, FEATURES)
    errors = np.abs(said - truth)
    forest = RandomForestRegressor(
        20, max_leaf_nodes=32, min_samples_leaf=50, max_features=0.5, n_jobs=1, random_state=5
    ).fit(points, errors)  # fmt: skip
    for tree, original in zip(losses.trees, forest.estimators_, strict=True):
        assert (tree.leaves(points) == original.apply(points)).all()
        assert min(np.array(tree.rows)[np.array(tree.feature) < 0]) >= 50


@pytest.mark.parametrize("task", list(Task))
def test_what_was_learned_is_read_back_as_it_was_written(task: Task) -> None:
    data = learned(task).encode()
    assert Estimation.decode(data) == learned(task)
    assert World(task, HOLDOUT, 1).estimation().encode() == data


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"schemaVersion": 2, "rows": 1, "expected": {}}'])
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedArtifact, match="not an estimation that this version can read"):
        Estimation.decode(data)
