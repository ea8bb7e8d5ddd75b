"""What traffic is compared with in place of the training rows: a stretch of the revision's own traffic, or its first rows.

Traffic is counted in the reference's bins already, so a baseline is the same bins with other counts. A model without a reference
has no bins: they are made from its first captured rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.base import format_time
from stationkeeper.api.driftpolicy import Baseline
from stationkeeper.api.manifest import Column
from stationkeeper.workloads.artifacts.captured import INPUT, OUTPUT, event_at
from stationkeeper.workloads.drift.bins import AnyReference, CategoricalReference, Count, NumericReference
from stationkeeper.workloads.drift.collect import Collector
from stationkeeper.workloads.drift.grid import Ints
from stationkeeper.workloads.drift.profile import Layout, Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from stationkeeper.workloads.drift.windows import Window

MIN_ROWS: Final = 500  # fewer are no baseline

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The traffic that a policy compares with, and why it does not suffice where it does not."""

    profile: Profile
    stretch: Window
    lacking: str = ""

    def covers(self, window: Window) -> bool:
        """Whether a window has part in the baseline: compared with itself it would always pass."""
        return window.start < self.stretch.end and self.stretch.start < window.end


def choose(collector: Collector, asked: Baseline, since: datetime, now: datetime) -> Chosen:
    """Collect the baseline that a policy asks for, from the traffic that a revision answered in `[since, now)`.

    Raises:
        UnreadableProfiles: when a profile of it is damaged.
    """
    if asked.window is not None:
        stretch, wanted = Window(asked.window.start, asked.window.end), MIN_ROWS
        profile = collector.collect(stretch) or collector.empty()
    else:
        wanted = asked.first_rows or MIN_ROWS
        profile, end = collector.first(Window(since, now), wanted)
        stretch = Window(since, end)
    lacking = f"the baseline holds {profile.rows} of the {wanted} rows that it needs" if profile.rows < wanted else ""
    if stretch.end > now:
        lacking = f"the baseline ends only at {format_time(stretch.end)}"
    return Chosen(profile, stretch, lacking)


class Recounted(NumericReference):
    """A numeric column in bins that were made for other rows: some of these may lie beyond them."""

    below: Count = 0
    above: Count = 0

    @cached_property
    def vector(self) -> Ints:
        """The counts in the layout of a profile."""
        return np.array([self.below, *self.counts, self.above, self.missing], dtype=np.int64)


def rebased(reference: ReferenceProfile, counts: Profile) -> ReferenceProfile:
    """The reference with the counts of a baseline: the same bins, and what its stretches vary by.

    Raises:
        ValueError: when the profile belongs to another reference, or holds no row.
    """
    if counts.layout.reference.digest != reference.digest:
        raise ValueError("the baseline was counted in the bins of another reference")
    if not counts.rows:
        raise ValueError("a baseline needs at least one row")
    return ReferenceProfile(
        rows=counts.rows,
        prediction_rows=counts.rows if reference.predictions else 0,
        features=[_recounted(column, counts.counts("features", column.name)) for column in reference.features],
        predictions=[_recounted(column, counts.counts("predictions", column.name)) for column in reference.predictions],
        variation=reference.variation,
    )


def _recounted(column: AnyReference, counts: Ints) -> AnyReference:
    *inner, rest, missing = counts.tolist()
    if isinstance(column, CategoricalReference):
        return CategoricalReference(name=column.name, categories=column.categories, counts=inner, other=rest, missing=missing)
    below, *within = inner
    shape = {name: getattr(column, name) for name in ("name", "center", "scale", "edges", "top", "minimum", "maximum")}
    return Recounted(**shape, below=below, counts=within, above=rest, missing=missing)


def against(profile: Profile, baseline: ReferenceProfile) -> Profile:
    """The same traffic, to be compared with a baseline of its own reference.

    Raises:
        ValueError: when the bins are not the same.
    """
    layout = Layout(baseline)
    if layout.spans != profile.layout.spans:
        raise ValueError("the traffic was counted in other bins than the baseline")
    return Profile(layout, profile.vector, profile.extra_rows)


def from_captured(rows: pl.DataFrame, features: Sequence[Column]) -> ReferenceProfile:
    """The reference of a model that came without one, from its first captured rows (`artifacts.captured`).

    Raises:
        ColumnError: when a feature is not among the rows, or of another kind.
        ValueError: when there is no row.
    """
    at = naive(rows)
    return build_reference(plain(rows, INPUT), features, answers(rows), timestamps=at, prediction_timestamps=at)


def naive(rows: pl.DataFrame) -> Array:
    """When captured rows happened, as numpy knows UTC."""
    return rows.select(event_at(rows).dt.replace_time_zone(None)).to_series().to_numpy()


def answers(rows: pl.DataFrame) -> dict[str, Array]:
    """What was answered to captured rows, as profiles count it."""
    return {name: _array(values) for name, values in plain(rows, OUTPUT).to_dict().items()}


def plain(rows: pl.DataFrame, prefix: str = INPUT) -> pl.DataFrame:
    """The features (or, with `OUTPUT`, the answers) of captured rows by their plain names."""
    return rows.select(pl.col(name).alias(name.removeprefix(prefix)) for name in rows.columns if name.startswith(prefix))


def _array(values: pl.Series) -> Array:
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.array(values.cast(pl.String).to_list(), dtype=object)
