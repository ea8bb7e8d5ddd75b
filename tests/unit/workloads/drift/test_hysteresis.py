"""How rarely a window may breach, held against chains of windows that were drawn."""

from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.workloads.drift.hysteresis import onset, parts, window_rate

WINDOWS = 2_000_000


def policy(window: str = "1h", windows: int = 2, of: int = 3, rate: float = 0.01, segments: int = 0) -> DriftPolicySpec:
    said: dict[str, Any] = {"window": window, "breach": {"windows": windows, "of": of}, "falseAlarmRate": rate}
    cut = {"segments": [{"column": "carrier", "maxValues": segments - 1}]} if segments else {}
    return DriftPolicySpec.model_validate({"modelRef": {"name": "m"}} | said | cut)


def breaching(share: float, stays: float, seed: int = 0) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether windows breach whose statistics are normal and follow each other so."""
    noise = np.random.default_rng(seed).normal(size=WINDOWS)
    drawn = lfilter([np.sqrt(1 - stays**2)], [1, -stays], noise)
    found: np.ndarray[Any, np.dtype[np.bool_]] = drawn > np.quantile(drawn, 1 - share)
    return found


def events(breached: np.ndarray[Any, np.dtype[np.bool_]], windows: int, of: int) -> float:
    """How often M of N agree anew."""
    agreed = np.convolve(breached, np.ones(of), "valid") >= windows
    return float((agreed[1:] & ~agreed[:-1]).mean())


@pytest.mark.parametrize("stays", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("windows", "of"), [(1, 1), (2, 3), (3, 5)])
def test_events_are_as_rare_as_promised_whatever_the_window_and_its_weather(windows: int, of: int, stays: float) -> None:
    asked = policy("15m", windows, of, rate=0.05)
    share = window_rate(asked, [0.0, stays])
    a_day = 96 * events(breaching(share, stays), windows, of)
    # A chain remembers one window, a process of first order a little more: with three of five it errs by four tenths at most.
    assert 0.5 * 0.05 < a_day < 1.45 * 0.05 or (share == 0.05 and a_day < 0.05)


def test_an_event_is_the_first_window_at_which_enough_agree() -> None:
    assert onset(0.1, 0.1, 1, 1) == pytest.approx(0.1 * 0.9), "one of one: a breach after a window that passed"
    assert onset(0.1, 0.1, 2, 2) == pytest.approx(0.9 * 0.1 * 0.1)
    assert onset(0.1, 0.1, 2, 3) == pytest.approx(0.9 * 2 * 0.1 * 0.9 * 0.1)
    assert onset(0.1, 1.0, 1, 1) == pytest.approx(0.0), "what never ends never begins"


def test_no_more_windows_breach_than_the_rate_says() -> None:
    assert window_rate(policy("7d")) == 0.01
    assert window_rate(policy("1h")) == 0.01, "two of three windows without weather are rare enough"


def test_more_chances_a_day_and_weather_make_a_window_prove_more() -> None:
    assert window_rate(policy("1m")) < window_rate(policy("5m")) < window_rate(policy("1h"))
    assert window_rate(policy("1h"), [0.9]) < window_rate(policy("1h"), [0.5]) < window_rate(policy("1h"), [0.1])
    assert window_rate(policy("1h", 1, 1)) == pytest.approx(0.01 / 24, rel=0.01)
    assert window_rate(policy("1h", 4, 5), [0.9]) > window_rate(policy("1h"), [0.9]), "more must agree"


@pytest.mark.parametrize("stays", [0.0, 0.5])
@pytest.mark.parametrize("rate", [0.01, 2.0])
def test_ten_segments_together_keep_the_promise_of_one(rate: float, stays: float) -> None:
    asked = policy("15m", rate=rate, segments=10)
    assert parts(asked) == 11
    share = window_rate(asked, [stays])
    any_part = np.any([breaching(share, stays, seed) for seed in range(parts(asked))], axis=0)
    assert any_part.mean() <= 0.2
    # Windows in which different segments breach make up an event, too; weather that stays in one of them makes up fewer.
    assert 0.2 * rate < 96 * events(any_part, 2, 3) < 1.1 * rate
