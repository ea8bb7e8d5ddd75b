"""Challengers of one episode: each further one must be twice as sure, so that luck does not open the gates in the end."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from stationkeeper.api.evaluation import Gate
from stationkeeper.api.manifest import EvaluationRecord, GateResult, Task
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import StoreUnavailable
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.training import bootstrap
from stationkeeper.workloads.training.bench import Bench, compare
from stationkeeper.workloads.training.gates import judge
from stationkeeper.workloads.training.looks import look
from stationkeeper.workloads.training.metrics import Answers
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

MAE = "neg_mean_absolute_error"
PLAIN = {"class": "sklearn.linear_model.LogisticRegression"}
NEVER = [{"metric": "roc_auc", "min": 0.999}]


def bench(number: int, rows: int = 200, worse: float = 0.1, seed: int = 3) -> Bench:
    """Errors of two models on the same rows; the challenger's are larger, by as much on average."""
    rng = np.random.default_rng(seed)
    theirs = 2 + rng.exponential(0.5, rows)
    ours = theirs + worse + rng.normal(0, 0.5, rows)
    truth = np.zeros(rows)
    return Bench(Task.REGRESSION, Answers.of_values(ours, truth), Answers.of_values(theirs, truth), None, 7, number)


def test_each_look_errs_by_half_as_much_until_the_fifth() -> None:
    assert [bootstrap.surer(number) for number in (1, 2, 3, 4, 5, 6, 20)] == [1, 2, 4, 8, 16, 16, 16]
    # As many resamples lie beyond an end of the interval as ever: seven or eight.
    assert [len(bench(number).resampled(bench(number).challenger, MAE)) for number in (1, 3)] == [300, 1200]


def test_what_decides_moves_away_from_the_challenger_and_what_is_reported_does_not() -> None:
    found = [compare(bench(number), MAE) for number in (1, 2, 3, 4)]
    assert len({pair.drop.value for pair in found}) == 1
    highs, gains = [pair.drop.high or 0 for pair in found], [pair.gain or 0 for pair in found]
    assert highs == sorted(highs)
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == -found[0].drop.value, "the first look takes what it saw"
    error = 0.5 / np.sqrt(200)  # of the mean difference
    assert highs[0] - found[0].drop.value == pytest.approx(1.96 * error, rel=0.15)
    assert highs[3] - found[3].drop.value == pytest.approx(2.73 * error, rel=0.15)  # of 2.5 % / 8
    assert gains[1] - gains[0] == pytest.approx(-0.67 * error, rel=0.2)  # of one in four
    assert found[3].challenger.low == pytest.approx(found[0].challenger.low or 0, abs=0.02), "a score keeps its 95 %"


@pytest.mark.parametrize(
    ("gate", "number", "verdict"),
    [
        (Gate(metric=MAE, max_drop=0.18), 1, "Passed"),
        (Gate(metric=MAE, max_drop=0.18), 4, "Refused"),
        (Gate(metric=MAE, min=-2.7), 1, "Passed"),
        (Gate(metric=MAE, min=-2.7), 4, "Refused"),
    ],
)
def test_what_passes_at_first_may_be_refused_later(gate: Gate, number: int, verdict: str) -> None:
    made = bench(number)
    (result,) = judge([gate], made, made, None)
    assert result.verdict == verdict, result
    assert ("look 4 of this episode, which must be 8 times as sure" in result.message) == (number == 4)


def passed(rng: np.random.Generator, drop: float, limit: float | None, times: list[int]) -> bool:
    """Whether any of the challengers of an episode passes, each on rows of its own: by maxDrop, or without a limit by its gain."""
    for surer in times:
        drops = rng.normal(drop, 0.5, 60)
        resampled = drops[rng.integers(0, 60, (300 * surer, 60))].mean(axis=1)
        if limit is None:
            counted = bootstrap.quantiles(-resampled, [0.5 / surer]) if surer > 1 else [-drops.mean()]
            if counted and counted[0] > 0:
                return True
            continue
        found = bootstrap.interval(resampled, bootstrap.TAIL / surer)
        if found and found[1] <= limit:
            return True
    return False


@pytest.mark.parametrize(
    ("drop", "limit", "least", "most"),
    [
        (0.1, 0.1, 0.09, 0.075),  # it loses just what is too much: 2.5 % pass at a look, 10 % as often, 4.7 % if each is surer
        (0.0, None, 0.90, 0.75),  # it gains nothing: half of them look as if they did, 94 % as often, 69 % if each is surer
    ],
)
def test_four_looks_let_fewer_pass_that_should_not(drop: float, limit: float | None, least: float, most: float) -> None:
    rng, times = np.random.default_rng(5), [bootstrap.surer(number) for number in (1, 2, 3, 4)]
    as_often = np.mean([passed(rng, drop, limit, [1] * 4) for _ in range(400)])
    surer = np.mean([passed(rng, drop, limit, times) for _ in range(400)])
    assert as_often > least
    assert surer < most


