"""Which rows judge: a stretch of time, a gap before it, or always the same rows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stationkeeper.api.evaluation import Holdout
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import StoreUnavailable
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.jobs import train as job
from stationkeeper.workloads.training.split import gap_between, split, without
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

T0 = datetime(2013, 1, 1, tzinfo=UTC)
HOURLY = pl.DataFrame({"t": [T0 + timedelta(hours=i) for i in range(2000)], "x": range(2000)})


@pytest.mark.parametrize(
    ("rule", "train", "held"),
    [
        (Holdout(fraction=0.2), 1600, 400),
        (Holdout(period="5d"), 1880, 120),
        (Holdout(period="120h", gap="1d"), 1856, 120),
        (Holdout(fraction=0.1, gap="36h"), 1764, 200),
    ],
)
def test_a_period_and_a_gap(rule: Holdout, train: int, held: int) -> None:
    learned, holdout = split(HOURLY, "t", rule, "uid", ["x"])
    assert (learned.height, holdout.height) == (train, held)
    between = gap_between(HOURLY, "t", learned, holdout)
    assert learned.height + between.height + holdout.height == 2000
    assert pl.concat([learned, between, holdout]).equals(HOURLY)


def test_a_period_too_takes_at_most_half_of_what_the_champion_has_not_seen() -> None:
    through = T0 + timedelta(hours=999)
    assert split(HOURLY, "t", Holdout(period="40d"), "uid", ["x"], through)[1].height == 500


def test_equal_rows_are_taken_out_whatever_their_types() -> None:
    rows = pl.DataFrame({"x": [1.0, 2.0, None, 2.0], "y": ["a", "b", "c", "c"], "other": [1, 2, 3, 4]})
    frozen = pl.DataFrame({"y": ["b", "c"], "x": [2, None]})
    assert without(rows, frozen, ["x", "y"])["other"].to_list() == [1, 4]


class World:
    """A store of the model, one of new rows, and one of the rows that always judge."""

    def __init__(self, tmp: Path, rows: pl.DataFrame, frozen: pl.DataFrame) -> None:
        self.tmp = tmp
        self.artifacts = MemoryStore()
        self.source = MemoryStore({"a.parquet": pod.parquet(rows)}, "s3://lake/rows")
        self.frozen = MemoryStore({"judges.parquet": pod.parquet(frozen)}, "s3://lake/frozen")
        self.pods = 0

    def open(self, _config: Any, uri: str | None) -> MemoryStore:
        return {None: self.artifacts, pod.DATA: self.source, "s3://lake/frozen/": self.frozen}[uri]

    def train(self, **changes: Any) -> TrainingSummary:
        self.pods += 1
        run = pod.Pod(self.tmp / str(self.pods), self.artifacts, self.source)
        run.open = self.open  # type: ignore[method-assign]
        cfg = pod.config(evaluation={"holdout": {"uri": "s3://lake/frozen/"}}, **changes)
        summary, _ = run.run(cfg)
        assert isinstance(summary, TrainingSummary)
        return summary


def challenger(champion: TrainingSummary, **changes: Any) -> dict[str, Any]:
    return {"episode": "e2", "revision": 2, "cause": "Schedule", "champion": {"number": 1, "digest": champion.digest}} | changes


def test_the_same_rows_judge_champion_and_challenger_and_teach_neither(tmp_path: Path) -> None:
    frozen = pod.rows(20, seed=5)
    world = World(tmp_path, pl.concat([frozen, pod.rows(60, first=20)]), frozen)
    first = world.train()
    assert first.outcome is TrainingOutcome.PUBLISHED, first.message
    manifest = load_manifest(world.artifacts, first.digest or "")
    judged = manifest.evaluation
    assert (judged.holdout_rows, judged.refit, manifest.data.rows) == (400, "None", 1200), "equal rows are not learned"
    assert judged.frozen is not None
    assert keys.frozen_holdout("e1", 1) in world.artifacts.objects
    second = world.train(**challenger(first))
    assert second.outcome is TrainingOutcome.PUBLISHED, second.message
    again = load_manifest(world.artifacts, second.digest or "").evaluation
    assert [gate.verdict for gate in again.gates] == ["Passed", "Passed"], (
        "though every row is older than what the champion knows"
    )
    assert again.frozen == judged.frozen
    assert "rows of the holdout" in second.message


@pytest.mark.parametrize(
    ("timestamp", "window", "held", "reason"),
    [
        ("at", None, True, "InsufficientEvidence"),
        (None, None, True, "ChampionNotComparable"),
        ("at", "60d", False, "InsufficientEvidence"),  # what lay before the window, the champion may know
        ("at", None, False, "Published"),
        (None, None, False, "Published"),
    ],
)
def test_a_champion_from_before_is_compared_on_rows_that_the_data_never_held(
    tmp_path: Path, timestamp: str | None, window: str | None, held: bool, reason: str
) -> None:
    features = ["x", "count", "colour", "member"]
    data = {"timestamp": timestamp, "features": features, "window": window} | ({} if timestamp else {"asOf": "Now"})
    frozen, rows = (frame.drop_nulls() for frame in (pod.rows(20, seed=5), pod.rows(60, first=20)))  # no two rows are equal
    world = World(tmp_path, pl.concat([frozen[:50], rows]) if held else rows, frozen)
    run = pod.Pod(tmp_path / "before", world.artifacts, world.source)
    first, _ = run.run(pod.config(data=data))
    assert isinstance(first, TrainingSummary)
    second = world.train(**challenger(first, data=data))
    assert second.reason == reason, second.message


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_the_list_is_frozen_under_the_attempt(tmp_path: Path, change: str) -> None:
    world = World(tmp_path, pod.rows(60, first=20), pod.rows(20, seed=5))
    world.train()
    del world.artifacts.objects[keys.outcome("e1", 1)]
    world.frozen.objects["more.parquet"] = b"newer objects do not matter"
    assert world.train().outcome is TrainingOutcome.PUBLISHED
    del world.artifacts.objects[keys.outcome("e1", 1)]
    if change == "gone":
        del world.frozen.objects["judges.parquet"]
    else:
        world.frozen.objects["judges.parquet"] = pod.parquet(pod.rows(20, seed=6))
    summary = world.train()
    assert (summary.outcome, summary.reason) == (TrainingOutcome.INVALID_DATA, "InputChanged")
    assert summary.message.startswith("evaluation.holdout.uri: ")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pod_that_dies_while_it_freezes_the_list_is_made_good_by_the_next(tmp_path: Path, when: str) -> None:
    world = World(tmp_path, pod.rows(60, first=20), pod.rows(20, seed=5))

    def die(operation: str, key: str) -> None:
        if operation == "create" and key == keys.frozen_holdout("e1", 1):
            raise StoreUnavailable("the network is gone")

    setattr(world.artifacts, when, die)
    with pytest.raises(StoreUnavailable):
        world.train()
    assert keys.outcome("e1", 1) not in world.artifacts.objects
    setattr(world.artifacts, when, lambda _operation, _key: None)
    assert world.train().outcome is TrainingOutcome.PUBLISHED


FROZEN = pod.rows(20, seed=5)


@pytest.mark.parametrize(
    ("frozen", "reason", "says"),
    [
        (FROZEN.drop("y"), "MissingTargetColumn", "'y'"),
        (FROZEN.drop("at"), "MissingTimestampColumn", "'at'"),
        (FROZEN.drop("x"), "MalformedData", "'x'"),
        (FROZEN.with_columns(x=pl.lit("many")), "MalformedData", "'x'"),
        (FROZEN.head(20), "TooFewRows", "20 to judge with"),
    ],
)
def test_a_holdout_that_cannot_judge_is_told(tmp_path: Path, frozen: pl.DataFrame, reason: str, says: str) -> None:
    summary = World(tmp_path, pod.rows(60, first=20), frozen).train()
    assert (summary.outcome, summary.reason) == (TrainingOutcome.INVALID_DATA, reason), summary.message
    assert says in summary.message


def test_rows_of_the_gap_are_learned_by_the_refit_only(tmp_path: Path) -> None:
    store = MemoryStore()
    source = MemoryStore({"a.parquet": pod.parquet(pod.rows(40))}, "s3://lake/rows")
    run = pod.Pod(tmp_path, store, source)
    cfg = pod.config(evaluation={"holdout": {"gap": "2d"}})
    job.step_prepare(cfg, run.paths, run.open)
    held, gap, train = (pl.read_parquet(path) for path in (run.paths.holdout, run.paths.gap, run.paths.train))
    assert (train.height, gap.height, held.height) == (600, 40, 160)
    job.step_train(cfg, run.paths)
    summary, _ = job.step_publish(cfg, run.paths, run.open)
    assert isinstance(summary, TrainingSummary)
    assert load_manifest(store, summary.digest or "").data.rows == 800


def test_a_champion_whose_labels_reach_into_the_gap_is_not_compared_there(tmp_path: Path) -> None:
    """It knows days 0 to 39; with a gap of 35 days its labels may tell of days up to 74."""
    store = MemoryStore()
    first = pod.train(tmp_path / "1", pod.rows(40), store)
    gates = [{"metric": "roc_auc", "min": 0.5}, {"metric": "roc_auc", "maxDrop": 0.5}]
    held = {"evaluation": {"holdout": {"gap": "35d"}}, "gates": gates}
    second = pod.train(tmp_path / "2", pod.rows(76), store, **challenger(first, **held))
    assert (second.outcome, second.reason) == (TrainingOutcome.REFUSED, "InsufficientEvidence"), second.message
