"""Thresholds from what chance gives, for these sizes and bins, instead of folklore.

A calibrated threshold is the largest of three figures, and a breach exceeds it:

noise      What two samples of one distribution differ by in all but a share `alpha` of windows (`chance`).
variation  That, and what windows of the reference itself, of this size, differed by from the rest of it beyond sampling noise: real
           traffic has days and weather, and windows are not independent draws (`variation`). It ends where most of a
           window lies outside of the reference's range, or a quarter beyond the farthest window that the reference knows.
effect     A difference worth a retraining: a million rows make the smallest shift significant. By default what a normal column
           shows when its mean moves by a seventh of a standard deviation.

`alpha` starts from the policy's `falseAlarmRate`, shared by all checks of the window; `level` shares it by Benjamini and Hochberg,
JRSS B 57 (1995): in a healthy window any breach is as rare as promised, in a drifted one as few of the breaches are false.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from stationkeeper.api.report import Threshold
from stationkeeper.workloads.drift.chance import noise
from stationkeeper.workloads.drift.statistics import Statistic, mostly_outside
from stationkeeper.workloads.drift.variation import ColumnVariation, Spread, Variation

Group = Literal["features", "predictions"]


def calibrate(
    statistic: Statistic, alpha: float, variation: ColumnVariation | None = None, effect: float | None = None
) -> Threshold:
    """The parts of the threshold of a statistic.

    Args:
        statistic: what was measured; only its sizes and the reference's shares are looked at, never its value.
        alpha: how often chance may exceed the first two parts, for this one check.
        variation: that of the column, from `ordinary`; None where it is not known.
        effect: the least difference worth an alarm; None for the test's own.
    """
    chance = noise(statistic, alpha)
    spread = variation.spreads.get(statistic.name) if variation else None
    return Threshold(
        noise=chance,
        variation=_beyond(chance, statistic, spread, alpha) if spread else 0.0,
        effect=statistic.measure.effect if effect is None else effect,
    )


def limit(threshold: Threshold) -> float:
    """Breach above this: the largest part."""
    return max(threshold.noise, threshold.variation, threshold.effect)


def level(alpha: float, checks: int, breaches: Callable[[float], int], calibrated: int) -> float:
    """The false-alarm rate of each check when `alpha` is that of the window, by Benjamini and Hochberg's step-up.

    Args:
        alpha: how often chance may bring any breach.
        checks: how many share `alpha`, those included that are judged at `alpha / checks`.
        breaches: how many of the calibrated checks breach at a rate.
        calibrated: how many of the checks these are.
    """
    allowed = max(calibrated, 1)
    while allowed > 1 and (found := breaches(alpha * allowed / checks)) < allowed:
        allowed = max(found, 1)
    return alpha * allowed / max(checks, 1)


def _beyond(chance: float, statistic: Statistic, spread: Spread, alpha: float) -> float:
    """What an ordinary window exceeds with probability `alpha`, as far as anything may be ordinary."""
    square, further = statistic.measure.square, spread.bound(alpha)
    found = chance + further if square else math.sqrt(chance**2 + further)
    if spread.most is None or found <= (most := spread.most if square else math.sqrt(spread.most)):
        return found
    return min(found, max(most, mostly_outside(statistic)))


def ordinary(variation: Sequence[Variation], group: Group, name: str, rows: int) -> ColumnVariation | None:
    """What windows of the reference differed by from the rest of it; None when that was not measured.

    The largest size counts that is not larger than the window, and the smallest when the window is smaller than all: longer
    windows differ less.
    """
    known = sorted((v.size, getattr(v, group)[name]) for v in variation if name in getattr(v, group))
    fitting = [column for size, column in known if size <= rows] or [column for _, column in known[:1]]
    return fitting[-1] if fitting else None
