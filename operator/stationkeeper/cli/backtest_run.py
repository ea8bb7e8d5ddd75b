"""The replay, put together: the rows and trainings of the workloads under the planning of the control plane."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from stationkeeper.api.base import parse_duration
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.evaluation import Gate
from stationkeeper.api.model import ModelSpec
from stationkeeper.cli.autopilot import Autopilot, asks, view
from stationkeeper.cli.backtest_model import Subject
from stationkeeper.cli.cluster import CommandError
from stationkeeper.workloads.artifacts.errors import ArtifactError, StoreError
from stationkeeper.workloads.backtest.assumed import AssumedTrainer, RowsAlone
from stationkeeper.workloads.backtest.compare import NEVER, Match, play
from stationkeeper.workloads.backtest.course import Backtest
from stationkeeper.workloads.backtest.folder import FolderStore
from stationkeeper.workloads.backtest.history import History, HistoryError, open_history
from stationkeeper.workloads.backtest.judge import Judge, calibrating
from stationkeeper.workloads.backtest.pilot import Pilot, Timetable
from stationkeeper.workloads.backtest.pod import PodTrainer, Stage, Trainer
from stationkeeper.workloads.backtest.replay import ReplayError, tiles
from stationkeeper.workloads.backtest.variants import variants
from stationkeeper.workloads.checks.samples import Roles
from stationkeeper.workloads.checks.sources import Server, SourceError
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.quality.answers import MetricError
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.metrics import check_metrics, unknown

Told = Callable[[str, float], None]

EVERY: Final = "every window"
_MOST: Final = 200  # trainings of a yardstick; more would take days
_FIRST: Final = 4  # the first stretch is one part in so many of the history


@dataclass(frozen=True, slots=True)
class Setting:
    """How it is replayed."""

    policy: DriftPolicySpec
    name: str
    retrain: bool
    first: timedelta | None
    every: timedelta | None
    every_text: str
    metric: str | None


def run(subject: Subject, setting: Setting, folder: Path, told: Told) -> Backtest:
    """Replay a history.

    Raises:
        CommandError: when it cannot be; the message names the file, column or option and what to do.
    """
    with _explained():
        setting, unasked = _asked(subject, setting)
        metric = _metric(subject, setting)
        history = _history(subject, folder)
        begin = _begin(history, setting)
        windows = tiles(begin, history.end, parse_duration(setting.policy.window))
        stage = _stage(subject, history, folder)
        trainer, notes = _trainer(subject, setting, stage), [*unasked, *_not_replayed(subject.owner.spec)]
        own = Autopilot(subject.owner, view(setting.policy, setting.name, subject.owner, subject.labels), begin)
        pilots = [own, *_yardsticks(setting, windows, history.end, notes)]
        match = Match(stage, trainer, windows, parse_duration(setting.policy.grace), metric)
        courses, judged = play(match, Judge(stage, setting.name, setting.policy), pilots, told)
    told("judging by a stricter and a looser policy", 1.0)
    seen = variants(setting.policy, judged, lambda spec, verdicts: asks(view(spec, setting.name, subject.owner), verdicts))
    return Backtest(
        model=f"{subject.owner.namespace}/{subject.owner.name}" if subject.roles is None else subject.address,
        policy=setting.name,
        metric=metric,
        start=history.start,
        begin=begin,
        end=history.end,
        window=setting.policy.window,
        retrained=setting.retrain,
        courses=courses,
        variants=seen,
        notes=[*notes, *own.notes, *calibrating(judged), *(trainer.notes if isinstance(trainer, RowsAlone) else ())],
    )


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (HistoryError, SourceError, ReplayError, ArtifactError, StoreError) as error:
        raise CommandError(str(error)) from error
    except MetricError as error:
        raise CommandError(f"--metric: {error}") from error
    except AttemptEnded as ending:
        raise CommandError(ending.message) from ending


def _asked(subject: Subject, setting: Setting) -> tuple[Setting, list[str]]:
    """What can be replayed of a policy, and what cannot, in words.

    Raises:
        CommandError: when its quality is measured by nothing that is known.
    """
    check = setting.policy.quality
    if check and (said := unknown(check.metric)):
        raise CommandError(f"policy {setting.name}: quality.metric: {said}")
    if check is None or subject.roles is None:
        return setting, []
    policy = setting.policy.model_copy(update={"quality": None})
    return replace(setting, policy=policy), ["quality is not measured: rows alone name no labels; give the manifest of the Model"]


def _metric(subject: Subject, setting: Setting) -> str | None:
    if subject.roles is not None:
        return None
    metric = setting.metric or subject.owner.spec.trained.evaluation.gates[0].metric
    check_metrics([Gate(metric=metric, min=0)])
    return metric


def _history(subject: Subject, folder: Path) -> History:
    kept = folder / "history"
    kept.mkdir()
    history = open_history(subject.address, subject.timestamp, Server(subject.endpoint_url, subject.region), kept)
    data = subject.owner.spec.trained.data
    if subject.roles is not None:
        wanted = dict.fromkeys(subject.roles.predictions, "which --prediction names") | dict.fromkeys(
            subject.roles.ignore, "which --ignore names"
        )
    else:
        features = dict.fromkeys(data.features or (), "which spec.training.data.features names")
        wanted = {data.target: "which is spec.training.data.target"} | features
    for name, why in wanted.items():
        history.require(name, why)
    return history


def _begin(history: History, setting: Setting) -> datetime:
    """The end of the first stretch: at midnight, or at a full hour where the stretch is short."""
    first = setting.first or (history.end - history.start) / _FIRST
    begin = history.start + first
    hour = begin.replace(minute=0, second=0, microsecond=0)
    begin = hour.replace(hour=0) if first >= timedelta(days=2) else hour
    if not history.start < begin < history.end:
        raise HistoryError(
            f"the history lasts from {history.start:%Y-%m-%d %H:%M} to {history.end:%Y-%m-%d %H:%M} UTC: after a first stretch until "
            f"{begin:%Y-%m-%d %H:%M} nothing is left to replay; give a shorter --first, or more history"
        )
    return begin


def _stage(subject: Subject, history: History, folder: Path) -> Stage:
    room = folder / "room"
    room.mkdir()
    spec = subject.owner.spec
    store = FolderStore(folder / "store", spec.storage.uri.rstrip("/"))
    return Stage(history, store, subject.owner.identity, spec, subject.labels, room)


def _trainer(subject: Subject, setting: Setting, stage: Stage) -> Trainer:
    if subject.roles is not None:
        captured, asked = stage.history.answers, subject.roles
        predictions = asked.predictions or captured
        ignored = [*asked.ignore, *(name for name in captured if name not in predictions)]
        return RowsAlone(stage, Roles(stage.history.timestamp, predictions, ignored))
    return PodTrainer(stage) if setting.retrain else AssumedTrainer(stage)


def _not_replayed(spec: ModelSpec) -> Iterator[str]:
    """What the Model asks for and a replay does otherwise."""
    if spec.trained.evaluation.holdout.uri:
        yield "the rows of evaluation.holdout.uri were not there at each moment: here the newest rows judged"


def _yardsticks(setting: Setting, windows: Sequence[Window], end: datetime, notes: list[str]) -> list[Pilot]:
    """Never, a fixed schedule, and every window; those that would train too often are left out, and a note says so."""
    if not setting.retrain:
        return []
    begin, length = windows[0].start, windows[0].end - windows[0].start
    rules = {NEVER: None, EVERY: length}
    if setting.every:
        rules |= {f"every {setting.every_text}": setting.every}
    found: list[Pilot] = []
    for name, every in rules.items():
        times = (end - begin) // every if every else 0
        if times > _MOST:
            notes.append(f"{name} would be {times} trainings: it was left out; compare with longer windows (--window)")
        else:
            found.append(Timetable(name, begin, every, end))
    return found
