"""The promise on false alarms, seeded and small; the whole is `tests/benchmarks/drift/false_alarms.py`."""

import pytest

from tests.benchmarks.drift.false_alarms import PLANTED, Planted, alarm_rate, power
from tests.benchmarks.drift.traffic import SCENARIOS, rates

WINDOWS = 200


@pytest.mark.parametrize("rows", [200, 2_000, 100_000])
def test_independent_rows_are_rarely_called_drifted(rows: int) -> None:
    # One in a hundred is promised: six or more of two hundred come once in sixty times.
    assert alarm_rate("PSI", rows, WINDOWS, effect=None, references=5) < 0.03


def test_days_and_weather_are_rarely_called_drifted() -> None:
    found = rates(SCENARIOS[0], [("PSI", 24)], range(1))["PSI", 24]
    assert found.windows == 60
    assert found.any < 0.05
    assert (found.drifted, found.events) == (0.0, 0.0)


@pytest.mark.parametrize("planted", PLANTED, ids=[planted.title for planted in PLANTED])
def test_a_large_effect_in_one_column_among_forty_is_found(planted: Planted) -> None:
    assert power(planted, planted.sizes[-1], 5_000, 20) == 1.0
    assert power(planted, planted.sizes[0], 500, 20) < 0.3
