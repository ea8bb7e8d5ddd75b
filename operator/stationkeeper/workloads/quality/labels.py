"""Captured rows and what became of them: joined by request and row, once their labels have matured."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from stationkeeper.api.base import parse_duration
from stationkeeper.api.model import Labels
from stationkeeper.api.report import LabelCounts
from stationkeeper.workloads.artifacts.captured import event_at
from stationkeeper.workloads.quality.reading import KEY, TRUTH, Found, read_labels
from stationkeeper.workloads.quality.truth import MalformedLabels

__all__ = ["TRUTH", "Found", "Joined", "MalformedLabels", "join", "read_labels"]


@dataclass(frozen=True, slots=True)
class Joined:
    """Captured rows with a label.

    rows: as captured, with the column `truth` (text: a class, or a number).
    counts: what became of all the labels.
    waiting: captured rows whose labels have not matured.
    repeated: captured rows that another row of the same key came before; they are left out.
    selection: which part of the answers the rows are, in words; empty where they are all.
    strangers: labels were read, and none of them names any captured row.
    """

    rows: pl.DataFrame
    counts: LabelCounts
    waiting: int = 0
    repeated: int = 0
    selection: str = ""
    strangers: bool = False


def join(captured: pl.DataFrame, labels: Found, config: Labels, *, as_of: datetime) -> Joined:
    """Give captured rows their labels.

    A label counts once `lag` has passed since its row happened, however early it came: otherwise quick outcomes would stand for all. Labels
    that repeat themselves count once; rows whose labels disagree are left out, because nobody knows which is true.

    Args:
        captured: rows as `artifacts.captured` reads them.
        labels: of `read_labels`.
        config: of the Model.
        as_of: the moment of judgement.
    """
    lag, happened = parse_duration(config.lag), event_at(captured)
    matured = captured.filter(happened + lag <= as_of).with_columns(
        pl.col("request_id").cast(pl.String), pl.col("row").cast(pl.Int64)
    )
    rows = matured.sort("arrived_at", maintain_order=True).unique(KEY, keep="first", maintain_order=True)
    said = labels.rows.join(rows.select(*KEY, happened.alias("at")), on=KEY, how="inner")
    known = said.filter(pl.col("seen") & pl.col(TRUTH).is_not_null())
    unseen = said.filter(~pl.col("seen")).select(KEY).unique().join(known, on=KEY, how="anti")
    each = known.group_by(KEY, maintain_order=True).agg(
        pl.col(TRUTH).first(),
        pl.col("times").sum(),
        pl.col(TRUTH).n_unique().alias("values"),
        (pl.col("written").min() > pl.col("at").first() + lag).alias("late"),
    )
    agreed = each.filter(pl.col("values") == 1)
    joined = rows.join(agreed.select(*KEY, TRUTH), on=KEY, how="inner", maintain_order="left")
    conflicting = each.height - agreed.height
    counts = LabelCounts(
        requests=rows.height,
        joined=joined.height,
        missing=rows.height - joined.height - conflicting - unseen.height,
        duplicate=int((agreed["times"] - 1).sum()),
        conflicting=conflicting,
        late=int(agreed["late"].sum() or 0),
        unselected=unseen.height,
        unknown=labels.unknown,
    )
    return Joined(
        rows=joined,
        counts=counts,
        waiting=captured.height - matured.height,
        repeated=matured.height - rows.height,
        selection=_part(config),
        strangers=bool(labels.unknown) and labels.rows.is_empty(),
    )


def _part(config: Labels) -> str:
    return f"answers whose {config.selection.column} is {config.selection.value!r}" if config.selection else ""
