"""Whether a reference drifts within itself (`ReferenceUnstable`): then its windows differ widely, and its thresholds are wide.

Its first third is compared with its last, as a window is with a reference: what comes and goes is ordinary, what has moved on is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from stationkeeper.workloads.drift.calibration import calibrate, limit, ordinary
from stationkeeper.workloads.drift.statistics import Binned, Counts, Floats, Kind, compare
from stationkeeper.workloads.drift.variation import Array, Indexed, Variation, in_time

_ALPHA: Final = 0.01  # how often chance may call any column of a reference unstable
_PARTS: Final = 3


def unstable(
    columns: Sequence[Indexed], timestamps: Array, variation: Sequence[Variation], among: int | None = None
) -> list[str]:
    """Which columns moved within the reference by more than chance and the variation of its own windows; [] where that is not known.

    Args:
        columns: that are looked at.
        timestamps: datetime64 of their rows.
        variation: of these columns.
        among: how many columns the reference has, where these are not all.
    """
    if not variation:
        return []
    order, alpha = in_time(timestamps), _ALPHA / (among or len(columns))
    return [name for name, column, index in columns if _moved(name, column, index[order], variation, alpha)]


@dataclass(frozen=True, slots=True)
class _Part:
    """A column with the counts of a part of the reference."""

    column: Binned
    vector: Counts

    @property
    def kind(self) -> Kind:
        return self.column.kind

    @property
    def points(self) -> Floats:
        return self.column.points


def _moved(name: str, column: Binned, index: Array, variation: Sequence[Variation], alpha: float) -> bool:
    first, *_, last = (np.bincount(part, minlength=column.vector.size) for part in np.array_split(index, _PARTS))
    found = compare("PSI", _Part(column, first), last)
    return found.value > limit(calibrate(found, alpha, ordinary(variation, "features", name, found.current_size)))
