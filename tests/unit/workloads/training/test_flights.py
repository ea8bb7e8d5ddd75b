"""A real year: what its weather, seasons and storms do to columns and labels is learned; a bug in a day of it is not."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from hack.demo.flights import FEATURES, TARGET, TIMESTAMP, flights
from stationkeeper.api.data import Data
from stationkeeper.api.manifest import Manifest
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.training import schema
from stationkeeper.workloads.training.duplicates import check_duplicates, without_copies
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.poison import check_labels
from stationkeeper.workloads.training.reading import OBJECT, InputFile
from stationkeeper.workloads.training.validation import Sound, check_columns
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

FILES = [InputFile(Path(f"{month:02}.parquet"), "parquet", pod.DATA, f"{month:02}.parquet") for month in range(1, 13)]
DATA = Data(uri=pod.DATA, target=TARGET, timestamp=TIMESTAMP, features=list(FEATURES))


class Year:
    """Every other flight of 2013, and a model that knows the first 90 days."""

    def __init__(self, tmp: Path) -> None:
        raw = flights().gather_every(2)
        self.store = MemoryStore()
        early = raw.filter(pl.col(TIMESTAMP) < pl.col(TIMESTAMP).min() + timedelta(days=90))
        data: dict[str, Any] = {"target": TARGET, "timestamp": TIMESTAMP, "features": list(FEATURES)}
        summary = pod.train(tmp, early, self.store, data=data, gates=[{"metric": "roc_auc", "min": 0.5}])
        self.champion: Manifest = load_manifest(self.store, summary.digest or "")
        whole = schema.with_target(raw, TARGET, classifier=True)
        self.rows = whole.with_columns((pl.col(TIMESTAMP).dt.month().cast(pl.Int32) - 1).alias(OBJECT))

    def on(self, month: int, day: int, change: pl.Expr, column: str) -> pl.DataFrame:
        there = (pl.col(TIMESTAMP).dt.month() == month) & (pl.col(TIMESTAMP).dt.day() == day)
        return self.rows.with_columns(pl.when(there).then(change).otherwise(column).alias(column))

    def columns(self, rows: pl.DataFrame) -> Sound:
        return check_columns(rows, DATA, self.champion, self.store)

    def labels(self, rows: pl.DataFrame) -> list[str]:
        return check_labels(rows, DATA, self.champion, self.store, FILES, classifier=True)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Year:
    with threadpool_limits(1):
        return Year(tmp_path_factory.mktemp("year"))


def test_nothing_of_a_real_year_is_refused(year: Year) -> None:
    sound = year.columns(year.rows)
    (note,) = sound.notes  # the weather ends a day before the flights: nobody had noticed
    assert note.startswith(
        "379 rows of 2013-12-31 are left out, broken: temp missing in 100.0% of rows in 2013-12-31 (completeness;"
    )
    assert year.labels(sound.rows) == []
    found = check_duplicates(year.rows, DATA, classifier=True)
    assert (found.duplicates, found.notes) == (11, [])
    cut = year.rows.height * 4 // 5
    assert without_copies(year.rows[:cut], year.rows[cut:], FEATURES, TARGET)[1] == 0


@pytest.mark.parametrize(
    ("column", "change", "says"),
    [
        ("distance", pl.col("distance") * 1000, "distance looks 1000 times the reference: metres for kilometres? in 2013-09-11"),
        ("temp", pl.lit(None), "temp missing in 100.0% of rows in 2013-09-11 (completeness"),
        ("origin", pl.lit("JFK"), "origin 'JFK' in every row in 2013-09-11 (constant_column"),
    ],
)  # fmt: skip
def test_a_bug_in_a_day_of_it_is(year: Year, column: str, change: pl.Expr, says: str) -> None:
    sound = year.columns(year.on(9, 11, change, column))
    (note,) = sound.notes
    assert note.startswith(f"{year.rows.height - sound.rows.height} rows of 2013-09-11, 2013-12-31 are left out, broken: {says}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (pl.lit("false"), "the labels of 2013-09-11 (09.parquet) are 'false' in 100.0% of"),
        (
            pl.col(TARGET).replace({"true": "false", "false": "true"}),
            "stand upside down: they agree with the serving revision by -0.",
        ),
    ],
)
def test_a_day_of_other_labels_is(year: Year, change: pl.Expr, says: str) -> None:
    with pytest.raises(AttemptEnded) as ended:
        year.labels(year.on(9, 11, change, TARGET))
    assert ended.value.reason == "SuspectedPoisonedLabels"
    assert says in ended.value.message


def test_labels_that_are_another_question_from_one_day_on_are_the_world(year: Year) -> None:
    turned = pl.when(pl.col(TIMESTAMP).dt.month() >= 9).then(pl.col(TARGET).replace({"true": "false", "false": "true"}))
    assert year.labels(year.rows.with_columns(turned.otherwise(TARGET).alias(TARGET))) == []
