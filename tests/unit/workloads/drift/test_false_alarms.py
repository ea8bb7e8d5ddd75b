"""The promise on false alarms, seeded and small; the whole is `tests/benchmarks/drift/false_alarms.py`."""

from typing import get_args

import numpy as np
import pytest

from stationkeeper.api.driftpolicy import Test as Statistic
from tests.benchmarks.drift.alarms import policy, said
from tests.benchmarks.drift.false_alarms import PLANTED, Planted, alarm_rate, batches, power
from tests.benchmarks.drift.population import rowwise
from tests.benchmarks.drift.segmented import segmented
from tests.benchmarks.drift.traffic import SCENARIOS, Traffic, rates

RATE = 0.1  # of false alarms, that the policy allows here: at one in a hundred it takes ten thousand windows to see a doubling
WINDOWS = 1_000
# Rows of a window, and three standard errors above what is seen today: the engine keeps below its promise.
SEEN = [(200, 0.065), (2_000, 0.075), (100_000, 0.017)]


@pytest.mark.parametrize(("rows", "most"), SEEN)
def test_independent_rows_alarm_as_rarely_as_was_promised(rows: int, most: float) -> None:
    of = batches(rows, WINDOWS, references=5)
    kept, doubled = (alarm_rate(of, alpha=alpha, least=False) for alpha in (RATE, 2 * RATE))
    assert kept.value < most < doubled.value, "an engine that alarmed twice as often would be seen here"
    assert most < RATE


@pytest.mark.parametrize("test", get_args(Statistic))
def test_windows_at_once_are_judged_as_the_drift_check_judges_them(test: Statistic) -> None:
    of, *_ = batches(300, 40, references=1)
    asked = policy(test, 0.2, least=False)
    found = of.said(asked)
    assert found == [said(window, asked) for window in of.profiles()]
    assert any(window.alarm for window in found)
    assert not all(window.alarm for window in found)


def test_counts_that_are_drawn_are_those_of_rows() -> None:
    counted, drawn = (batches(4_000, 50, references=1, **how)[0] for how in ({"draw": rowwise}, {}))
    for key, counts in drawn.counts.items():
        rows = counted.counts[key]
        assert (rows.sum(axis=1) == counts.sum(axis=1)).all()
        pooled = rows.sum(axis=0) + counts.sum(axis=0)
        differ = (rows.sum(axis=0) - counts.sum(axis=0))[pooled > 0] / np.sqrt(pooled[pooled > 0])
        assert np.abs(differ).max() < 5, key  # standard errors, of the farthest bin of a thousand


def test_days_and_weather_are_rarely_called_drifted() -> None:
    found = rates(SCENARIOS[0], [("PSI", 24)], range(1))["PSI", 24]
    assert found.any.of == 60
    assert found.any.value < 0.05
    assert (found.drifted.found, found.events.events) == (0, 0)


def test_segments_of_ordinary_hours_are_rarely_called_drifted_and_those_of_other_days_often() -> None:
    _, ordinary = segmented(Traffic("independent rows"), range(1), alpha=0.3, days=3)
    _, moved = segmented(Traffic("each day is another", weather=1.0), range(1), alpha=0.3, days=3)
    assert (ordinary.of, moved.of) == (72, 72)
    assert ordinary.value < 0.1 < 0.5 < moved.value


@pytest.mark.parametrize("planted", PLANTED, ids=[planted.title for planted in PLANTED])
def test_a_large_effect_in_one_column_among_forty_is_found(planted: Planted) -> None:
    assert power(planted, planted.sizes[-1], 5_000, 20) == 1.0
    assert power(planted, planted.sizes[0], 500, 20) < 0.3
