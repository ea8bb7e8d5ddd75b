"""Rows of any kind, by their time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.backtest.history import HistoryError, open_history
from stationkeeper.workloads.checks.sources import Server, SourceError
from stationkeeper.workloads.drift.reference import build_reference
from tests.unit.workloads.backtest.histories import START, rows


def write(frame: pl.DataFrame, path: Path) -> None:
    writers = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".ndjson": frame.write_ndjson}
    writers[path.suffix](path)


def room(tmp_path: Path) -> Path:
    folder = tmp_path / "room"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.ndjson"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    frame = rows(days=3)
    write(frame, tmp_path / name)
    history = open_history(str(tmp_path / name), "at", Server(), room(tmp_path))
    assert_frame_equal(history.between(history.start, history.end), frame, check_dtypes=False)
    assert (history.start, history.columns) == (START, ["at", "x", "colour", "y"])


def test_files_of_a_folder_are_one_history_in_the_order_of_time(tmp_path: Path) -> None:
    frame = rows(days=4)
    (tmp_path / "data" / "2024").mkdir(parents=True)
    write(frame.filter(pl.col("at") >= START + timedelta(days=2)), tmp_path / "data" / "a.parquet")
    write(frame.filter(pl.col("at") < START + timedelta(days=2)), tmp_path / "data" / "2024" / "b.csv")
    (tmp_path / "data" / "notes.txt").write_text("not rows")
    history = open_history(str(tmp_path / "data"), "at", Server(), room(tmp_path))
    assert history.between(history.start, history.end)["at"].to_list() == frame["at"].to_list()


def test_a_window_is_half_open_and_so_is_what_is_known(tmp_path: Path) -> None:
    write(rows(days=3), tmp_path / "a.parquet")
    history = open_history(str(tmp_path / "a.parquet"), "at", Server(), room(tmp_path))
    second = [START + timedelta(days=1), START + timedelta(days=2)]
    times = history.between(*second)["at"]
    assert (times.min(), times.max(), len(times)) == (second[0], second[1] - timedelta(minutes=36), 40)
    history.write(tmp_path / "known.parquet", second[0])
    assert pl.read_parquet(tmp_path / "known.parquet")["at"].max() == second[0] - timedelta(minutes=36)


def test_times_with_an_offset_are_read_as_utc_and_rows_without_a_time_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("when,x\n2024-01-01T01:00:00+01:00,1\n,2\n2024-01-01T03:00:00Z,3\n")
    history = open_history(str(tmp_path / "a.csv"), "when", Server(), room(tmp_path))
    assert history.start == datetime(2024, 1, 1, tzinfo=UTC)
    assert history.between(history.start, history.end)["x"].to_list() == [1, 3]


def test_captured_rows_are_taken_apart(tmp_path: Path) -> None:
    times = [START, START + timedelta(minutes=1)]
    captured = {
        "request_id": ["a", "b"],
        "arrived_at": times,
        "input.x": [1.0, 2.0],
        "input.value": [3.0, 4.0],
        "output.label": ["no", "yes"],
        "output.value": [0.1, 0.9],  # called like a feature
    }
    write(pl.DataFrame(captured), tmp_path / "a.parquet")
    history = open_history(str(tmp_path / "a.parquet"), None, Server(), room(tmp_path))
    assert (history.timestamp, history.columns) == ("arrived_at", ["arrived_at", "x", "value", "label", "output.value"])
    assert history.answers == ["label", "output.value"]
    assert history.between(START, history.end)["value"].to_list() == [3, 4]


def test_captured_rows_are_played_at_the_time_of_their_event_where_it_is_known(tmp_path: Path) -> None:
    happened = START - timedelta(days=1)
    captured = {
        "arrived_at": [START, START],
        "event_at": [None, happened],
        "time_source": ["late", "event"],
        "input.x": [1.0, 2.0],
    }
    write(pl.DataFrame(captured), tmp_path / "a.parquet")
    history = open_history(str(tmp_path / "a.parquet"), None, Server(), room(tmp_path))
    assert history.columns == ["arrived_at", "x"]
    assert history.between(history.start, history.end).rows() == [(happened, 2.0), (START, 1.0)]


def test_counts_are_no_history(tmp_path: Path) -> None:
    reference = build_reference(rows(days=3), [Column(name="x", kind=ColumnKind.NUMERIC)], {})
    (tmp_path / "reference.json").write_bytes(reference.encode())
    with pytest.raises(HistoryError, match="holds counts only: give the rows themselves"):
        open_history(str(tmp_path / "reference.json"), None, Server(), room(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "t,x\n2024-01-01,1\n", r"a\.csv has no column 'at', .* name it with --timestamp .*; it has t, x"),
        ("a.csv", "at,x\nyesterday,1\n", r"a\.csv: .*'at' must hold times; 'yesterday' is none"),
        ("a.csv", "at,x\n", r"holds no row with a time in 'at'"),
        ("a.parquet", "no parquet", r"a\.parquet cannot be read: "),
        ("a.txt", "at,x\n", r"a\.txt has an ending that says nothing; name it \.parquet, "),
    ],
)
def test_what_cannot_be_replayed_is_named_with_what_to_do(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises((HistoryError, SourceError), match=said):
        open_history(str(tmp_path / name), "at", Server(), room(tmp_path))


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no file, and no folder with files"):
        open_history(str(tmp_path / "nowhere"), "at", Server(), room(tmp_path))
    with pytest.raises(HistoryError, match=r"the folder .*/room holds no rows: no file that ends in \.parquet, "):
        open_history(str(tmp_path / "room"), "at", Server(), tmp_path)
