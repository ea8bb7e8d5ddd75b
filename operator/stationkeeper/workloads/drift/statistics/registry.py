"""The tests by name. All have one interface: a column of the reference and counts of the same bins in, a `Statistic` out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from stationkeeper.api.driftpolicy import Test
from stationkeeper.workloads.drift.statistics import distances
from stationkeeper.workloads.drift.statistics.binning import Binned, Counts, Floats, Kind, merging
from stationkeeper.workloads.drift.statistics.distances import Shares

_SEVENTH: Final = 1 / 7  # of a standard deviation: the shift of `Measure.effect`

Chance = Literal["chi-square", "Kolmogorov", "simulated"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A test: its formula, what it is for, and how chance and effect are reckoned."""

    short: str  # its name in a sentence
    distance: Callable[[Shares], Floats]
    chance: Chance  # the distribution under chance
    effect: float  # what a shift by a seventh of a standard deviation gives
    kinds: tuple[Kind, ...] = ("numeric", "categorical")
    ordered: bool = False  # compares distribution functions: all bins in order, missing values left out
    located: bool = False  # weighs them by where the bins lie
    square: bool = False  # grows with the square of a shift, as its chance does
    outside: float = 0.75  # share of rows outside of the reference's range that is never ordinary
    unit: float = 1.0  # what it (or its square) is of the chi-square distance, for samples that differ little

    def effect_of(self, deviations: float) -> float:
        """What a shift of a normal column by so many standard deviations gives."""
        times = deviations / _SEVENTH
        return self.effect * (times**2 if self.square else times)


MEASURES: Final[dict[Test, Measure]] = {
    "PSI": Measure("PSI", distances.population_stability_index, "chi-square", 0.02, square=True, outside=0.6),
    "KolmogorovSmirnov": Measure("KS", distances.kolmogorov_smirnov, "Kolmogorov", 0.057, kinds=("numeric",), ordered=True),
    "Wasserstein": Measure(
        "Wasserstein", distances.wasserstein, "simulated", 0.143, kinds=("numeric",), ordered=True, located=True
    ),
    "JensenShannon": Measure("Jensen-Shannon", distances.jensen_shannon, "chi-square", 0.06, unit=1 / (8 * math.log(2))),
    "Hellinger": Measure("Hellinger", distances.hellinger, "chi-square", 0.05, unit=1 / 8),
    "ChiSquare": Measure("chi-square", distances.chi_square, "chi-square", 0.02, kinds=("categorical",), square=True),
    "TotalVariation": Measure("total variation", distances.total_variation, "simulated", 0.057),
    "LInfinity": Measure("L-infinity", distances.l_infinity, "simulated", 0.05, kinds=("categorical",)),
}


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic and what its distribution under chance depends on. NaN when a sample holds nothing to compare."""

    name: Test
    value: float
    reference_size: int  # rows that were compared
    current_size: int
    shares: tuple[float, ...] = ()  # of the reference in the compared bins
    points: tuple[float, ...] = ()  # where those bins lie, for distribution functions

    @property
    def measure(self) -> Measure:
        """The test."""
        return MEASURES[self.name]


def fitting(test: Test, kind: Kind) -> Test:
    """The test itself, or PSI where a column of this kind has no such statistic."""
    return test if kind in MEASURES[test].kinds else "PSI"


def compare(test: Test, column: Binned, current: Counts) -> Statistic:
    """One statistic of a column.

    Args:
        test: a name that is `fitting` for the column's kind.
        column: the reference.
        current: counts of the other sample in the reference's bins, shape (bins,).
    """
    measure = MEASURES[test]
    found = _shares(column, current[None, :], column.vector, ordered=measure.ordered, located=measure.located)
    if _incomparable(measure, found):
        return Statistic(test, float("nan"), found.reference_size, found.current_size)
    value, points = float(measure.distance(found)[0]), tuple(found.points.tolist())
    return Statistic(test, value, found.reference_size, found.current_size, tuple(found.p.tolist()), points)


def mostly_outside(statistic: Statistic) -> float:
    """What a window of these sizes gives, the share `outside` of which lies where the reference has no row, or the fewest.

    All other rows are as in the reference. Of numbers that is the side on which its range ends farther.
    """
    p, measure = np.array(statistic.shares), statistic.measure
    ends = [0, p.size - 1] if measure.ordered else [int(p.argmin())]
    q = (1 - measure.outside) * p + measure.outside * np.eye(p.size)[ends]
    shares = Shares(p, q, statistic.reference_size, statistic.current_size, np.array(statistic.points))
    return float(measure.distance(shares).max())


def compare_blocks(column: Binned, blocks: Counts, rest: Counts) -> dict[Test, Floats]:
    """Every test that fits a column, on each row of counts against the row of `rest`, in the bins that the column has for them.

    All blocks are of one total, and so are all of the rest: shapes (blocks, bins) in, (blocks,) out, NaN as in `compare`.
    """
    views = {ordered: _shares(column, blocks, rest, ordered=ordered, located=ordered) for ordered in (False, True)}
    return {
        test: np.full(len(blocks), np.nan) if _incomparable(measure, found) else measure.distance(found)
        for test, measure in MEASURES.items()
        if column.kind in measure.kinds and (found := views[measure.ordered])
    }


def _shares(column: Binned, blocks: Counts, reference: Counts, *, ordered: bool, located: bool) -> Shares:
    bins, points = column.vector, np.empty(0)
    if ordered:
        bins, reference, blocks = bins[:-1], reference[..., :-1], blocks[:, :-1]
    before, sizes = reference.sum(axis=-1, keepdims=True), blocks.sum(axis=1)
    n, m = int(before.max()), int(sizes.max(initial=0))
    if n and located and column.points.size:
        points = column.points / distances.deviation(bins / bins.sum(), column.points)
    elif n and m and not ordered:
        merged = merging(bins, min(n, m), column.kind)
        reference, blocks = reference @ merged, blocks @ merged
    with np.errstate(invalid="ignore"):
        return Shares(reference / before, blocks / sizes[:, None], n, m, points)


def _incomparable(measure: Measure, found: Shares) -> bool:
    # Without one finite value the reference lies nowhere: no distance to it can be told.
    return not (found.reference_size and found.current_size) or (measure.located and not found.points.size)
