"""History, played again: rows are answered, windows are judged, a pilot decides, and what it trains serves from then on.

The clock jumps from one moment at which something can be decided to the next. A training takes no time, and what it publishes
serves at once; no row and no label is used before it was there.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Final

import polars as pl

from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.backtest.course import Course, Part, Played, Training
from stationkeeper.workloads.backtest.judge import Judge, Judged
from stationkeeper.workloads.backtest.pilot import Order, Pilot
from stationkeeper.workloads.backtest.pod import Stage, Trainer
from stationkeeper.workloads.backtest.score import Mean, score
from stationkeeper.workloads.backtest.served import Served
from stationkeeper.workloads.drift.windows import Stretch, Window

Told = Callable[[str, float], None]  # what is done, and how many windows are done with it

_ASKED: Final = 48  # times in a window that a pilot may wake: what waits for labels tries again so often


class ReplayError(Exception):
    """The replay cannot go on; the message says why and what to do."""


def tiles(begin: datetime, end: datetime, length: timedelta) -> list[Window]:
    """Windows from `begin` on, the last one as long as the history lasts."""
    found = []
    while begin < end:
        found.append(Window(begin, min(begin + length, end)))
        begin += length
    return found


class Replay:
    """One pilot over one history."""

    def __init__(self, stage: Stage, trainer: Trainer, pilot: Pilot, judge: Judge | None, metric: str | None, told: Told) -> None:
        self._stage = stage
        self._trainer = trainer
        self._pilot = pilot
        self._judge = judge
        self._metric = metric
        self._told = told
        self._line: list[Served] = []  # revisions in the order in which they served
        self._trainings: list[Training] = []
        self._played: list[Played] = []
        self._growing = judge.growing() if judge else None
        self.judged: list[Judged] = []

    def run(self, windows: Sequence[Window], grace: timedelta) -> Course:
        """Play the windows.

        Raises:
            ReplayError: when there is no first model.
        """
        self._begin(windows[0].start)
        pause = (windows[0].end - windows[0].start) / _ASKED
        last = windows[-1].end + grace  # what is trained from then on serves nobody
        asked = windows[0].start
        for moment, act in self._acts(windows, grace):
            while (wake := self._pilot.wake) and (wake := max(wake, asked + pause)) < min(moment, last):
                self._ask(wake)
                asked = wake
            act(moment)
            if moment < last:
                self._ask(moment)
                asked = moment
        return Course(name=self._pilot.name, windows=self._played, trainings=self._trainings)

    def _begin(self, now: datetime) -> None:
        self._ask(now)
        if not self._line:
            first = self._trainings[0] if self._trainings else None
            said = f"{first.outcome}, {first.reason}: {first.message}" if first else "nothing asked for it"
            raise ReplayError(f"the first model was not published: {said}; change the Model, or give it more rows with --first")

    def _acts(self, windows: Sequence[Window], grace: timedelta) -> list[tuple[datetime, Callable[[datetime], None]]]:
        """What happens when: each window is closed, and its labels are looked at once they are known."""
        acts = [(window.end + grace, partial(self._close, number, window)) for number, window in enumerate(windows)]
        if self._judge and self._judge.desk:
            lag = grace + self._stage.lag
            acts += [(window.end + lag, partial(self._hear_labels, number, window)) for number, window in enumerate(windows)]
        return sorted(acts, key=itemgetter(0))  # of one moment: first the window, then its labels

    def _ask(self, now: datetime) -> None:
        while order := self._pilot.decide(now):
            self._told(f"{self._pilot.name}: training of {now:%Y-%m-%d %H:%M}", len(self._played))
            summary = self._trainer.train(order, self._line[-1] if self._line else None, now)
            summary = summary.model_copy(update={"finished_at": now})
            self._trainings += _training(order, summary, now)
            if summary.outcome is TrainingOutcome.PUBLISHED and summary.digest:
                self._line.append(Served.load(self._stage.store, summary.digest, now))
            self._pilot.conclude(order, summary, now)

    def _close(self, number: int, window: Window, now: datetime) -> None:
        self._told(f"{self._pilot.name}: window of {window.start:%Y-%m-%d %H:%M}", number)
        rows = self._stage.history.between(window.start, window.end)
        mean, before = Mean(), list[tuple[Served, int]]()
        for part, (served, answered) in enumerate(self._parts(window, rows)):
            before += [(served, answered.height)] if served is not self._line[-1] else []
            answers = served.answer(answered)
            if answers.predictions and self._metric:
                mean += score(self._metric, served.manifest, answered, answers.predictions)
            if self._judge:
                served.capture(answered, answers, self._stage.history.timestamp, max(window.start, served.since), part)
            if self._judge and self._judge.desk:
                self._judge.desk.keep(served, window, answered, part)
        played = Played(
            start=window.start,
            end=window.end,
            rows=rows.height,
            labelled=mean.rows,
            score=mean.value,
            revision=self._line[-1].manifest.number,
        )
        self._played.append(self._heard(self._judge, window, played, before, now) if self._judge else played)

    def _parts(self, window: Window, rows: pl.DataFrame) -> Iterator[tuple[Served, pl.DataFrame]]:
        """The rows of a window by the revision that served at their time."""
        time = pl.col(self._stage.history.timestamp)
        ends = [served.since for served in self._line[1:]] + [window.end]
        for served, end in zip(self._line, ends, strict=True):
            part = rows.filter((time >= max(served.since, window.start)) & (time < end))
            if part.height:
                yield served, part

    def _heard(self, judge: Judge, window: Window, played: Played, before: Sequence[tuple[Served, int]], now: datetime) -> Played:
        """The window with its verdicts. The pilot hears of the revision that serves: a new one begins a history of its own."""
        assert self._growing is not None
        parts = [_part(judge.window(one, Stretch(window), now, self._line[-1].since), one, rows) for one, rows in before]
        served = self._line[-1]
        judged = judge.window(served, self._growing.stretch(served, window), now)
        self.judged.append(judged)
        said = judged.verdict
        self._pilot.hear(said)
        shown = {name: getattr(said, name) for name in ("data", "features", "predictions", "drifted_share", "message")}
        return played.model_copy(update={"verdict": _verdict(judged), "before": parts, **shown})

    def _hear_labels(self, number: int, window: Window, now: datetime) -> None:
        assert self._judge is not None
        said = self._judge.labels(self._line[-1], window, now)
        if said is not None:
            self._pilot.hear(said)
            quality = {"quality": said.verdict, "quality_message": said.message}
            self._played[number] = self._played[number].model_copy(update=quality)


def _verdict(judged: Judged) -> Verdict:
    return judged.report.verdict if judged.report else Verdict.INSUFFICIENT_DATA


def _part(judged: Judged, served: Served, rows: int) -> Part:
    return Part(revision=served.manifest.number, rows=rows, verdict=_verdict(judged), message=judged.verdict.message)


def _training(order: Order, summary: TrainingSummary, now: datetime) -> list[Training]:
    """For the record; waiting for labels is none."""
    if summary.outcome is TrainingOutcome.WAITING_FOR_LABELS:
        return []
    return [
        Training(
            at=now,
            cause=order.cause,
            outcome=summary.outcome,
            reason=summary.reason,
            message=summary.message,
            revision=summary.revision if summary.outcome is TrainingOutcome.PUBLISHED else None,
            metrics=summary.metrics,
            champion_metrics=summary.champion_metrics,
        )
    ]
