"""Rows that are there twice, and rows that contradict each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from stationkeeper.api.data import Data
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.reading import OBJECT

TOLD: Final = 0.01  # share of the rows, from which on repetitions are told
CONTRADICT: Final = 0.1  # and contradictions, which any noise brings where features are few
_COPIED: Final = 0.02  # share of the holdout that the training may repeat ...
_BEYOND: Final = 3.0  # ... and as a multiple of what it repeats of itself


@dataclass(frozen=True, slots=True)
class Repeated:
    """How many rows repeat another in every column, time included; and how many have another's features and not its class."""

    rows: int
    duplicates: int
    conflicting: int

    @property
    def notes(self) -> list[str]:
        """What people should know of them."""
        said = []
        if self.duplicates > TOLD * self.rows:
            said.append(
                f"{self.duplicates} of {self.rows} rows ({self.duplicates / self.rows:.1%}) repeat another in every column: "
                "was an object delivered twice?"
            )
        if self.conflicting > CONTRADICT * self.rows:
            said.append(
                f"{self.conflicting} of {self.rows} rows ({self.conflicting / self.rows:.1%}) have the features of another row and "
                "not its class: no model is right on both"
            )
        return said


def check_duplicates(rows: pl.DataFrame, data: Data, *, classifier: bool) -> Repeated:
    """Count repetitions.

    Raises:
        AttemptEnded: InvalidData with DuplicateRows, when there are more than the spec allows.
    """
    names = [name for name in rows.columns if name != OBJECT]
    features = [name for name in names if name not in (data.target, data.timestamp)]
    whole = rows.select(_row(rows, names)).to_series()
    found = Repeated(rows.height, rows.height - whole.n_unique(), _conflicting(rows, features, data.target) if classifier else 0)
    allowed = data.validation.max_duplicate_share
    if allowed is not None and found.duplicates > allowed * rows.height:
        raise invalid(
            "DuplicateRows",
            f"{found.duplicates} of {rows.height} rows ({found.duplicates / rows.height:.1%}) repeat another in every column, and "
            f"data.validation.maxDuplicateShare allows {allowed:.1%}: was an object delivered twice?",
        )
    return found


def _conflicting(rows: pl.DataFrame, features: Sequence[str], target: str) -> int:
    same = rows.select(_row(rows, features).alias("row"), pl.col(target).alias("class"))
    each = same.group_by("row").agg(pl.len().alias("rows"), pl.col("class").n_unique().alias("classes"))
    return int(each.filter(pl.col("classes") > 1)["rows"].sum())


def without_copies(train: pl.DataFrame, holdout: pl.DataFrame, features: Sequence[str], target: str) -> tuple[pl.DataFrame, int]:
    """Training rows without those that judge too: who has seen the answers is no judge; and how many those were.

    A row counts by features and target, whatever its time: old rows that were loaded again come with a new one. Rows with few features
    are alike by coincidence, in any stretch of time; they are copies only where the holdout repeats the training far more often than
    the newer part of the training repeats the older.

    Args:
        train: oldest first.
        holdout: newer rows.
        features: names of the columns that are learned from.
        target: the column to predict.
    """
    names = [*features, target]
    known, judged = (frame.select(_row(frame, names)).to_series() for frame in (train, holdout))
    cut = max(train.height - holdout.height, train.height // 2)
    usual, seen = _share(known[cut:], known[:cut]), _share(judged, known)
    if seen <= max(_COPIED, _BEYOND * usual):
        return train, 0
    kept = train.filter(~known.is_in(judged.unique().implode()))
    return kept, train.height - kept.height


def _share(rows: pl.Series, among: pl.Series) -> float:
    return float(rows.is_in(among.unique().implode()).mean() or 0.0)  # type: ignore[arg-type]


def _row(rows: pl.DataFrame, names: Sequence[str]) -> pl.Expr:
    """One number for all values of a row; NaN and null are one."""
    plain = [pl.col(name).fill_nan(None) if rows[name].dtype.is_float() else pl.col(name) for name in names]
    return pl.struct(plain).hash(seed=0)
