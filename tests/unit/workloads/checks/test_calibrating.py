"""`Calibrating`: a reference that cannot say what windows ordinarily differ by, and how a revision's own windows end it."""

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.checks import calibrating
from stationkeeper.workloads.checks.frames import Roles, check_frames
from stationkeeper.workloads.checks.survey import Observed
from stationkeeper.workloads.drift.cycles import unknown
from stationkeeper.workloads.drift.variation import ColumnVariation, Variation
from stationkeeper.workloads.jobs.check_drift import check
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.checks.world import HOUR, MINUTE, NOON, REFERENCE, capture, prepared, reports
from tests.unit.workloads.drift import helpers

LENGTH = 2 * HOUR
A_WEEK = 84  # windows
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
SPANS = {"features": "24 hours", "predictions": "5 hours"}
MEASURED = [Variation(size=125, features={"temp": ColumnVariation()})]


@pytest.mark.parametrize(
    ("variation", "span", "length", "why"),
    [
        ([], None, HOUR, "the reference has no timestamps"),
        ([], 30 * DAY, HOUR, "too few rows of the reference have a time"),
        (MEASURED, 30 * HOUR, HOUR, "the reference spans 1.25 days of 7 days that must have been seen"),
        (MEASURED, 6.5 * DAY, HOUR, ""),
        (MEASURED, 12 * DAY, DAY, "the reference spans 12 days of 14 days that must have been seen"),
        (MEASURED, 13 * DAY, DAY, ""),  # of fourteen dates
        (MEASURED, 14 * DAY, WEEK, ""),
        (MEASURED, 40 * DAY, 30 * DAY, "the reference spans 40 days of 60 days that must have been seen"),
        (MEASURED, None, 30 * DAY, ""),  # of an earlier build: what it measured is believed
    ],
)
def test_enough_cycles_must_have_been_seen(
    variation: list[Variation], span: timedelta | None, length: timedelta, why: str
) -> None:
    assert unknown(variation, "features", span, length) == why


def weather(number: int) -> float:
    """By how many standard deviations the days move `temp`."""
    return 0.6 * math.sin(2 * math.pi * number * LENGTH / DAY)


def traffic(store: MemoryStore, config: CheckConfig, number: int, shift: float | None = None, **more: Any) -> datetime:
    """The counts of one window, and when it is judged."""
    start = NOON + number * LENGTH
    shift = weather(number) if shift is None else shift
    capture(store, config, start, helpers.profile(REFERENCE, 600, number, shift=shift, **more).encode())
    return start + LENGTH + 3 * MINUTE


def judged(store: MemoryStore, config: CheckConfig, windows: int, **more: Any) -> None:
    """So many windows, each by a run of its own as a schedule would."""
    for number in range(windows):
        check(config, store, traffic(store, config, number, **more))


def newest(store: MemoryStore) -> DriftReport:
    return max(reports(store).values(), key=lambda report: report.start)


def test_what_breaches_before_a_week_is_observed_only() -> None:
    store, config = prepared(window="2h")
    summary = check(config, store, traffic(store, config, 0, shift=2.0, shares=(0.1, 0.2, 0.3, 0.4)))
    report = newest(store)
    assert (report.features, summary.windows[-1].features) == ("Breached", "Breached")
    assert summary.windows[-1].calibrating == ["features"]
    assert [(c.group, c.breached) for c in report.calibrating] == [("features", True), ("predictions", False)]
    assert (
        summary.calibrating
        == report.calibrating[0].message
        == (
            "the reference has no timestamps; drift is observed only until 20 windows over 7 days show what they ordinarily differ by "
            "(0 so far), or thresholds are given"
        )
    )
    assert report.action == "Thresholds are calibrating: what breached is observed, and nothing is done about it."
    assert "Calibrating (features): the reference has no timestamps" in store.objects[_page(store)].decode()


def test_of_two_groups_that_wait_the_first_says_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    lacked = {group: f"the reference spans {span} of 7 days that must have been seen" for group, span in SPANS.items()}
    monkeypatch.setattr(calibrating, "lacking", lambda *_: lacked)
    store, config = prepared(window="2h")
    summary = check(config, store, traffic(store, config, 0))
    assert [c.group for c in newest(store).calibrating] == list(SPANS)
    assert summary.calibrating.startswith(
        "the reference spans 24 hours of 7 days that must have been seen; drift is observed only"
    )
    assert summary.calibrating.endswith(", or thresholds are given")


def _page(store: MemoryStore) -> str:
    return next(key for key in store.objects if key.endswith(".html"))


GIVEN = {"features": {"default": {"test": "PSI", "threshold": 0.2}}, "predictions": {"test": "PSI", "threshold": 0.2}}


@pytest.mark.parametrize(
    ("policy", "groups", "marked"),
    [
        (GIVEN, [], []),
        ({"features": GIVEN["features"]}, ["predictions"], []),
        ({"features": {"columns": [{"name": "temp", "test": "PSI", "threshold": 0.2}]}}, ["features", "predictions"], []),
        (
            {"features": {"columns": [{"name": "carrier", "test": "PSI", "threshold": 9.0}]}},
            ["features", "predictions"],
            ["features"],
        ),
    ],
    ids=["all are given", "features are given", "a given one breaches by itself", "a given one does not"],
)
def test_given_thresholds_wait_for_nothing(policy: dict[str, Any], groups: list[str], marked: list[str]) -> None:
    store, config = prepared(window="2h", **policy)
    summary = check(config, store, traffic(store, config, 0, shift=2.0))
    assert summary.windows[-1].features == "Breached"
    assert [c.group for c in newest(store).calibrating] == groups
    assert summary.windows[-1].calibrating == marked
    assert bool(summary.calibrating) == bool(groups)