def record(*verdicts: str) -> bytes:
    gates = [GateResult.model_validate({"metric": "m", "bound": "min", "limit": 0, "verdict": verdict}) for verdict in verdicts]
    return EvaluationRecord(holdout_rows=100, metrics={}, gates=gates, refit="None").model_dump_json(by_alias=True).encode()


def test_earlier_challengers_of_the_same_episode_count_and_nothing_else() -> None:
    store = MemoryStore(
        {
            keys.evaluation("e1", 1): record("Passed", "Refused"),
            keys.evaluation("e1", 2): record("Passed", "InsufficientData"),  # nothing was left to luck
            keys.outcome("e1", 3): b"{}",  # it waited, or failed
            keys.evaluation("e1", 4): record("Passed"),  # it gained nothing
            keys.evaluation("e1", 11): record("Refused"),
            keys.evaluation("e11", 1): record("Refused"),
        }
    )
    assert [look(pod.config(attempt=attempt), store) for attempt in (1, 2, 3, 4, 5, 11, 12)] == [1, 2, 2, 2, 3, 3, 4]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A store with a champion and three challengers of episode e2 that were refused, and what the fourth is told."""
    store = MemoryStore()
    with threadpool_limits(1):
        first = pod.train(tmp_path_factory.mktemp("first"), pod.rows(40, seed=3), store, estimator=PLAIN)
        told = {"champion": {"number": 1, "digest": first.digest}, "cause": "Drift", "revision": 2, "estimator": PLAIN}
        for attempt, days in ((1, 50), (2, 60), (3, 70)):
            where, rows = tmp_path_factory.mktemp("challenger"), pod.rows(days, seed=3)
            challenger = pod.train(where, rows, store, episode="e2", attempt=attempt, gates=NEVER, **told)
            assert challenger.outcome is TrainingOutcome.REFUSED, challenger.message
    return store.objects, told


def test_a_gain_by_luck_is_published_at_the_first_look_and_not_at_the_fourth(
    tmp_path: Path, refused: tuple[dict[str, bytes], dict[str, Any]]
) -> None:
    objects, told = refused
    rows = pod.rows(80, seed=3)  # the same world: there is nothing to cure
    once = pod.train(tmp_path / "1", rows, MemoryStore(dict(objects)), episode="e3", **told)
    assert once.outcome is TrainingOutcome.PUBLISHED, once.message
    fourth = pod.train(tmp_path / "2", rows, MemoryStore(dict(objects)), episode="e2", attempt=4, **told)
    assert (fourth.outcome, fourth.reason) == (TrainingOutcome.REFUSED, "NoGain")
    assert "not surely better than revision 1 (+0.0035, which counts as -0.00" in fourth.message
    assert fourth.metrics == once.metrics, "it is the same challenger"


def test_a_cure_is_published_at_the_fourth_look_too_and_every_look_is_on_record(
    tmp_path: Path, refused: tuple[dict[str, bytes], dict[str, Any]]
) -> None:
    objects, told = refused
    store = MemoryStore(dict(objects))
    rows = pod.rows(100, flip_from=40, seed=3)
    cured = pod.train(tmp_path, rows, store, episode="e2", attempt=4, data={"window": "40d"}, **told)
    assert cured.outcome is TrainingOutcome.PUBLISHED, cured.message
    kept = [EvaluationRecord.model_validate_json(store.objects[keys.evaluation("e2", attempt)]) for attempt in (1, 2, 3)]
    kept.append(load_manifest(store, cured.digest or "").evaluation)
    assert [each.look for each in kept] == [1, 2, 3, 4]
    assert len({(each.holdout_start, each.holdout_end) for each in kept}) == 4, "each on an interval of its own"


@pytest.mark.parametrize("write", [keys.evaluation("e2", 4), keys.outcome("e2", 4)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pod_that_dies_while_it_writes_does_not_count_as_a_look(
    tmp_path: Path, refused: tuple[dict[str, bytes], dict[str, Any]], write: str, when: str
) -> None:
    objects, told = refused
    store, rows = MemoryStore(dict(objects)), pod.rows(80, seed=3)

    def die(_operation: str, key: str) -> None:
        if key == write:
            setattr(store, when, lambda _operation, _key: None)
            raise StoreUnavailable("the pod died")

    setattr(store, when, die)
    asked = {"episode": "e2", "attempt": 4, "gates": NEVER, **told}
    with pytest.raises(StoreUnavailable):
        pod.train(tmp_path / "1", rows, store, **asked)
    again = pod.train(tmp_path / "2", rows, store, **asked)
    assert again.outcome is TrainingOutcome.REFUSED
    assert EvaluationRecord.model_validate_json(store.objects[keys.evaluation("e2", 4)]).look == 4
