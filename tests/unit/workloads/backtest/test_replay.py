"""History played again: who answers, what is learned when, and what the policy makes of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.verdicts import Verdict
from stationkeeper.cli.autopilot import Autopilot, view
from stationkeeper.cli.backtest_model import Asked, Subject, subject_of
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.backtest.assumed import AssumedTrainer
from stationkeeper.workloads.backtest.compare import Match, gain, play
from stationkeeper.workloads.backtest.course import Course, Played
from stationkeeper.workloads.backtest.folder import FolderStore
from stationkeeper.workloads.backtest.history import open_history
from stationkeeper.workloads.backtest.judge import Judge
from stationkeeper.workloads.backtest.pilot import Pilot, Timetable
from stationkeeper.workloads.backtest.pod import PodTrainer, Stage, Trainer
from stationkeeper.workloads.backtest.replay import ReplayError, tiles
from stationkeeper.workloads.checks.sources import Server
from stationkeeper.workloads.quality.answers import MetricError
from tests.unit.workloads.backtest.histories import START, model, rows

DAY = timedelta(days=1)
BEGIN = START + 40 * DAY
POLICY: dict[str, Any] = {"window": "10d", "minSamples": 200, "breach": {"windows": 1, "of": 1}}


class Scene:
    """A stage with a small Model, and what is played on it."""

    def __init__(self, folder: Path, frame: pl.DataFrame, *, lag: str = "0s", **changes: Any) -> None:
        frame.write_parquet(folder / "history.parquet")
        self.subject: Subject = subject_of(str(model(folder, **changes)), None, Asked())
        for name in ("history", "room"):
            (folder / name).mkdir()
        history = open_history(self.subject.address, "at", Server(), folder / "history")
        store = FolderStore(folder / "store", "s3://models/tiny")
        labels = self.subject.labels.model_copy(update={"lag": lag})
        owner = self.subject.owner
        self.stage = Stage(history, store, owner.identity, owner.spec, labels, folder / "room")
        self.windows = tiles(BEGIN, history.end, 10 * DAY)

    def autopilot(self, policy: DriftPolicySpec) -> Pilot:
        return Autopilot(self.subject.owner, view(policy, "watch", self.subject.owner), BEGIN)

    def timetable(self, name: str, every: timedelta | None) -> Pilot:
        return Timetable(name, BEGIN, every, self.stage.history.end)

    def play(self, *pilots: Pilot, trainer: Trainer | None = None, metric: str = "neg_log_loss", **policy: Any) -> list[Course]:
        spec = DriftPolicySpec.model_validate(POLICY | policy)
        match = Match(self.stage, trainer or PodTrainer(self.stage), self.windows, timedelta(0), metric)
        chosen: Sequence[Pilot] = pilots or [self.autopilot(spec)]
        return play(match, Judge(self.stage, "watch", spec), chosen, lambda _text, _done: None)[0]


def line(course: Course) -> list[str]:
    """The trainings of a course, one line each."""
    return [f"day {(t.at - START) / DAY:g}: {t.cause} {t.outcome}" for t in course.trainings]


def test_a_drift_is_learned_once_and_what_is_learned_serves_better(tmp_path: Path) -> None:
    scene = Scene(tmp_path, rows(drift_from=70, per_day=60), data={"window": "20d", "minNewRows": 1_140})  # rows of 19 days
    ours, never = scene.play(scene.autopilot(DriftPolicySpec.model_validate(POLICY)), scene.timetable("never", None))
    assert [w.verdict for w in ours.windows] == ["Passed"] * 3 + ["Breached", "InsufficientData"] + ["Passed"] * 3
    assert [w.revision for w in ours.windows] == [1, 1, 1, 1, 2, 2, 2, 2]
    (part,) = (part for window in ours.windows for part in window.before)
    taking_over = ours.windows[4]
    assert taking_over.before == [part]
    assert (taking_over.gravest, part.verdict, taking_over.overall) == ("InsufficientData", "Breached", "Breached")
    assert (part.revision, "x (PSI" in part.message) == (1, True)
    assert 540 < part.rows < taking_over.rows == 600
    assert line(never) == ["day 40: Initial Published"]
    assert [(t.cause, t.outcome) for t in ours.trainings[1:]] == [("Drift", "Published")]
    learned = (ours.trainings[1].at - START) / DAY
    assert 89 <= learned < 89.5, "it waits for rows since the onset, and no longer"
    assert ours.gain is not None
    assert ours.gain.low is not None
    assert ours.gain.low > 0


def test_a_quiet_history_asks_for_no_training(tmp_path: Path) -> None:
    (ours,) = Scene(tmp_path, rows()).play()
    assert {w.verdict for w in ours.windows} == {Verdict.PASSED}
    assert (ours.trained, line(ours)) == (0, ["day 40: Initial Published"])


def test_when_the_known_rows_have_doubled_it_is_trained_again_between_two_windows(tmp_path: Path) -> None:
    (ours,) = Scene(tmp_path, rows(), spec={"retraining": {}}).play()
    assert line(ours)[0] == "day 40: Initial Published"
    assert [(t.cause, t.outcome) for t in ours.trainings[1:]] == [("Growth", "Published")]
    assert 79 < (ours.trainings[1].at - START) / DAY < 80, "its forty days are over, and no window ends then"


@pytest.mark.parametrize("lag", ["0s", "5d"])
def test_nothing_is_learned_before_its_label_is_known(tmp_path: Path, lag: str) -> None:
    scene = Scene(tmp_path, rows(), lag=lag)
    scene.play(scene.timetable("every 20d", 20 * DAY))
    manifests = [load_manifest(scene.stage.store, _digest(info.key)) for info in scene.stage.store.list("manifests/")]
    last = scene.stage.history.between(BEGIN - DAY, BEGIN)["at"].max()
    assert isinstance(last, datetime)
    through = sorted(m.data.through for m in manifests if m.data.through)
    shift = timedelta(0) if lag == "0s" else 5 * DAY
    assert through == [last - shift + i * 20 * DAY for i in range(4)]


def _digest(key: str) -> str:
    return f"sha256:{key.removeprefix('manifests/').removesuffix('.json')}"


def test_rows_after_the_moment_do_not_change_a_training(tmp_path: Path) -> None:
    """The future is made up; what was trained before it must not know."""
    found = []
    for name, frame in (("a", rows()), ("b", rows(drift_from=60))):
        folder = tmp_path / name
        folder.mkdir()
        scene = Scene(folder, frame)
        scene.windows = scene.windows[:2]  # until day 60
        found.append(scene.play(scene.timetable("every 10d", 10 * DAY))[0])
    assert found[0] == found[1]
    assert found[0].trained == 1


def test_the_rows_of_a_window_belong_to_who_served_at_their_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path, rows())
    scene.windows = tiles(BEGIN, scene.stage.history.end, 20 * DAY)
    whole, parts = scene.play(scene.timetable("every 20d", 20 * DAY), scene.timetable("every 5d", 5 * DAY))
    assert [w.revision for w in whole.windows] == [1, 2, 3, 4]
    assert [w.revision for w in parts.windows] == [4, 8, 12, 16]
    assert [w.labelled for w in parts.windows] == [w.rows for w in whole.windows]


def test_labels_are_judged_when_they_have_matured(tmp_path: Path) -> None:
    quality = {"metric": "neg_log_loss", "maxDrop": 0.1, "minLabels": 200}
    features = {"action": "Observe"}
    scene = Scene(tmp_path, rows(drift_from=70), lag="10d")
    (ours,) = scene.play(quality=quality, features=features, predictions={"action": "Observe"})
    causes = [t.cause for t in ours.trainings[1:]]
    assert set(causes) == {"Quality"}
    assert ours.trainings[1].at == START + 90 * DAY  # the window that began at day 70, and the lag
    assert [w.quality for w in ours.windows][:4] == ["Passed", "Passed", "Passed", "Breached"]
    assert "neg_log_loss" in ours.windows[3].quality_message


def test_a_refused_first_model_ends_the_replay_with_its_reason(tmp_path: Path) -> None:
    scene = Scene(tmp_path, rows(), gates=[{"metric": "roc_auc", "min": 0.999}])
    with pytest.raises(ReplayError, match=r"not published: Refused, GateRefused: roc_auc .* below 0\.999; change the Model"):
        scene.play()


def test_a_challenger_that_the_gates_refuse_never_serves(tmp_path: Path) -> None:
    frame = rows()
    learned, later = (frame.filter(pl.col("at") < BEGIN), frame.filter(pl.col("at") >= BEGIN))
    noise = pl.concat([learned, later.with_columns(pl.col("y").shuffle(seed=1))])  # nothing is to be learned any more
    scene = Scene(tmp_path, noise, gates=[{"metric": "roc_auc", "min": 0.7}])
    (ours,) = scene.play(scene.timetable("every 20d", 20 * DAY))
    assert (ours.trained, ours.refused) == (3, 3)
    assert {w.revision for w in ours.windows} == {1}


def test_without_training_a_published_reference_is_assumed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, rows(drift_from=70))
    (ours,) = scene.play(trainer=AssumedTrainer(scene.stage))
    assert line(ours)[:2] == ["day 40: Initial Published", "day 80: Drift Published"]
    assert ours.trainings[1].message == "assumed: revision 2 would know 3200 rows"
    manifests = [load_manifest(scene.stage.store, _digest(info.key)) for info in scene.stage.store.list("manifests/")]
    assert len({m.files["reference.json"].digest for m in manifests}) == len(manifests) >= 2
    assert len({m.files["model.skops"].digest for m in manifests}) == 1


def test_of_several_windows_one_is_chosen_and_the_longest_is_assumed(tmp_path: Path) -> None:
    def scene(name: str) -> Scene:
        (tmp_path / name).mkdir()
        return Scene(tmp_path / name, rows(per_day=80, drift_from=70), data={"windows": ["20d", "80d"], "minNewRows": 1520})

    trained, guessed = scene("trained"), scene("guessed")
    (ours,) = trained.play()
    assert "(chosen on the older half of the holdout: 20d" in ours.trainings[1].message
    store = trained.stage.store
    published = [load_manifest(store, _digest(info.key)) for info in store.list("manifests/")]
    assert {m.data.window for m in published if m.number == 2} == {"20d"}, "before it the world was another"
    (assumed,) = guessed.play(trainer=AssumedTrainer(guessed.stage))
    assert assumed.trainings[1].message == "assumed: revision 2 would know 6400 rows"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (pl.col("x").cast(pl.String) + " mm", "x of another type in 400 of 400 rows (data_type)"),
        (None, "x absent from 400 of 400 rows (missing_column)"),
    ],
)
def test_broken_rows_block_training_and_are_named(tmp_path: Path, broken: pl.Expr | None, said: str) -> None:
    frame, wrong = rows(drift_from=60), START + 60 * DAY
    (tmp_path / "rows").mkdir()
    frame.filter(pl.col("at") < wrong).write_parquet(tmp_path / "rows" / "a.parquet")
    late = frame.filter(pl.col("at") >= wrong)
    (late.drop("x") if broken is None else late.with_columns(broken)).write_parquet(tmp_path / "rows" / "b.parquet")
    scene = Scene(tmp_path, frame, data={"uri": str(tmp_path / "rows")})
    (ours,) = scene.play()
    assert line(ours) == ["day 40: Initial Published"]
    assert [w.verdict for w in ours.windows] == ["Passed"] * 2 + ["Breached"] * 6
    assert [(w.labelled, w.score) for w in ours.windows[2:]] == [(0, None)] * 6
    assert said in ours.windows[2].message


def test_a_metric_of_another_task_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path, rows(days=60))
    with pytest.raises(MetricError, match="r2 judges a regression, and this model's task is "):
        scene.play(scene.timetable("never", None), metric="r2")


def test_tiles_cover_the_history_and_end_with_it() -> None:
    found = tiles(BEGIN, BEGIN + 25 * DAY, 10 * DAY)
    assert [(w.start - BEGIN) / DAY for w in found] == [0, 10, 20]
    assert found[-1].end == BEGIN + 25 * DAY


def window(number: int, score: float | None, labelled: int = 100) -> Played:
    start = BEGIN + number * DAY
    return Played(start=start, end=start + DAY, rows=labelled, labelled=labelled, revision=1, score=score)


def test_the_gain_over_never_is_paired_by_window_and_weighted_by_rows() -> None:
    never = Course(name="never", windows=[window(i, -0.5, 100 * (i + 1)) for i in range(8)], trainings=[])
    better = never.model_copy(update={"windows": [window(i, -0.4, 100 * (i + 1)) for i in range(8)]})
    mixed = never.model_copy(update={"windows": [window(i, -0.4 if i % 2 else -0.6, 100 * (i + 1)) for i in range(8)]})
    sure, unsure = gain(better, never), gain(mixed, never)
    assert sure and unsure and sure.low and unsure.low and unsure.high  # noqa: PT018 - all are there
    assert (round(sure.value, 9), round(sure.low, 9)) == (0.1, 0.1)
    assert unsure.low < 0 < unsure.high
    assert unsure.value == pytest.approx(0.1 * (20 - 16) / 36)


def test_a_course_counts_what_was_trained_after_the_first_model() -> None:
    outcomes = [TrainingOutcome.PUBLISHED, TrainingOutcome.REFUSED, TrainingOutcome.PUBLISHED, TrainingOutcome.FAILED]
    trainings = [{"at": BEGIN, "cause": "Drift", "outcome": outcome, "reason": "X", "message": ""} for outcome in outcomes]
    course = Course.model_validate({"name": "x", "windows": [window(0, -0.2, 300), window(1, None, 0)], "trainings": trainings})
    assert (course.trained, course.refused, course.failed, course.score) == (2, 1, 1, -0.2)


def test_windows_of_little_traffic_grow_as_they_do_in_a_check(tmp_path: Path) -> None:
    scene = Scene(tmp_path, rows(per_day=30))
    (course,) = scene.play(minSamples=750, maxWindow="30d")
    assert [w.verdict for w in course.windows] == [
        *["InsufficientData", "InsufficientData", "Passed"] * 2,
        *["InsufficientData"] * 2,
    ]
    assert course.windows[0].message == "300 rows so far: the window grows"
