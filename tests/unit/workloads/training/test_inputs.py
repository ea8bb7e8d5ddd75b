"""Where rows come from: several sources and formats under one schema, and no more of them than are wanted."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from stationkeeper.api.data import Data
from stationkeeper.api.manifest import DataRecord
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.training import reading
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.handover import Prepared
from stationkeeper.workloads.training.inputs import Inputs
from stationkeeper.workloads.training.prepare import prepare
from stationkeeper.workloads.training.reading import OBJECT, InputFile, read_window
from stationkeeper.workloads.training.sample import Limit
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

MAIN, OTHER, LINES = "s3://lake/rows/", "s3://archive/old/", "s3://lake/lines/"


def prepared(tmp: Path, stores: dict[str, MemoryStore], **data: Any) -> tuple[DataRecord, MemoryStore, pl.DataFrame]:
    """Prepare rows of several places; what was recorded, the artifacts, and all rows."""
    artifacts, made = MemoryStore(), pod.Pod(tmp, MemoryStore(), MemoryStore())
    made.paths.make()
    prepare(pod.config(data=data), artifacts, lambda uri: stores[uri], made.paths)
    found = Prepared.model_validate_json(made.paths.prepared.read_bytes()).data
    rows = pl.concat([pl.read_parquet(made.paths.train), pl.read_parquet(made.paths.holdout)])
    return found, artifacts, rows


def ndjson(frame: pl.DataFrame) -> bytes:
    return frame.write_ndjson().encode()


def test_rows_of_all_sources_and_formats_are_one_table(tmp_path: Path) -> None:
    whole = pod.rows(60)
    stores = {
        MAIN: MemoryStore({"a.parquet": pod.parquet(whole[800:])}, "s3://lake/rows"),
        OTHER: MemoryStore({"a.csv": whole[:400].write_csv().encode(), "a.parquet": b"of nobody's concern"}, "s3://archive/old"),
        LINES: MemoryStore({"x.ndjson": ndjson(whole[400:800])}, "s3://lake/lines"),
    }
    sources = [{"uri": OTHER, "format": "csv"}, {"uri": LINES, "format": "ndjson"}]
    found, artifacts, rows = prepared(tmp_path, stores, sources=sources)
    assert (found.objects, found.rows + 240) == (3, 1200)
    assert_frame_equal(rows.sort("at", "x"), whole.with_columns(pl.col("y").cast(pl.String)).select(rows.columns).sort("at", "x"))
    frozen = Inputs.model_validate_json(artifacts.objects[keys.inputs("e1", 1)])
    assert [(item.key, item.uri) for item in frozen.objects] == [("a.parquet", None), ("a.csv", OTHER), ("x.ndjson", LINES)]


def test_an_object_under_two_prefixes_is_read_once(tmp_path: Path) -> None:
    inner, outer = "s3://lake/rows/2013/", MAIN
    data = pod.parquet(pod.rows())
    stores = {
        outer: MemoryStore({"2013/a.parquet": data}, "s3://lake/rows"),
        inner: MemoryStore({"a.parquet": data}, "s3://lake/rows/2013"),
    }
    assert prepared(tmp_path, stores, sources=[{"uri": inner}])[0].objects == 1


@pytest.mark.parametrize(
    ("other", "reason", "says"),
    [
        ({}, "NoData", "no object under s3://archive/old/ ends in .parquet; write some, or correct data.sources"),
        (
            {"old.parquet": pod.rows(5).with_columns(count=pl.lit("many"))},
            "MalformedData",
            "the column 'count' holds Int64 in a.parquet under s3://lake/rows/ and String in old.parquet under s3://archive/old/; "
            "write it as one type everywhere",
        ),
        (
            {"old.parquet": pod.rows(5).with_columns(colour=pl.col("at"))},
            "MalformedData",
            "the column 'colour' holds String in a.parquet",
        ),
    ],
)
def test_a_source_that_does_not_fit_is_named(tmp_path: Path, other: dict[str, Any], reason: str, says: str) -> None:
    objects = {name: pod.parquet(frame) for name, frame in other.items()}
    stores = {
        MAIN: MemoryStore({"a.parquet": pod.parquet(pod.rows())}, "s3://lake/rows"),
        OTHER: MemoryStore(objects, "s3://archive/old"),
    }
    with pytest.raises(AttemptEnded) as ended:
        prepared(tmp_path, stores, sources=[{"uri": OTHER}])
    assert ended.value.reason == reason
    assert says in ended.value.message


def test_a_column_without_values_fits_any_type(tmp_path: Path) -> None:
    empty = pod.rows(5, seed=4).with_columns(x=pl.lit(None, pl.String))
    stores = {MAIN: MemoryStore({"a.parquet": pod.parquet(empty), "b.parquet": pod.parquet(pod.rows())}, "s3://lake/rows")}
    rows = prepared(tmp_path, stores)[2]
    assert rows["x"].dtype == pl.Float64
    assert rows.height == 900


def test_codes_stay_codes_where_the_champion_knows_them_so(tmp_path: Path) -> None:
    """In CSV `007` looks like a number in one file and not in the next."""
    frame = pod.rows().with_columns(colour=pl.col("colour").replace({"red": "007", "green": "12", "blue": "A3"}))
    source = MemoryStore({"a.csv": frame.write_csv().encode()}, "s3://lake/rows")
    artifacts = MemoryStore()
    first, _ = pod.Pod(tmp_path / "1", artifacts, source).run(pod.config(data={"format": "csv"}))
    assert isinstance(first, TrainingSummary)
    digits = pod.rows(10, first=40).with_columns(colour=pl.lit("007"))
    source.objects["b.csv"] = digits.write_csv().encode()
    changes = {"episode": "e2", "revision": 2, "cause": "Schedule", "champion": {"number": 1, "digest": first.digest}}
    made = pod.Pod(tmp_path / "2", artifacts, source)
    made.paths.make()
    prepare(pod.config(data={"format": "csv"}, **changes), artifacts, lambda _: source, made.paths)
    assert pl.read_parquet(made.paths.holdout)["colour"].unique().to_list() == ["007"]


def window(
    folder: Path, frames: list[pl.DataFrame], most: int | None, timestamp: str | None = "at"
) -> tuple[pl.DataFrame, Limit]:
    folder.mkdir(exist_ok=True)
    files = []
    for number, frame in enumerate(frames):
        path = folder / f"{number}.parquet"
        frame.write_parquet(path)
        files.append(InputFile(path, "parquet", MAIN))
    data = Data.model_validate({"uri": MAIN, "target": "y", "timestamp": timestamp})
    names = set(frames[0].columns)
    limit = Limit(most, timestamp, "y", sorted(names), "uid")
    return read_window(files, data, names, pl.concat(frames)["at"].max() if timestamp else None, limit).drop(OBJECT), limit  # type: ignore[arg-type]


@pytest.mark.parametrize("timestamp", ["at", None])
def test_fewer_rows_are_the_same_ones_in_whatever_order_objects_come(
    tmp_path: Path, timestamp: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_PART", 70)
    rng = np.random.default_rng(0)
    frame = pod.rows(100).with_columns(
        at=pl.col("at").dt.truncate("1d"),
        y=pl.when(pl.Series(rng.random(2000) < 0.9)).then("y"),  # many of one moment
    )
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    whole, limit = window(tmp_path / "1", [frame], 333, timestamp)
    parts, again = window(tmp_path / "2", [shuffled[:100], shuffled[100:900], shuffled[900:]], 333, timestamp)
    columns = frame.columns
    assert_frame_equal(whole.select(columns).sort(columns), parts.select(columns).sort(columns))
    if timestamp:
        assert_frame_equal(whole.select(columns), parts.select(columns))
    labelled = frame.drop_nulls("y")
    assert (whole.height, limit.beyond) == (333, labelled.height - 333)
    assert (again.beyond, again.unlabelled) == (limit.beyond, limit.unlabelled)
    if timestamp:
        assert whole["at"].min() == labelled.sort("at", descending=True)["at"][332]


def test_a_sample_stays_the_same_when_rows_come_to_it(tmp_path: Path) -> None:
    frame = pod.rows(100)
    before, _ = window(tmp_path / "1", [frame[:1000]], 300, None)
    after, _ = window(tmp_path / "2", [frame], 600, None)
    shared = after.join(before, on=["x", "count", "colour", "member", "at"], how="semi", nulls_equal=True)
    assert shared.height > 250


def test_what_is_beyond_max_rows_is_told(tmp_path: Path) -> None:
    stores = {MAIN: MemoryStore({"a.parquet": pod.parquet(pod.rows(80))}, "s3://lake/rows")}
    found, _, rows = prepared(tmp_path, stores, maxRows=1000)
    assert (rows.height, found.beyond) == (1000, 600)
    assert found.notes == ["learned from the newest 1000 rows; 600 more are beyond data.maxRows"]
    assert rows["at"].min() == pod.START + timedelta(days=30)


def test_without_max_rows_nothing_is_left_out(tmp_path: Path) -> None:
    whole, limit = window(tmp_path / "1", [pod.rows(10)], None)
    assert (whole.height, limit.beyond, limit.notes) == (200, 0, [])


def test_notes_are_in_the_manifest_and_in_the_outcome(tmp_path: Path) -> None:
    store = MemoryStore()
    whole = pod.rows(60)
    twice = pl.concat([whole, whole[:100]])
    summary = pod.train(tmp_path, twice, store)
    assert summary.outcome is TrainingOutcome.PUBLISHED
    said = "100 of 1300 rows (7.7%) repeat another in every column: was an object delivered twice?"
    assert summary.message.endswith(f"; {said}")
    data = load_manifest(store, summary.digest or "").data
    assert (data.duplicates, data.notes) == (100, [said])
