"""Quality on labels: scores are scikit-learn's, breaches are sure, and what cannot be judged says why."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from stationkeeper.api.driftpolicy import Segment
from stationkeeper.api.manifest import Column, ColumnKind, Manifest, Score, Task
from stationkeeper.api.report import LabelCounts, QualityResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.quality.labels import TRUTH, Joined
from stationkeeper.workloads.quality.score import judge_quality
from stationkeeper.workloads.quality.verdict import Measured, Standard, decide, decide_segment
from tests.unit.workloads.quality.truths import World, check, manifest

GOOD = World(Task.BINARY, 2_000, 1)
BAD = World(Task.BINARY, 2_000, 1, flip=0.4)
MANY = World(Task.MULTICLASS, 2_000, 1)
NUMBERS = World(Task.REGRESSION, 2_000, 1)


def judged(
    world: World, metric: str, holdout: float | None = None, joined: Joined | None = None, **changes: Any
) -> QualityResult:
    """The result for the whole traffic, with this score on the holdout."""
    model = manifest(world.task, {} if holdout is None else {metric: holdout})
    return judge_quality(joined or world.joined(), model, check(metric, **changes))[0]


def _late(world: World) -> tuple[Any, Any]:
    assert world.predictions.probabilities is not None
    return world.truth == "late", world.predictions.probabilities[:, 1]


@pytest.mark.parametrize(
    ("world", "metric", "score", "constant"),
    [
        (GOOD, "roc_auc", sk.roc_auc_score(*_late(GOOD)), 0.5),
        (GOOD, "neg_log_loss", -sk.log_loss(*_late(GOOD)), -sk.log_loss(_late(GOOD)[0], np.full(2_000, _late(GOOD)[0].mean()))),
        (GOOD, "neg_brier_score", -sk.brier_score_loss(*_late(GOOD)), -_late(GOOD)[0].var()),
        (GOOD, "average_precision", sk.average_precision_score(*_late(GOOD)), _late(GOOD)[0].mean()),
        (GOOD, "accuracy", sk.accuracy_score(GOOD.truth, GOOD.predictions.labels), max(_late(GOOD)[0].mean(), 1 - _late(GOOD)[0].mean())),
        (GOOD, "f1", sk.f1_score(GOOD.truth, GOOD.predictions.labels, pos_label="late"), sk.f1_score(_late(GOOD)[0], np.ones(2_000))),
        (MANY, "accuracy", sk.accuracy_score(MANY.truth, MANY.predictions.labels), max(np.unique(MANY.truth, return_counts=True)[1]) / 2_000),
        (MANY, "roc_auc_ovr", sk.roc_auc_score(MANY.truth, MANY.predictions.probabilities, multi_class="ovr"), 0.5),
        (NUMBERS, "r2", sk.r2_score(NUMBERS.truth, NUMBERS.predictions.values), 0.0),
        (NUMBERS, "neg_mean_absolute_error", -sk.mean_absolute_error(NUMBERS.truth, NUMBERS.predictions.values),
         -np.abs(NUMBERS.truth - np.median(NUMBERS.truth)).mean()),
    ],
)  # fmt: skip
def test_scores_are_scikit_learns_and_skill_is_above_the_best_constant(
    world: World, metric: str, score: float, constant: float
) -> None:
    found = judged(world, metric, min=-1e9, maxDrop=None)
    assert found.score is not None
    assert found.score.value == pytest.approx(score, abs=1e-12)
    assert found.skill == pytest.approx(score - constant, abs=1e-12)
    assert found.score.low is not None
    assert found.score.high is not None
    assert found.score.low < score < found.score.high
    assert (found.verdict, found.threshold) == (Verdict.PASSED, -1e9)


@pytest.mark.parametrize(
    ("world", "metric", "holdout", "changes", "verdict", "says"),
    [
        (GOOD, "roc_auc", 0.80, {}, Verdict.PASSED, "within the 0.05 of maxDrop"),
        (GOOD, "roc_auc", 0.60, {}, Verdict.PASSED, "above the holdout's"),
        (GOOD, "roc_auc", 0.84, {}, Verdict.PASSED, "not surely over the 0.05 of maxDrop"),
        (BAD, "roc_auc", 0.78, {}, Verdict.BREACHED, "below the holdout's, surely more than the 0.05 of maxDrop"),
        (BAD, "roc_auc", 0.78, {"min": 0.7}, Verdict.BREACHED, "below the 0.7 of min and"),
        (BAD, "roc_auc", None, {"min": 0.7, "maxDrop": None}, Verdict.BREACHED, "below the 0.7 of min"),
        (GOOD, "roc_auc", None, {"min": 0.7, "maxDrop": None}, Verdict.PASSED, "not below the 0.7 of min"),
        (GOOD, "roc_auc", None, {}, Verdict.INSUFFICIENT_DATA, "the holdout has no score of this metric"),
        (BAD, "roc_auc", None, {"min": 0.7}, Verdict.BREACHED, "below the 0.7 of min"),
        (NUMBERS, "neg_mean_absolute_error", -0.5, {}, Verdict.BREACHED, "surely more than"),
    ],
)
def test_a_breach_is_below_min_or_surely_below_the_holdout(
    world: World, metric: str, holdout: float | None, changes: dict[str, Any], verdict: Verdict, says: str
) -> None:
    found = judged(world, metric, holdout, **changes)
    assert (found.verdict, says in found.message) == (verdict, True), found.message


def held(score: float, constant: float | None = None, low: float | None = None, rows: int = 0) -> Standard:
    return Standard(Score(value=score, low=low), constant, rows)


def measured(score: float, skill: float | None = None, spread: float = 0.02) -> Measured:
    def between(value: float) -> Score:
        return Score(value=value, low=value - spread, high=value + spread)

    return Measured(between(score), 1_000, None if skill is None else between(skill))


@pytest.mark.parametrize(
    ("now", "before", "verdict", "threshold"),
    [
        pytest.param(measured(-0.60, 0.034), held(-0.36, -0.39), Verdict.PASSED, -0.654, id="the base rate rose, the skill did not fall"),
        pytest.param(measured(0.77, 0.05), held(0.70, 0.50), Verdict.PASSED, 0.65, id="a constant is hard to beat, the score did not fall"),
        pytest.param(measured(0.60, 0.10), held(0.78, 0.28), Verdict.BREACHED, 0.73, id="both fell"),
        pytest.param(measured(0.70), held(0.78), Verdict.BREACHED, 0.73, id="the skill is not known"),
        pytest.param(measured(0.70), held(0.78, low=0.74), Verdict.PASSED, 0.73, id="the holdout may err too"),
        pytest.param(measured(0.70), held(0.78, rows=200), Verdict.PASSED, 0.73, id="a small holdout errs more"),
        pytest.param(measured(0.70), held(0.78, rows=100_000), Verdict.BREACHED, 0.73, id="a large one hardly"),
    ],
)  # fmt: skip
def test_a_drop_is_the_models_fault_as_far_as_score_and_skill_fell(
    now: Measured, before: Standard, verdict: Verdict, threshold: float
) -> None:
    decision = decide(now, before, check())
    assert decision.verdict is verdict, decision.message
    assert decision.threshold == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("now", "before", "changes", "verdict"),
    [
        (measured(0.60), held(0.78), {}, Verdict.BREACHED),
        (measured(0.76), held(0.78), {}, Verdict.PASSED),
        (measured(0.60), Standard(), {}, Verdict.INSUFFICIENT_DATA),
        (measured(0.69), held(0.78), {"min": 0.7, "maxDrop": None}, Verdict.PASSED),
        (measured(0.60), held(0.78), {"min": 0.7, "maxDrop": None}, Verdict.BREACHED),
        (measured(0.60), held(0.62), {"min": 0.7, "maxDrop": None}, Verdict.PASSED),
        (measured(0.50), held(0.62), {"min": 0.7}, Verdict.BREACHED),
    ],
    ids=["it fell", "it did not", "unknown", "perhaps below min", "surely below min", "accepted below min", "accepted, and fell further"],
)  # fmt: skip
def test_a_segment_is_held_against_its_own_past(
    now: Measured, before: Standard, changes: dict[str, Any], verdict: Verdict
) -> None:
    assert decide_segment(now, before, check(**changes)).verdict is verdict


def test_segments_follow_the_whole_and_only_the_broken_one_breaches() -> None:
    world = World(Task.BINARY, 4_000, 3)
    known = world.estimation()
    rows = world.joined().rows
    lost = pl.when(pl.col("input.carrier") == "UA").then(pl.lit("late")).otherwise(pl.col(TRUTH))
    broken = rows.with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then(lost).otherwise(pl.col(TRUTH)).alias(TRUTH))
    segments = [Segment(column="carrier"), Segment(column="x"), Segment(column="nope")]
    found = judge_quality(
        Joined(broken, LabelCounts(joined=4_000)), world.manifest, check("accuracy"), estimation=known, segments=segments
    )
    assert {result.segment: result.verdict for result in found[1:]} == {
        "carrier = AA": Verdict.PASSED,
        "carrier = UA": Verdict.BREACHED,
        "x = *": Verdict.ERROR,
        "nope = *": Verdict.ERROR,
    }
    assert "is numeric" in found[3].message
    assert "no feature of this revision" in found[4].message


def test_segments_are_bounded_and_small_or_new_ones_are_not_judged() -> None:
    world = World(Task.BINARY, 3_000, 3)
    rows = world.joined().rows.with_columns(
        pl.Series("input.carrier", ["AA"] * 2_000 + ["UA"] * 700 + ["B6"] * 150 + [None] * 150)
    )
    found = judge_quality(
        Joined(rows, LabelCounts()),
        world.manifest,
        check(),
        estimation=world.estimation(),
        segments=[Segment(column="carrier", max_values=2)],
    )
    assert [(result.segment, result.verdict, result.labels.joined) for result in found[1:]] == [
        ("carrier = AA", Verdict.PASSED, 2_000),
        ("carrier = UA", Verdict.PASSED, 700),
        ("carrier = (all other)", Verdict.INSUFFICIENT_DATA, 300),
    ]  # fmt: skip
    assert "too few rows of it to compare with" in found[3].message
    assert found[3].score is not None


@pytest.mark.parametrize(
    ("world", "metric", "says"),
    [
        (GOOD, "roc_auc_score", "'roc_auc_score' is not a scorer of scikit-learn; did you mean roc_auc"),
        (GOOD, "r2", "r2 judges a regression, and this model's task is binary; use for example accuracy"),
        (NUMBERS, "roc_auc", "roc_auc judges a classification, and this model's task is regression; use for example neg_mean"),
        (GOOD, "rand_score", "rand_score judges a clustering"),
        (MANY, "roc_auc", "roc_auc cannot be computed on these labels: multi_class must be in"),
        (MANY, "f1", "f1 cannot be computed on these labels: Target is multiclass"),
    ],
)
def test_a_metric_that_does_not_fit_is_an_error_that_says_so(world: World, metric: str, says: str) -> None:
    found = judged(world, metric)
    assert found.verdict is Verdict.ERROR
    assert found.message.startswith(says)


def test_without_probabilities_only_metrics_of_labels_are_judged() -> None:
    joined = GOOD.joined()
    labels = Joined(joined.rows.drop("output.probability"), joined.counts)
    assert "needs probabilities" in judged(GOOD, "roc_auc", joined=labels).message
    assert judged(GOOD, "accuracy", 0.7, joined=labels).verdict is Verdict.PASSED


def test_rows_of_another_kind_of_model_are_an_error() -> None:
    found = judged(GOOD, "accuracy", joined=NUMBERS.joined())
    assert (found.verdict, "output.label" in found.message) == (Verdict.ERROR, True)


@pytest.mark.parametrize(
    ("rows", "joined", "says"),
    [
        (199, {"counts": LabelCounts(joined=199, missing=7, conflicting=2), "waiting": 5},
         "199 matured labels are fewer than the 200 of minLabels; 5 rows wait for their labels to mature, 7 rows have none, 2 rows have"),
        (0, {"counts": LabelCounts(unknown=9), "strangers": True}, "none names a captured request: is labels.key the request id?"),
        (0, {"counts": LabelCounts(missing=3)}, "0 matured labels are fewer than the 200 of minLabels; 3 rows have none"),
    ],
)  # fmt: skip
def test_too_few_labels_are_insufficient_and_say_where_the_others_are(rows: int, joined: dict[str, Any], says: str) -> None:
    found = judged(GOOD, "roc_auc", 0.78, Joined(GOOD.joined().rows.head(rows), **joined))
    assert (found.verdict, found.score) == (Verdict.INSUFFICIENT_DATA, None)
    assert says in found.message


def test_labels_of_one_class_are_insufficient() -> None:
    rows = GOOD.joined().rows
    few = pl.concat([rows.filter(pl.col(TRUTH) == "early"), rows.filter(pl.col(TRUTH) == "late").head(29)])
    assert "fewer than 30 of a class" in judged(GOOD, "roc_auc", 0.78, Joined(few, LabelCounts())).message


def test_classes_that_were_never_learned_are_left_out_and_told() -> None:
    joined = GOOD.joined()
    row = pl.int_range(pl.len())
    strange = joined.rows.with_columns(pl.when(row % 10 == 0).then(pl.lit("cancelled")).otherwise(pl.col(TRUTH)).alias(TRUTH))
    found = judged(GOOD, "roc_auc", 0.78, Joined(strange, joined.counts))
    assert "10.0% of the labels are classes that the model never learned ('cancelled'): left out" in found.message
    assert "on 1800 labels" in found.message


def test_a_selected_part_says_so() -> None:
    joined = Joined(GOOD.joined().rows, LabelCounts(joined=2_000, unselected=800), selection="answers whose granted is 'yes'")
    found = judged(GOOD, "roc_auc", 0.78, joined)
    assert found.message.endswith("of answers whose granted is 'yes' only (800 others have no outcome)")


def test_the_positive_label_decides_what_is_late() -> None:
    rows = GOOD.joined().rows.with_columns(pl.col("output.probability").neg() + 1)  # of the class that is positive now
    model: Manifest = manifest(positive_label="early")
    found = judge_quality(Joined(rows, LabelCounts()), model, check(min=0.5, maxDrop=None))[0]
    assert found.score is not None
    assert found.score.value == pytest.approx(GOOD.score("roc_auc"))


def test_the_same_rows_give_the_same_result() -> None:
    again = [judge_quality(GOOD.joined(), manifest(metrics={"roc_auc": 0.78}), check(), seed=3) for _ in range(2)]
    assert again[0] == again[1]


def test_booleans_make_segments_too() -> None:
    world = World(Task.BINARY, 1_000, 3)
    model = world.manifest.model_copy(update={"features": [Column(name="night", kind=ColumnKind.BOOLEAN)]})
    rows = world.joined().rows.with_columns(pl.Series("input.night", [True, False] * 500))
    found = judge_quality(Joined(rows, LabelCounts()), model, check(min=0.1), segments=[Segment(column="night")])
    assert [result.segment for result in found[1:]] == ["night = false", "night = true"]


def odd(world: World, column: str, value: object, rows: int) -> Joined:
    """The first rows answered so."""
    joined = world.joined()
    first = pl.int_range(pl.len()) < rows
    return Joined(
        joined.rows.with_columns(pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)), joined.counts
    )


@pytest.mark.parametrize(
    ("world", "metric", "column", "value"),
    [
        (GOOD, "roc_auc", "output.probability", float("nan")),
        (GOOD, "roc_auc", "output.probability", float("inf")),
        (GOOD, "roc_auc", "output.probability", None),
        (GOOD, "roc_auc", "output.probability", 1.5),
        (GOOD, "accuracy", "output.label", "never heard of"),
        (GOOD, "accuracy", "output.label", None),
        (MANY, "neg_log_loss", "output.probability.rail", float("nan")),
        (NUMBERS, "neg_mean_absolute_error", "output.prediction", float("-inf")),
        (NUMBERS, "r2", "output.prediction", float("nan")),
    ],
)
def test_answers_that_are_none_are_left_out_and_told_and_many_are_an_error(
    world: World, metric: str, column: str, value: object
) -> None:
    """A model that is given what it never saw may overflow; one client must not blind the check, nor a broken model pass it."""
    few = judged(world, metric, joined=odd(world, column, value, 20), min=-1e9, maxDrop=None)
    assert few.verdict is Verdict.PASSED, few.message
    assert "20 of 2000 captured answers are no" in few.message
    assert "on 1980 labels" in few.message
    rest = Joined(world.joined().rows.slice(20), LabelCounts())
    assert few.score is not None
    assert few.score.value == judged(world, metric, joined=rest, min=-1e9, maxDrop=None).score.value  # type: ignore[union-attr]
    many = judged(world, metric, joined=odd(world, column, value, 21), min=-1e9, maxDrop=None)
    assert (many.verdict, many.score) == (Verdict.ERROR, None)
    assert many.message.endswith("the model fails on these inputs")


def test_a_probability_may_be_off_by_the_rounding_of_float32() -> None:
    rows = GOOD.joined().rows.with_columns(pl.col("output.probability") + 1e-6)
    sure = rows.with_columns(
        pl.when(pl.col("output.probability") > 0.9).then(1.0 + 1e-7).otherwise("output.probability").alias("output.probability")
    )
    assert judged(GOOD, "neg_brier_score", joined=Joined(sure, LabelCounts()), min=-1, maxDrop=None).verdict is Verdict.PASSED


def test_without_an_interval_nothing_is_sure_and_nothing_passes() -> None:
    """All late rows in one stretch of time: a third of the resamples has none."""
    rows = GOOD.joined().rows.sort(TRUTH, maintain_order=True)
    late = rows.filter(pl.col(TRUTH) == "late").head(60)
    early = rows.filter(pl.col(TRUTH) == "early")
    together = pl.concat([early.head(900), late]).with_columns(arrived_at=GOOD.joined().rows["arrived_at"].head(960))
    found = judged(GOOD, "roc_auc", 0.78, Joined(together, LabelCounts()))
    assert found.score is not None
    assert (found.verdict, found.score.low) == (Verdict.INSUFFICIENT_DATA, None)
    assert "nothing is sure" in found.message
    assert judged(GOOD, "roc_auc", 0.78, Joined(together, LabelCounts()), min=0.9).verdict is Verdict.BREACHED


def test_a_metric_without_a_best_constant_has_no_skill_and_is_judged() -> None:
    """Counts of which most are 0: a Poisson deviance wants answers above it, and the median is none."""
    world = World(Task.REGRESSION, 500, 2)
    joined = world.joined()
    counts = joined.rows.with_columns(pl.lit("0.0").alias(TRUTH), pl.lit(0.1).alias("output.prediction"))
    found = judged(world, "neg_mean_poisson_deviance", joined=Joined(counts, joined.counts), min=-1, maxDrop=None)
    assert found.score is not None
    assert found.score.value == pytest.approx(-0.2)
    assert (found.verdict, found.skill) == (Verdict.PASSED, None)


def test_score_and_constant_of_the_holdout_are_of_the_same_rows() -> None:
    """Beside a champion the gates score only the rows that it did not know; a skill over both would be of nothing."""
    known = GOOD.estimation()
    whole = known.expected["roc_auc"]
    gated = Score(value=whole.score - 0.1, low=whole.score - 0.12, high=whole.score - 0.08)
    assert Standard.of(manifest(metrics={"roc_auc": gated}), "roc_auc", known) == Standard(
        Score(value=whole.score), whole.constant, 2_000
    )
    same = Score(value=whole.score, low=whole.score - 0.02, high=whole.score + 0.02)
    assert Standard.of(manifest(metrics={"roc_auc": same}), "roc_auc", known) == Standard(same, whole.constant, 2_000)
    assert Standard.of(manifest(metrics={"roc_auc": gated}), "roc_auc", None) == Standard(gated, None, 5_000)
