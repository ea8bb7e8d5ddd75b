"""The operator's planning on the clock of the data: transcripts of verdicts in, trainings out."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.model import ModelSpec
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.api.verdicts import Verdict, WindowVerdict
from stationkeeper.cli.autopilot import Autopilot, asks, view
from stationkeeper.control.resources.common import Owner
from stationkeeper.workloads.backtest.pilot import Order, Timetable

BEGIN = datetime(2024, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
VERDICTS = {"P": Verdict.PASSED, "B": Verdict.BREACHED, "?": Verdict.INSUFFICIENT_DATA}
OUTCOMES = {
    "+": TrainingOutcome.PUBLISHED,
    "-": TrainingOutcome.REFUSED,
    "w": TrainingOutcome.WAITING_FOR_LABELS,
    "x": TrainingOutcome.FAILED,
}


def owner(**spec: Any) -> Owner:
    training = {
        "estimator": {"class": "sklearn.dummy.DummyClassifier"},
        "data": {"uri": "s3://data/x", "target": "y", "timestamp": "at"},
        "evaluation": {"gates": [{"metric": "accuracy", "min": 0.5}]},
    }
    return Owner(
        "ops", "tiny", "uid", ModelSpec.model_validate({"storage": {"uri": "s3://models/x"}, "training": training} | spec)
    )


def verdict(number: int, letter: str, data: str = "P") -> WindowVerdict:
    start = BEGIN + number * DAY
    said = {"features": VERDICTS[letter], "predictions": Verdict.PASSED, "data": VERDICTS[data]}
    return WindowVerdict(start=start, end=start + DAY, rows=1000, **said)


def summary(order: Order, outcome: str, now: datetime) -> TrainingSummary:
    published = {"revision": order.revision, "digest": "sha256:" + "0" * 64} if outcome == "+" else {}
    return TrainingSummary(
        episode=order.episode,
        attempt=order.attempt,
        outcome=OUTCOMES[outcome],
        reason="Because",
        message="",
        finished_at=now,
        **published,
    )


def transcript(windows: str, outcomes: Sequence[str], pilot: Autopilot, data: str = "") -> list[str]:
    """One line for each training: day, cause, attempt, onset and outcome. The pilot is asked when it wakes, too."""
    told, lines = iter(outcomes), []

    def ask(now: datetime) -> None:
        while order := pilot.decide(now):
            outcome = next(told)
            lines.append(_line(order, outcome, now))
            pilot.conclude(order, summary(order, outcome, now), now)

    ask(BEGIN)
    for number, letter in enumerate(windows):
        end = BEGIN + (number + 1) * DAY
        while pilot.wake and pilot.wake < end:
            ask(pilot.wake)
        pilot.hear(verdict(number, letter, data[number] if data else "P"))
        ask(end)
    return lines


def _line(order: Order, outcome: str, now: datetime) -> str:
    onset = f" since day {(order.onset - BEGIN).days}" if order.onset else ""
    return f"day {(now - BEGIN) / DAY:g}: {order.cause} {order.attempt}{onset} {outcome}"


def autopilot(spec: dict[str, Any] | None = None, **policy: Any) -> Autopilot:
    found = owner(**(spec or {}))
    return Autopilot(found, view(DriftPolicySpec(window="1d", **policy), "watch", found), BEGIN)


FIRST = "day 0: Initial 1 +"


@pytest.mark.parametrize(
    ("windows", "outcomes", "told"),
    [
        ("PPPP", "+", [FIRST]),
        ("PBPPBP", "+", [FIRST]),
        ("PBB", "++", [FIRST, "day 3: Drift 1 since day 1 +"]),
        ("PBPB", "++", [FIRST, "day 4: Drift 1 since day 1 +"]),
        ("B?B", "++", [FIRST, "day 3: Drift 1 since day 0 +"]),
        # A new revision starts a new history.
        ("BBBPBB", "+++", [FIRST, "day 2: Drift 1 since day 0 +", "day 5: Drift 1 since day 2 +"]),
        # What waits for labels tries again, every time a little later, and is no training.
        ("BBP", "+w+", [FIRST, "day 2: Drift 1 since day 0 w", "day 2.00017: Drift 2 since day 0 +"]),
    ],
)
def test_trainings_follow_from_m_of_n_windows(windows: str, outcomes: str, told: list[str]) -> None:
    assert transcript(windows, outcomes, autopilot()) == told


def test_a_failure_backs_off_and_a_cooldown_holds() -> None:
    lines = transcript("BBBB", "+x++", autopilot({"retraining": {"cooldown": "36h"}}))
    assert lines == [FIRST, "day 2: Drift 1 since day 0 x", "day 3.5: Drift 2 since day 0 +"]


def test_the_limit_of_trainings_holds() -> None:
    limited = {"retraining": {"limit": {"max": 1, "per": "4d"}, "cooldown": "0s"}}
    assert transcript("BBBBBB", "+++", autopilot(limited)) == [FIRST, "day 4: Drift 1 since day 0 +"]


def test_broken_data_blocks_training_and_counts_for_nothing() -> None:
    assert transcript("BBBB", "+", autopilot(), data="PBBB") == [FIRST]


def test_a_policy_that_observes_asks_for_nothing() -> None:
    assert transcript("BBBB", "+", autopilot(action="Observe")) == [FIRST]


@pytest.mark.parametrize(("within", "causes"), [("7d", ["Initial"]), ("1d", ["Initial", "Drift"])])
def test_skew_trains_nobody_as_in_a_cluster_and_a_note_says_so(within: str, causes: list[str]) -> None:
    pilot, asked = autopilot(skew_within=within), []
    for number, letter in enumerate("BB "):
        now = BEGIN + number * DAY
        while order := pilot.decide(now):
            asked.append(order.cause.value)
            pilot.conclude(order, summary(order, "+", now).model_copy(update={"data_through": now}), now)
        if letter != " ":
            pilot.hear(verdict(number, letter))
    assert asked == causes
    assert [note.split(":")[0] for note in pilot.notes] == (["revision 1"] if within == "7d" else [])


def test_the_same_history_gives_the_same_episodes() -> None:
    def orders() -> Iterator[Order]:
        pilot = autopilot()
        for number, letter in enumerate("BBB"):
            while order := pilot.decide(BEGIN + number * DAY):
                yield order
                # Digests of manifests differ from run to run: they hold the time of writing.
                told = summary(order, "+", BEGIN).model_copy(update={"digest": f"sha256:{id(order):064x}"})
                pilot.conclude(order, told, BEGIN + number * DAY)
            pilot.hear(verdict(number, letter))

    assert list(orders()) == list(orders())


@pytest.mark.parametrize(("windows", "asked"), [("B", False), ("BB", True), ("BPB", True), ("BPPB", False), ("B?B", True)])
def test_asking_is_the_hysteresis_of_the_policy(windows: str, *, asked: bool) -> None:
    policy = view(DriftPolicySpec(window="1d"), "watch", owner())
    assert asks(policy, [verdict(i, letter) for i, letter in enumerate(windows)]) is asked


def test_a_timetable_trains_at_its_moments_and_numbers_what_was_published() -> None:
    pilot = Timetable("every 2d", BEGIN, 2 * DAY, BEGIN + 5 * DAY)
    lines, outcomes = [], iter("+-+")
    while pilot.wake:
        now = pilot.wake
        order = pilot.decide(now)
        assert order
        outcome = next(outcomes)
        lines.append(f"{_line(order, outcome, now)} as {order.revision}")
        pilot.conclude(order, summary(order, outcome, now), now)
    assert lines == ["day 0: Initial 1 + as 1", "day 2: Schedule 1 - as 2", "day 4: Schedule 1 + as 2"]
