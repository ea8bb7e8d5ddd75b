"""Statistics of two samples that were counted in the same bins: counts in, a frozen result out.

Counts are one-dimensional integer arrays. A numeric column counts below, its bins, above, missing; a categorical one its
categories, any other, missing (`reference`). Which bins are compared follows from the reference and the sizes alone, never from
where the current sample fell, so that chance has the distribution that `calibration` reckons with.

    binning    which bins are compared
    distances  the formulae, over shares
    registry   the tests by name, and how they are called
"""

from stationkeeper.workloads.drift.statistics.binning import Binned, Counts, Floats, Kind, merging
from stationkeeper.workloads.drift.statistics.registry import (
    MEASURES,
    Measure,
    Statistic,
    compare,
    compare_blocks,
    fitting,
    mostly_outside,
)

__all__ = [
    "MEASURES",
    "Binned",
    "Counts",
    "Floats",
    "Kind",
    "Measure",
    "Statistic",
    "compare",
    "compare_blocks",
    "fitting",
    "merging",
    "mostly_outside",
]
