"""A check runs when its cron says so; only what the cron leaves open is spread."""

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim

from stationkeeper.control.resources.schedule import check_schedule

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def times(cron: str, count: int) -> list[datetime]:
    return list(itertools.islice(CronSim(cron, START - timedelta(seconds=1)), count))


# What names its minutes is left alone.
KEPT = ["* * * * *", "0 3 * * *", "0,30 * * * *", "5-59/15 * * * *", "0 */6 * * *", "*/1 * * * *", "15 9-17 * * MON-FRI"]


@pytest.mark.parametrize("cron", KEPT)
def test_a_cron_that_names_its_minutes_is_kept_word_for_word(cron):
    assert {check_schedule(cron, f"model {n}", "policy") for n in range(50)} == {cron}


@pytest.mark.parametrize("step", [*range(1, 61), 90])
def test_every_so_many_minutes_keeps_its_distance_and_loses_no_run(step):
    before = times(f"*/{step} * * * *", 3 * 60 // step + 3)
    for n in range(6):
        after = times(check_schedule(f"*/{step} * * * *", f"model {n}", "policy"), len(before))
        offset = after[0] - before[0]
        assert after == [moment + offset for moment in before]
        assert offset < timedelta(minutes=step)


def test_five_thousand_models_do_not_fire_at_once():
    starts = Counter(check_schedule("*/15 * * * *", f"model {n}", "policy") for n in range(5000))
    assert len(starts) == 15
    assert max(starts.values()) < 2 * 5000 / 15
    assert "*/15 * * * *" in starts, "minute 0 is a minute like any other"


def test_the_minute_is_the_pairs_own_for_ever():
    assert check_schedule("*/15 8-18 * * *", "model", "policy") == check_schedule("*/15 8-18 * * *", "model", "policy")
    assert len({check_schedule("*/30 * * * *", "model", f"policy {n}") for n in range(50)}) > 10


# Cron's Sunday is 0 and 7; a CronJob refuses 7.
SUNDAYS = [
    ("0 3 * * 7", "0 3 * * 0"),
    ("0 3 * * 1,7", "0 3 * * 1,0"),
    ("0 3 * * 5-7", "0 3 * * 5,6,0"),
    ("0 3 * * 1-7/2", "0 3 * * 1,3,5,0"),
    ("0 3 * * 7-7", "0 3 * * 0"),
    ("0 3 * * 0-7", "0 3 * * 0,1,2,3,4,5,6,0"),
    ("0 3 * * 7/2", "0 3 * * 0"),
    ("7 7 7 7 *", "7 7 7 7 *"),
    ("0 3 * * */7", "0 3 * * */7"),
    ("0 3 * * 1-5", "0 3 * * 1-5"),
    ("0 3 * * SUN", "0 3 * * SUN"),
]


@pytest.mark.parametrize(("cron", "taken"), SUNDAYS)
def test_a_sunday_is_written_as_a_cronjob_takes_it(cron, taken):
    assert check_schedule(cron, "model", "policy") == taken
    assert times(cron, 60) == times(taken, 60)


@pytest.mark.parametrize("cron", ["*/0 * * * *", "*/00 * * * *", "*/x * * * *", "0 3 * * 3-7/0"])
def test_what_means_nothing_is_passed_on_for_the_api_server_to_refuse(cron):
    assert check_schedule(cron, "model", "policy") == cron
