"""Whether a numeric column came scaled by a power of ten: metres for kilometres, cents for euros.

A unit has changed when the values as they are differ from the reference by more than chance and ordinary variation give, and
divided by a power of ten they do not. From rows each power is tried; from counts alone the reference itself is scaled, which
tells a power only where enough of it stays within the reference's bins.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from stationkeeper.api.report import Violation
from stationkeeper.workloads.drift.calibration import calibrate, limit
from stationkeeper.workloads.drift.grid import Floats, Ints
from stationkeeper.workloads.drift.reference import NumericReference
from stationkeeper.workloads.drift.statistics import Statistic, compare
from stationkeeper.workloads.drift.variation import ColumnVariation

MIN_VALUES: Final = 30
_POWERS: Final = tuple(power for power in range(-9, 10) if power)
_MAX_VALUES: Final = 5_000  # enough to tell a factor of ten
_STRANGE: Final = 0.25  # Kolmogorov-Smirnov distance, at least: a lesser change is drift, not another unit
_ALIKE: Final = 0.1  # after rescaling, where chance and variation allow less
_OUTSIDE: Final = 0.05  # share of rescaled values that may lie outside the reference's range
_SHAPE: Final = 6  # different shares below the borders of bins, that the scaled reference must show there
_GUESSES: Final = {3: "metres for kilometres?", -3: "kilometres for metres?", 2: "cents for euros?", -2: "euros for cents?"}


@dataclass(frozen=True, slots=True)
class Ordinary:
    """What chance and the reference's own stretches give."""

    alpha: float
    variation: ColumnVariation | None

    def limit(self, statistic: Statistic) -> float:
        """What an ordinary window stays below."""
        return limit(calibrate(statistic, self.alpha, self.variation))


def power_of_values(column: NumericReference, values: Floats, ordinary: Ordinary) -> int | None:
    """The power of ten by which values, shape (rows,), are scaled against the reference; None when they are not."""
    present = values[np.isfinite(values)]
    present = present[:: max(present.size // _MAX_VALUES, 1)]
    if present.size < MIN_VALUES or not _strange(seen := _seen(column, present), ordinary):
        return None
    with np.errstate(over="ignore"):  # beyond all numbers is beyond the range
        tried = {power: _seen(column, present / 10.0**power) for power in _POWERS}
    best = min(tried, key=lambda power: tried[power][0].value)
    statistic, outside = tried[best]
    # A reference that moves makes anything ordinary: what is as strange as drift is not alike, whatever the reference did.
    alike = statistic.value <= min(max(ordinary.limit(statistic), _ALIKE), _STRANGE, seen[0].value / 2)
    return best if alike and outside <= _OUTSIDE else None


def power_of_counts(column: NumericReference, counts: Ints, ordinary: Ordinary) -> int | None:
    """The same from the counts of a profile; None also where they cannot tell.

    The whole column beyond the range proves no unit: a year that ended and a counter that went on look alike.
    """
    statistic, present = compare("KolmogorovSmirnov", column, counts), counts[:-1]
    if min(statistic.reference_size, present.sum()) < MIN_VALUES or not _strange((statistic, 0.0), ordinary):
        return None
    now, before = np.cumsum(present[:-1]) / present.sum(), np.cumsum(column.vector[:-2]) / statistic.reference_size
    with np.errstate(over="ignore"):
        tried = {power: np.interp(column.cuts / 10.0**power, column.cuts, before, left=0.0, right=1.0) for power in _POWERS}
    best = min(tried, key=lambda power: _gap(now, tried[power]))
    visible = float(np.ptp(now))
    # Where most lies beyond the range little is left to compare: what fits must explain more than half of that.
    alike = _gap(now, tried[best]) <= min(max(ordinary.limit(statistic), _ALIKE), _STRANGE, statistic.value / 2, visible / 2)
    return best if alike and visible > _STRANGE and np.unique(np.round(tried[best], 2)).size >= _SHAPE else None


def violation(column: NumericReference, power: int) -> Violation:
    """The change of unit in words."""
    factor = f"{10 ** abs(power)} times the reference" if power > 0 else f"a {10 ** abs(power)}th of the reference"
    guess = _GUESSES.get(power, "another unit?")
    return Violation(
        type="unit_change", column=column.name, observed=f"looks {factor}: {guess}", expected=f"around {column.center:.4g}"
    )


def _seen(column: NumericReference, values: Floats) -> tuple[Statistic, float]:
    """The distance from the reference, and the share of values outside its range."""
    counts = np.bincount(column.index(values), minlength=column.bins)
    return compare("KolmogorovSmirnov", column, counts), float(counts[0] + counts[-2]) / values.size


def _strange(seen: tuple[Statistic, float], ordinary: Ordinary) -> bool:
    statistic, outside = seen
    return statistic.value > _STRANGE and (outside > 0.5 or statistic.value > ordinary.limit(statistic))


def _gap(now: Floats, scaled: Floats) -> float:
    return float(np.abs(now - scaled).max())
