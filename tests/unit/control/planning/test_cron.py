"""What a schedule means: what CronJobs would refuse is refused here too, by name."""

from datetime import UTC, datetime

import pytest

from stationkeeper.control.planning import cron

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("expression", "after"),
    [
        ("*/15 * * * *", "2026-11-27T12:15"),
        ("0 3 * * SUN", "2026-11-29T03:00"),
        ("0 3 * * 0", "2026-11-29T03:00"),
        ("30 2 1 jan *", "2027-01-01T02:30"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
    ],
)
def test_the_next_time(expression, after):
    assert cron.next_after(expression, NOW) == datetime.fromisoformat(f"{after}+00:00")


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("0 0 L * *", "'L'"),
        ("0 0 15W * *", "'W'"),
        ("0 0 * * 5L", "'L'"),
        ("0 0 * foo *", "'foo'"),
        ("61 * * * *", "61 "),
        ("0 0 30 2 *", "30 2"),
    ],
)
def test_what_means_nothing_is_refused_with_the_expression(expression, word):
    with pytest.raises(cron.InvalidCronError) as error:
        cron.next_after(expression, NOW)
    assert word in str(error.value)


def test_the_last_time_may_be_now():
    assert cron.last_before("0 12 * * *", NOW) == NOW
