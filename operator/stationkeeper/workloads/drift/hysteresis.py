"""How rarely a window may breach by chance, so that `Drifted` is as rare as promised.

What is promised is a rate of events in a day, and an event takes M of N windows. Windows of an hour have 24 chances a day, and where
weather stays the next window breaches with the one before: two of three are no second opinion then. Windows are taken for a chain in
which a breach is followed by another one as often as two normal variables of their correlation exceed a bound together.

What is divided among the checks of a window is the share of windows, never the rate of events: ten segments of which each brings a tenth
of the events breach three times as many windows together as one does, and windows of different segments make up an event, too.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np

from stationkeeper.api.base import parse_duration
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.workloads.drift.chance import normal_quantile

_DAY: Final = 86_400.0  # seconds
_MOST: Final = 0.2  # share of windows: beyond, a breach says nothing
_LEAST: Final = 1e-7  # share of windows: beyond, nothing is known of any tail
_HALVINGS: Final = 40
_FAR: Final = 8.0  # standard deviations, beyond a bound
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def window_rate(policy: DriftPolicySpec, stays: Iterable[float] = ()) -> float:
    """The share of windows in which any calibrated check of one part may breach by chance; of all parts (`parts`) together at most the
    policy's `falseAlarmRate`, and a fifth.

    Args:
        policy: its rate is that of days; its windows and M of N say what a day is made of.
        stays: correlation of windows with the one before, of each column; the most lasting counts.
    """
    chances = _DAY / parse_duration(policy.window).total_seconds()
    lasting = round(max(stays, default=0.0), 3)
    return _window_rate(policy.false_alarm_rate, chances, policy.breach.windows, policy.breach.of, lasting) / parts(policy)


def parts(policy: DriftPolicySpec) -> int:
    """What shares the promise: the columns, each test of all columns, each segment that there may be, whatever a window brings."""
    asked = policy.features.multivariate
    return 1 + (len(set(asked.tests)) if asked else 0) + sum(segment.max_values + 1 for segment in policy.segments)


@lru_cache(maxsize=256)
def _window_rate(rate: float, chances: float, m: int, n: int, stays: float) -> float:
    def kept(share: float) -> bool:
        return chances * onset(share, _again(share, stays), m, n) <= rate

    most = min(rate, _MOST)
    if kept(most):
        return most
    low, high = math.log(_LEAST), math.log(most)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(math.exp(middle)) else (low, middle)
    return math.exp(low)


def onset(share: float, again: float, m: int, n: int) -> float:
    """How often M of the newest N windows breach that did not at the window before.

    Such a window breaches, M - 1 of the N - 1 before it do, and the one before these does not.

    Args:
        share: of windows that breach.
        again: share of the windows after a breach that breach.
        m: windows that must breach.
        n: out of so many.
    """
    rarely = share * (1 - again) / (1 - share)  # after a window that passed, so that the share is what it is
    passed, breached = np.zeros(m), np.zeros(m)  # by how many have breached, up to M - 1
    passed[0] = 1 - share
    for _ in range(n - 1):
        risen = passed * rarely + breached * again
        passed, breached = passed * (1 - rarely) + breached * (1 - again), np.concatenate(([0.0], risen[:-1]))
    return float(passed[-1] * rarely + breached[-1] * again)


def _again(share: float, stays: float) -> float:
    """How often the next window breaches too: both of two normal variables exceed what one does so often."""
    if stays <= 0:
        return share
    bound = normal_quantile(share)
    x = bound + (_NODES + 1) * _FAR / 2
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    beyond = [0.5 * math.erfc(z / math.sqrt(2)) for z in ((bound - stays * x) / math.sqrt(1 - stays**2)).tolist()]
    return max(float(_WEIGHTS @ (density * beyond)) * _FAR / 2 / share, share)
