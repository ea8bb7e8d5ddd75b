"""Flights out of New York in 2013: the report names what an expert would name, and says nothing in a quiet fortnight."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from hack.demo.flights import TARGET, TIMESTAMP, between, flights
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.checks.frames import check_frames
from stationkeeper.workloads.checks.samples import Roles, sample_of
from stationkeeper.workloads.drift.reference import NumericReference, ReferenceProfile
from stationkeeper.workloads.drift.statistics import Statistic
from stationkeeper.workloads.drift.units import Ordinary, power_of_counts

POLICY = DriftPolicySpec.model_validate({"modelRef": {"name": "flights"}, "features": {"maxDriftedShare": 0.2}})
ROLES = Roles(timestamp=TIMESTAMP, ignore=(TARGET,))


@cache
def year() -> pl.DataFrame:
    return flights()


def day(month: int, of_month: int = 1) -> datetime:
    return datetime(2013, month, of_month, tzinfo=UTC)


@cache
def reference(until: datetime) -> ReferenceProfile:
    """Everything from January on."""
    return sample_of(between(year(), day(1), until), ROLES).profile


def checked(until: datetime, start: datetime, days: int) -> DriftReport:
    """A stretch of days against everything from January on."""
    return check_frames(reference(until), between(year(), start, start + timedelta(days=days)), POLICY, ROLES)


def named(report: DriftReport) -> set[str]:
    return {column.name for column in report.columns if column.verdict == "Breached"}


@pytest.mark.parametrize("month", [6, 7])
def test_the_summer_is_told_by_its_warmth_and_its_timetable(month: int) -> None:
    report = checked(day(4), day(month), 30)
    assert (report.verdict, report.data) == ("Breached", "Passed")
    # Warm and humid air; holiday flights to other and farther places, at other hours.
    assert {"temp", "dewp", "dest", "distance"} <= named(report) <= {"temp", "dewp", "dest", "distance", "hour"}
    first = [name for name, *_ in sorted(((c.name, c.statistic or 0) for c in report.columns), key=lambda c: -c[1])][:2]
    assert first == ["temp", "dewp"]


def test_a_warm_summer_is_no_other_unit_wherever_its_windows_begin() -> None:
    """Where weather makes much ordinary, counts alone must still not take the dew points of summer for tenfold ones."""
    column = next(one for one in reference(day(4)).features if one.name == "dewp")
    assert isinstance(column, NumericReference)
    values = between(year(), day(5), day(9))["dewp"].to_numpy()
    found = set()
    for start in range(0, len(values) - 12_000, 500):
        window = values[start : start + 12_000]
        counts = np.bincount(column.index(window[np.isfinite(window)]), minlength=column.bins)
        found.add(power_of_counts(column, counts, Lenient(1e-4, None)))
    assert found == {None}


class Lenient(Ordinary):
    """A reference that moves by .3 of Kolmogorov and Smirnov's distance."""

    def limit(self, statistic: Statistic) -> float:
        return 0.3


def test_a_fortnight_in_may_is_warm_already() -> None:
    report = checked(day(4), day(5, 20), 14)
    assert report.features == "Breached"
    assert {"temp", "dewp"} <= named(report)


@pytest.mark.parametrize(
    ("until", "start"),
    [(day(3), day(3)), (day(3, 18), day(3, 18)), (day(4), day(4)), (day(9), day(9))],
    ids=["March", "late March", "April", "September"],
)
def test_the_fortnight_that_follows_is_quiet(until: datetime, start: datetime) -> None:
    report = checked(until, start, 14)
    assert (report.verdict, report.features, named(report), report.violations) == ("Passed", "Passed", set(), [])


def test_one_day_of_the_next_week_is_quiet_though_a_day_has_one_weather_and_one_weekday() -> None:
    found = [checked(day(4), day(4, of_month), 1) for of_month in range(1, 8)]
    assert {report.features for report in found} == {"Passed"}
    assert sum(len(named(report)) for report in found) <= 1


def test_no_threshold_is_beyond_what_a_window_out_of_range_would_show() -> None:
    for days in (1, 14, 30):
        thresholds = {c.name: c.threshold for c in checked(day(4), day(4), days).columns}
        assert thresholds["temp"] is not None
        assert thresholds["temp"] < 7, f"{days} days: half of a window out of range gives as much"


def test_a_reference_from_winter_to_summer_says_that_it_drifts_itself() -> None:
    report = checked(day(9), day(9), 14)
    (note,) = [note for note in report.notes if note.startswith("ReferenceUnstable")]
    assert "temp" in note