def test_a_week_of_windows_tells_days_from_drift() -> None:
    store, config = prepared(window="2h")
    judged(store, config, A_WEEK)
    while_waiting = newest(store)
    assert while_waiting.calibrating
    assert sum(report.features == "Breached" for report in reports(store).values()) > 5, "days breach sampling noise"
    for number in range(A_WEEK, A_WEEK + 12):
        summary = check(config, store, traffic(store, config, number))
        assert summary.windows[-1].features == "Passed"
        assert (summary.calibrating, newest(store).calibrating) == ("", [])
    assert newest(store).notes[0] == (
        "what windows ordinarily differ by is that of 84 windows of this revision, 2013-04-01T12:00:00Z to 2013-04-08T12:00:00Z"
    )
    summary = check(config, store, traffic(store, config, A_WEEK + 12, shift=3.0))
    assert (summary.windows[-1].features, summary.windows[-1].calibrating) == ("Breached", [])
    assert "Retrain" not in (report.action for report in reports(store).values())
    assert newest(store).action.startswith("A retraining is asked for")


def test_what_windows_differ_by_is_written_once() -> None:
    store, config = prepared(window="2h")
    judged(store, config, A_WEEK)
    check(config, store, traffic(store, config, A_WEEK))
    key = keys.variation(config.policy_uid, config.policy_digest, config.revision.digest)
    kept, known = store.objects[key], surveyed(store, config, 0)
    assert (known.windows, {v.size for v in known.variation}) == (84, {125, 250, 500})
    judged(store, config, A_WEEK + 3, shift=3.0)
    assert store.objects[key] == kept
    store.put(key, b"{}")
    summary = check(config, store, traffic(store, config, A_WEEK + 3))
    assert f"{key}, which cannot be read, is removed" in summary.calibrating, (
        "what cannot be read is said, and nobody acts on less"
    )


def surveyed(store: MemoryStore, config: CheckConfig, survey: int) -> Observed:
    key = keys.variation(config.policy_uid, config.policy_digest, config.revision.digest, survey)
    kept = store.objects[key]
    return Observed.decode(kept if isinstance(kept, bytes) else bytes(kept))


def test_what_twice_as_long_shows_is_ordinary_too_but_not_a_drift() -> None:
    store, config = prepared(window="2h")
    judged(store, config, A_WEEK)
    for number in range(A_WEEK, 2 * A_WEEK):
        check(config, store, traffic(store, config, number, shift=3.0 if number % 6 == 0 else None))
    drifted = sum(r.features == "Breached" and not r.calibrating for r in reports(store).values())
    assert drifted == A_WEEK // 6
    assert keys.variation(config.policy_uid, config.policy_digest, config.revision.digest, 1) not in store.objects
    check(config, store, traffic(store, config, 2 * A_WEEK))
    assert surveyed(store, config, 1).windows == 2 * A_WEEK - drifted
    assert f"that of {2 * A_WEEK - drifted} windows of this revision" in newest(store).notes[0]
    before = surveyed(store, config, 0)
    assert before.windows == A_WEEK, "the first one stays as it was written"
    check(config, store, traffic(store, config, 2 * A_WEEK + 1))
    assert keys.variation(config.policy_uid, config.policy_digest, config.revision.digest, 2) not in store.objects


def test_what_cannot_be_measured_anew_stays_as_it_was_and_is_not_tried_at_every_check() -> None:
    store, config = prepared(window="2h")
    judged(store, config, 2 * A_WEEK)
    for key in [key for key in store.objects if key.startswith("profiles/")]:
        del store.objects[key]
    summary = check(config, store, traffic(store, config, 2 * A_WEEK))
    assert (summary.calibrating, summary.windows[-1].features) == ("", "Passed")
    assert surveyed(store, config, 1) == surveyed(store, config, 0)


def test_windows_with_broken_data_or_few_rows_are_no_ordinary_ones() -> None:
    store, config = prepared(window="2h", minSamples=600)
    judged(store, config, 19)
    for number in range(19, A_WEEK):
        check(config, store, traffic(store, config, number, missing=0.6))
    summary = check(config, store, traffic(store, config, A_WEEK))
    assert "(19 with whole data so far)" in summary.calibrating
    summary = check(config, store, traffic(store, config, A_WEEK + 1))
    assert summary.calibrating == ""


def test_two_files_are_compared_with_a_note_and_judged_as_ever() -> None:
    before, now = helpers.frame(helpers.columns(5_000)), helpers.frame(helpers.columns(5_000, 1, shift=1.0))
    times = np.datetime64("2013-01-01", "us") + np.arange(5_000) * np.timedelta64(3, "m")
    timed = before.with_columns(at=times)
    found = check_frames(before, now, helpers.policy(features={"maxDriftedShare": 0.2}))
    assert found.verdict == "Breached"
    assert found.calibrating[0].message.startswith("the reference has no timestamps: thresholds know of chance only")
    short = check_frames(timed, now, roles=Roles(timestamp="at"))
    assert short.calibrating == []
    days = check_frames(timed, now, helpers.policy(window="1d"), Roles(timestamp="at"))
    assert days.calibrating[0].message.startswith("the reference spans 10.4 days of 14 days that must have been seen")
