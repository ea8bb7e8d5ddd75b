"""The comparison of each column of a window with the reference: one statistic, its threshold, its verdict."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stationkeeper.api.driftpolicy import DistributionCheck
from stationkeeper.api.report import ColumnResult, Threshold
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.drift.calibration import Group, calibrate, level, limit, ordinary
from stationkeeper.workloads.drift.chance import p_value
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import AnyReference, ReferenceProfile
from stationkeeper.workloads.drift.statistics import Measure, Statistic, compare, fitting
from stationkeeper.workloads.drift.variation import ColumnVariation

MIN_VALUES: Final = 30  # on each side, to compare anything; non-missing ones where distribution functions are compared
MIN_REFERENCE: Final = 200  # of the reference, where fewer would not show what everybody wants to see
_MEDIUM: Final = 0.5  # standard deviations


@dataclass(frozen=True, slots=True)
class Check:
    """What a policy asks of one column."""

    group: Group
    column: AnyReference
    asked: DistributionCheck

    @property
    def fits(self) -> bool:
        """Whether the test that was asked for is one for this kind of column: its figures say nothing about another."""
        return fitting(self.asked.test, self.column.kind) == self.asked.test

    @property
    def given(self) -> float | None:
        """The policy's threshold; None where it is calibrated."""
        return self.asked.threshold if self.fits else None


@dataclass(frozen=True, slots=True)
class _Measured:
    check: Check
    statistic: Statistic
    variation: ColumnVariation | None

    def threshold(self, alpha: float) -> Threshold:
        return calibrate(self.statistic, alpha, self.variation, self.check.asked.min_effect if self.check.fits else None)

    def breaches(self, alpha: float) -> bool:
        return self.statistic.value > limit(self.threshold(alpha))


def lasting(reference: ReferenceProfile, checks: Sequence[Check], rows: int) -> Iterator[float]:
    """Of each calibrated check: how windows of this size resemble the ones before them, as far as the reference knows."""
    for check in checks:
        known = ordinary(reference.variation, check.group, check.column.name, rows)
        if known and check.given is None and (spread := known.spreads.get(fitting(check.asked.test, check.column.kind))):
            yield spread.stays


def judge_columns(
    profile: Profile, checks: Sequence[Check], alpha: float, others: int, importance: Mapping[str, float]
) -> list[ColumnResult]:
    """Judge every column of a window.

    Args:
        profile: the window.
        checks: what is compared.
        alpha: how often chance may breach any calibrated check of the window.
        others: further checks that share `alpha`.
        importance: of the features, where it is known.
    """
    measured = [_measure(profile, check) for check in checks]
    calibrated = [m for m in measured if m.check.given is None and not math.isnan(m.statistic.value)]
    every = others + sum(check.given is None for check in checks)
    rate = level(alpha, every, _counter(calibrated), len(calibrated))
    return [_result(m, rate, importance) for m in measured]


def _counter(calibrated: Sequence[_Measured]) -> Callable[[float], int]:
    return lambda alpha: sum(m.breaches(alpha) for m in calibrated)


def _measure(profile: Profile, check: Check) -> _Measured:
    column = check.column
    found = compare(fitting(check.asked.test, column.kind), column, profile.counts(check.group, column.name))
    if min(found.reference_size, found.current_size) < MIN_VALUES:
        found = Statistic(found.name, math.nan, found.reference_size, found.current_size)
    return _Measured(check, found, ordinary(profile.layout.reference.variation, check.group, column.name, profile.rows))


def coarse(measure: Measure, threshold: Threshold) -> bool:
    """Whether so few rows do not show a shift of half a standard deviation, which is a medium effect (Cohen 1988)."""
    return threshold.noise > measure.effect_of(_MEDIUM)


def _result(measured: _Measured, alpha: float, importance: Mapping[str, float]) -> ColumnResult:
    check, statistic = measured.check, measured.statistic
    name, group, given = check.column.name, check.group, check.given
    known = not math.isnan(statistic.value)
    parts = measured.threshold(alpha) if known and given is None else None
    threshold = limit(parts) if parts else given
    verdict, message = Verdict.INSUFFICIENT_DATA, f"{name} holds too few values to compare"
    if known and threshold is not None:
        verdict = Verdict.BREACHED if statistic.value > threshold else Verdict.PASSED
        if verdict is Verdict.PASSED and parts and coarse(statistic.measure, parts) and statistic.reference_size < MIN_REFERENCE:
            verdict = Verdict.INSUFFICIENT_DATA  # a window may be as small as the policy says, which hysteresis heeds
        relation = ">" if verdict is Verdict.BREACHED else "<="
        message = f"{name} ({statistic.measure.short} {statistic.value:.2g} {relation} {threshold:.2g})"
    return ColumnResult(
        name=name, group=group, test=statistic.name, calibrated=given is None, verdict=verdict, message=message,
        statistic=statistic.value if known else None, threshold=threshold, parts=parts,
        p_value=p_value(statistic) if known else None, importance=importance.get(name) if group == "features" else None,
    )  # fmt: skip
