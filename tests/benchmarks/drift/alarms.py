"""How a policy judges a healthy window, and how surely a rate is known; what all figures of this folder count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from scipy import stats

from stationkeeper.api.driftpolicy import DistributionCheck, DriftPolicySpec, Test
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.drift import verdict
from stationkeeper.workloads.drift.columns import Check, judge_columns
from stationkeeper.workloads.drift.profile import Profile

ALPHA: Final = 0.01  # `falseAlarmRate`

Array = np.ndarray[Any, Any]
Generator = np.random.Generator


@dataclass(frozen=True)
class Share:
    """How many of so many windows, and the interval (95 %) of the true share."""

    found: int
    of: int
    resemblance: float = 1.0  # Kish's design effect: windows that are compared with one reference share its luck

    @property
    def value(self) -> float:
        """The share."""
        return self.found / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's, of as many windows as these tell as much as."""
        of = self.of / self.resemblance
        found = self.value * of
        low = float(stats.beta.ppf(0.025, found, of - found + 1)) if found else 0.0
        return low, float(stats.beta.ppf(0.975, found + 1, of - found)) if found < of else 1.0

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2%} ({low:.2%} to {high:.2%})"


@dataclass(frozen=True)
class Rate:
    """Events in so many months, and the interval (95 %) of their rate."""

    events: int
    months: float

    @property
    def interval(self) -> tuple[float, float]:
        """Garwood's, of a Poisson variable."""
        low = stats.chi2.ppf(0.025, 2 * self.events) / 2 if self.events else 0.0
        return float(low) / self.months, float(stats.chi2.ppf(0.975, 2 * self.events + 2)) / 2 / self.months

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.events / self.months:.3f} ({low:.3f} to {high:.3f})"


@dataclass(frozen=True)
class Said:
    """What a window said."""

    alarm: bool  # any calibrated check
    features: bool
    predictions: bool


def policy(test: Test = "PSI", alpha: float = ALPHA, *, least: bool = True, hours: int = 24) -> DriftPolicySpec:
    """The default policy with another test, rate or window; `least` is whether a difference must be worth an alarm."""
    effect = None if least else 0.0
    asked: dict[str, Any] = {"test": test, "minEffect": effect}
    schema = {} if least else {"maxMissingIncrease": 0.0}
    return DriftPolicySpec.model_validate(
        {
            "modelRef": {"name": "healthy"},
            "window": f"{hours}h",
            "falseAlarmRate": alpha,
            "minSamples": 100,
            "schema": schema,
            "features": {"default": asked},
            "predictions": asked,
        }
    )


def said(window: Profile, asked: DriftPolicySpec) -> Said:
    """Judge a window by all checks of a policy, as the drift check does; only its pictures are not drawn."""
    with patch.object(verdict, "histogram"):
        found = verdict.judge(window, asked)
    any_column = any(result.verdict is Verdict.BREACHED for result in found.columns)
    groups = (group.verdict is Verdict.BREACHED for group in (found.features, found.predictions))
    return Said(any_column or bool(found.violations), *groups)


def drifts(windows: Sequence[Said], asked: DriftPolicySpec) -> int:
    """How often `Drifted` becomes true anew: M of N windows breach in one group that did not before."""
    groups = [[w.features for w in windows], [w.predictions for w in windows]]
    agreed = [
        any(sum(g[max(i + 1 - asked.breach.of, 0) : i + 1]) >= asked.breach.windows for g in groups) for i in range(len(windows))
    ]
    return sum(now and not before for before, now in zip([False, *agreed], agreed, strict=False))


def alarms(window: Profile, asked: DistributionCheck, alpha: float = ALPHA, others: int = 0) -> int:
    """Distributions of features that breach; completeness shares `alpha` with them, as it does in a policy."""
    features = window.layout.reference.features
    checks = [Check("features", column, asked) for column in features]
    results = judge_columns(window, checks, alpha, len(features) + others, {})
    return sum(result.verdict is Verdict.BREACHED for result in results)
