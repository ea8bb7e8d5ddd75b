"""Several windows: who is trained, who is chosen on which rows, and who decides."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.data import Data
from stationkeeper.api.evaluation import Holdout
from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Column, ColumnKind, Score, Task
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.jobs import train as job
from stationkeeper.workloads.training.challenger import Challenger
from stationkeeper.workloads.training.handover import Prepared, Schema, Stretch
from stationkeeper.workloads.training.split import split
from stationkeeper.workloads.training.windows import Choosing, Contender, older_half, pick, shortest_since, stretches
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

T0 = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def data(*windows: str) -> Data:
    return Data.model_validate({"uri": "s3://lake/rows/", "target": "y", "timestamp": "t", "windows": list(windows)})


def meaning(*classes: str) -> Schema:
    task = Task.BINARY if classes else Task.REGRESSION
    return Schema(
        task=task, features=[Column(name="x", kind=ColumnKind.NUMERIC)], target="y", timestamp="t", classes=list(classes)
    )


def daily(days: int, y: Any) -> pl.DataFrame:
    return pl.DataFrame({"t": [T0 + DAY * i for i in range(days)], "x": np.arange(days) * 1.0, "y": y})


def test_windows_are_read_shortest_first_whatever_their_units() -> None:
    assert [text for text, _ in data("60d", "2400h", "1d").lengths] == ["1d", "60d", "2400h"]
    assert data("60d", "365d").reach == 365 * DAY
    assert Data(uri="s3://lake/rows/", target="y").reach is None


def test_the_holdout_is_the_newest_part_of_the_shortest_window() -> None:
    frame = daily(1000, 0.0)
    train, holdout = split(frame, "t", Holdout(fraction=0.2), "uid", ["x"], since=frame["t"][799])
    assert (train.height, holdout.height) == (920, 80)
    assert train["t"].max() < holdout["t"].min()  # type: ignore[operator]


@pytest.mark.parametrize(("since", "held"), [(None, 200), (0, 400), (1999, 400)])
def test_what_the_champion_knows_leaves_twice_as_many_rows_where_half_of_them_choose(since: int | None, held: int) -> None:
    frame = daily(3000, 0.0)
    start = None if since is None else frame["t"][since]
    through = frame["t"][2950]
    assert split(frame, "t", Holdout(fraction=0.2), "uid", ["x"], through, start)[1].height == held


@pytest.mark.parametrize(
    ("days", "y", "classes", "windows", "expected"),
    [
        pytest.param(400, 1.0, (), ("100d", "300d"), [], id="a target that never changes teaches nobody"),
        pytest.param(400, list(range(400)), (), ("300d", "100d"), [("100d", 100), ("300d", 300)], id="shortest first"),
        pytest.param(90, list(range(90)), (), ("100d", "300d"), [("100d", 90)], id="both hold all rows: one challenger"),
        pytest.param(400, list(range(400)), (), ("20d", "300d"), [("300d", 300)], id="too few rows in one"),
        pytest.param(400, ["no", "yes"] * 100 + ["no"] * 200, ("no", "yes"), ("100d", "300d"), [("300d", 300)],
                     id="a class is missing in one"),
    ],
)  # fmt: skip
def test_who_is_trained(
    days: int, y: Any, classes: tuple[str, ...], windows: tuple[str, ...], expected: list[tuple[str, int]]
) -> None:
    frame = daily(days, y)
    end = T0 + DAY * (days - 1)
    assert [(s.window, s.rows) for s in stretches(frame, data(*windows), end, meaning(*classes))] == expected


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([(-0.5, 0.02), (-0.55, -0.01), (-0.6, None)], "30d"),  # surely better than the longest
        ([(-0.5, -0.001), (-0.4, -0.001), (-0.6, None)], "365d"),  # better, and not surely
        ([(-0.5, 0.02), (-0.4, 0.03), (-0.6, None)], "60d"),  # both surely better: the better one
        ([(-0.6, -0.2), (-0.7, -0.3), (-0.5, None)], "365d"),
        ([(None, None)] * 3, "365d"),
    ],
)
def test_a_shorter_window_is_chosen_when_it_is_surely_better(found: list[tuple[float | None, float | None]], chosen: str) -> None:
    challenger = Challenger.of(None, meaning())  # type: ignore[arg-type]
    field = [
        Contender(challenger, Predictions(), Stretch(window=window, start=T0, rows=rows))
        for window, rows in (("30d", 30), ("60d", 60), ("365d", 365))
    ]
    said = [Choosing(score, Score(value=0.1, low=low, high=0.2) if low is not None else None) for score, low in found]
    best, candidates = pick(field, said)
    assert best.stretch is not None
    assert best.stretch.window == chosen
    assert [c.window for c in candidates if c.chosen] == [chosen]
    assert [(c.score, c.gain.low if c.gain else None) for c in candidates] == found


def test_rows_of_one_moment_choose_or_judge_together() -> None:
    frame = pl.DataFrame({"t": [T0 + DAY * (i // 10) for i in range(100)]})
    assert older_half(frame, "t").tolist() == [True] * 50 + [False] * 50
    assert older_half(frame[5:], "t").sum() == 45


def windows(*lengths: str, **changes: Any) -> dict[str, Any]:
    return {"data": {"windows": list(lengths)}} | changes


def test_after_a_change_the_short_window_wins_and_the_refit_learns_it_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    summary = pod.train(tmp_path, pod.rows(120, 60, flip_from=90), store, **windows("30d", "120d"))
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    manifest = load_manifest(store, summary.digest or "")
    judged = manifest.evaluation
    assert [(c.window, c.chosen) for c in judged.candidates] == [("30d", True), ("120d", False)]
    assert judged.candidates[0].score > 0.7 > 0.4 > judged.candidates[1].score  # type: ignore[operator]
    assert (judged.holdout_rows, judged.holdout_start) == (360, pod.START + timedelta(days=114))  # the newer half of twelve days
    assert judged.holdout_end == pod.START + timedelta(days=119, minutes=59)
    assert (manifest.data.window, manifest.data.rows, judged.refit) == ("30d", 30 * 60, "WholeWindow")
    assert manifest.data.start == pod.START + timedelta(days=90)
    assert "of the last 30d (chosen on the older half of the holdout: 30d 0." in summary.message
    assert summary.window == "30d"


def test_in_a_quiet_world_more_rows_win(tmp_path: Path) -> None:
    store = MemoryStore()
    neighbours = {"class": "sklearn.neighbors.KNeighborsClassifier", "params": {"n_neighbors": 40}}
    gates = [{"metric": "neg_log_loss", "min": -0.7}]
    summary = pod.train(tmp_path, pod.rows(200, 60), store, **windows("20d", "200d", estimator=neighbours, gates=gates))
    manifest = load_manifest(store, summary.digest or "")
    assert manifest.data.window == "200d"
    assert manifest.data.rows == 12_000


def test_a_lead_that_may_be_chance_is_not_followed_and_that_is_said(tmp_path: Path) -> None:
    """Of challengers that are about as good one is always ahead."""
    leads = set()
    for seed in range(3):
        store = MemoryStore()
        summary = pod.train(tmp_path / str(seed), pod.rows(100, 40, seed=seed), store, **windows("60d", "100d"))
        short, long = load_manifest(store, summary.digest or "").evaluation.candidates
        assert short.gain is not None
        assert long.gain is None
        assert short.gain.value == pytest.approx((short.score or 0) - (long.score or 0))
        assert (short.chosen, long.chosen) == ((short.gain.low or 0) > 0, (short.gain.low or 0) <= 0)
        ahead = long.chosen and short.gain.value > 0
        assert ("; no shorter one is surely better)" in summary.message) is ahead
        leads.add(ahead)
    assert True in leads, "one of the three is such a case"


@pytest.mark.parametrize(("days", "expected"), [(400, True), (101, True), (100, False), (50, False)])
def test_windows_that_all_hold_the_same_rows_are_one(days: int, expected: bool) -> None:
    frame = daily(days, 0.0)
    end = frame["t"][-1]
    assert shortest_since(frame, data("100d", "365d"), end) == (end - 100 * DAY if expected else None)


def test_no_challenger_sees_a_row_that_chooses_or_judges(tmp_path: Path) -> None:
    run = pod.Pod(tmp_path, MemoryStore(), MemoryStore({"a.parquet": pod.parquet(pod.rows(100))}, "s3://lake/rows"))
    job.step_prepare(pod.config(**windows("30d", "100d")), run.paths, run.open)
    train, holdout = pl.read_parquet(run.paths.train), pl.read_parquet(run.paths.holdout)
    known = Schema.model_validate_json(run.paths.schema.read_bytes())
    assert (train.height, holdout.height) == (1760, 240)
    assert train["at"].max() < holdout["at"].min()  # type: ignore[operator]
    assert [(s.window, s.rows) for s in known.stretches] == [("30d", 360), ("100d", 1760)]
    assert Prepared.model_validate_json(run.paths.prepared.read_bytes()).holdout_rows == 240


def test_the_choice_is_judged_by_rows_that_did_not_choose(tmp_path: Path) -> None:
    """What won the older half fails on the newer one, where the world has changed back; nothing is published."""
    frame = pl.concat([pod.rows(90, 60), pod.rows(27, 60, flip_from=90, first=90, seed=1), pod.rows(3, 60, first=117, seed=2)])
    summary = pod.train(tmp_path, frame, **windows("30d", "120d"))
    assert (summary.outcome, summary.reason) == (TrainingOutcome.REFUSED, "GateRefused"), summary.message
    assert "knew the last 30d (chosen" in summary.message


def test_one_window_left_is_one_challenger_judged_by_the_whole_holdout(tmp_path: Path) -> None:
    store = MemoryStore()
    summary = pod.train(tmp_path, pod.rows(40), store, **windows("60d", "365d"))
    manifest = load_manifest(store, summary.digest or "")
    assert (manifest.data.window, manifest.evaluation.holdout_rows, manifest.evaluation.candidates) == ("60d", 160, [])
    assert "chosen" not in summary.message


def test_one_window_among_windows_gives_the_same_model_as_window(tmp_path: Path) -> None:
    files = []
    for name, changes in (("one", {"data": {"window": "40d"}}), ("several", windows("40d", "400d"))):
        store = MemoryStore()
        summary = pod.train(tmp_path / name, pod.rows(40), store, **changes)
        files.append(load_manifest(store, summary.digest or "").files["model.onnx"])
    assert files[0] == files[1]


@pytest.mark.parametrize("change", ["search", "windows"])
def test_a_teams_own_container_trains_once(change: str) -> None:
    raw = pod.config().wire()
    raw["training"] |= {"container": {"image": "team/trainer:1", "task": "Classification"}}
    del raw["training"]["estimator"]
    if change == "search":
        raw["training"]["search"] = {"params": {"max_iter": [1]}}
    else:
        raw["training"]["data"]["windows"] = ["30d", "60d"]
    with pytest.raises(ValueError, match="a team's own code trains once"):
        TrainConfig.model_validate(raw)
