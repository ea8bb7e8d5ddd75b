"""The rows of a segment's values, each with what the holdout said of it."""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from stationkeeper.api.driftpolicy import Segment
from stationkeeper.api.manifest import Manifest
from stationkeeper.workloads.artifacts.captured import INPUT
from stationkeeper.workloads.artifacts.columns import is_numeric
from stationkeeper.workloads.drift.segments import MISSING, OTHER
from stationkeeper.workloads.quality.verdict import Standard
from stationkeeper.workloads.training.estimation import Estimation


def unfit(column: str, manifest: Manifest, rows: pl.DataFrame) -> str:
    """Why a column makes no segments; empty where it does."""
    feature = next((feature for feature in manifest.features if feature.name == column), None)
    if feature is None:
        return f"the policy names the segment column {column!r}, which is no feature of this revision"
    if is_numeric(feature):
        return f"{column} is numeric: segments need a categorical feature"
    return "" if INPUT + column in rows.columns else f"{column} is not among the captured columns"


def divided(
    segment: Segment, joined: pl.DataFrame, estimation: Estimation | None, metric: str
) -> Iterator[tuple[str, pl.DataFrame, Standard]]:
    """The most frequent values and all others together: what to call them, their rows, and what they are held to."""
    name = INPUT + segment.column
    rows = joined.with_columns(pl.col(name).cast(pl.String))
    ranked = sorted(Counter(rows[name].to_list()).items(), key=lambda item: (-item[1], item[0] or ""))
    named = [value for value, _ in ranked[: segment.max_values]]
    for value in named:
        held = Standard.of_segment(estimation, segment.column, value, metric)
        yield MISSING if value is None else value, rows.filter(pl.col(name).eq_missing(value)), held
    if len(ranked) > len(named):
        yield OTHER, rows.filter(~pl.col(name).is_in(named, nulls_equal=True)), Standard()
