"""Files that are counted column by column give the profile that serving would have kept of the same rows."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stationkeeper.workloads.artifacts.columns import ColumnError
from stationkeeper.workloads.drift.counting import count_rows
from stationkeeper.workloads.drift.profile import Profile
from tests.unit.workloads.drift import helpers

ROWS = 3_000


def written(folder: Path) -> pl.LazyFrame:
    frame = helpers.frame(helpers.columns(ROWS, 5)).with_columns(**{n: pl.Series(v) for n, v in outputs().items()})
    frame.write_parquet(folder / "rows.parquet", row_group_size=700)
    return pl.scan_parquet(folder / "rows.parquet")


def outputs() -> dict[str, np.ndarray]:
    return {name: np.asarray(values.tolist()) for name, values in helpers.predictions(ROWS, 5).items()}


@pytest.mark.parametrize("at_once", [1_000_000, 1_000, 1])
def test_counted_from_a_file_is_what_serving_counts(tmp_path: Path, at_once: int) -> None:
    none = Profile.empty(helpers.reference(2_000))
    rows = written(tmp_path).head(ROWS if at_once > 1 else 20)
    served, height = none.fresh(), rows.collect().height
    columns = {name: values[:height] for name, values in helpers.columns(ROWS, 5).items()}
    served.update(columns, {name: values[:height] for name, values in helpers.predictions(ROWS, 5).items()})
    counted = count_rows(rows, none, at_once=at_once)
    assert counted.rows == height
    assert (counted.vector == served.vector).all()


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match="temp"):
        count_rows(written(tmp_path).drop("temp"), Profile.empty(helpers.reference(2_000)))
