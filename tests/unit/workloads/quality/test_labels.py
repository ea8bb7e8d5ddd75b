"""Labels find their rows, or are counted as what they are; a bad file is named with its fix."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from stationkeeper.api.manifest import Manifest, Task
from stationkeeper.api.model import Labels
from stationkeeper.api.report import LabelCounts
from stationkeeper.workloads.artifacts.errors import BucketMissing
from stationkeeper.workloads.quality import reading
from stationkeeper.workloads.quality.labels import Joined, MalformedLabels, join, read_labels
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.quality.truths import NOON, manifest

WRITTEN = datetime(2013, 1, 1, tzinfo=UTC)  # of every object in a store in memory: before any request
LATER = NOON + timedelta(days=30)
INTEGERS = manifest(classes=["0", "1"], class_kind="integer")
BOOLEANS = manifest(classes=["false", "true"], class_kind="boolean")
NUMBERS = manifest(Task.REGRESSION)


def config(**changes: Any) -> Labels:
    return Labels.model_validate({"uri": "s3://lake/labels/"} | changes)


def captured(*keys: tuple[str, int], start: datetime = NOON) -> pl.DataFrame:
    """One row an hour."""
    return pl.DataFrame(
        {
            "request_id": [key for key, _ in keys],
            "row": pl.Series([row for _, row in keys], dtype=pl.UInt32),
            "arrived_at": pl.Series([start + timedelta(hours=i) for i in range(len(keys))], dtype=pl.Datetime("us", "UTC")),
        }
    )


def parquet(columns: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns, strict=False).write_parquet(buffer)
    return buffer.getvalue()


def store(**objects: bytes) -> MemoryStore:
    return MemoryStore({name.replace("_", "."): data for name, data in objects.items()}, "s3://lake/labels")


def joined(rows: pl.DataFrame, files: MemoryStore, labels: Labels, model: Manifest = INTEGERS, as_of: datetime = LATER) -> Joined:
    return join(rows, read_labels(files, labels, model, rows, NOON), labels, as_of=as_of)


ROWS = captured(("a", 0), ("b", 0), ("b", 1), ("007", 0))
SAME = [("a", "1"), ("b", "0"), ("b", "1"), ("007", "0")]


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("parquet", parquet({"request_id": ["a", "b", "b", "007"], "row": [0, 0, 1, 0], "delayed": [1, 0, 1, 0]})),
        ("parquet", parquet({"request_id": ["a", "b", "b", "007"], "row": [0.0, 0.0, 1.0, None], "delayed": [1.0, 0.0, 1.0, 0.0]})),
        ("parquet", parquet({"request_id": ["a", "b", "b", "007"], "row": ["0", "0", "1", "0"], "delayed": [True, False, True, False]})),
        ("csv", b"\xef\xbb\xbfdelayed,request_id,row\n1,a,0\n0,b,0\n1.0,b,1\n0,007,\n"),
        ("ndjson", b'{"request_id":"a","delayed":1}\n{"request_id":"b","delayed":false}\n{"request_id":"b","row":1,"delayed":"1"}\n'
                   b'\n{"request_id":"007","delayed":0.0}\n'),
    ],
    ids=["parquet", "parquet of floats", "parquet of booleans", "csv with a byte order mark", "ndjson with mixed types"],
)  # fmt: skip
def test_a_label_means_the_same_in_every_format(form: str, data: bytes) -> None:
    found = joined(ROWS, store(**{f"x_{form}": data}), config(format=form))
    assert list(zip(found.rows["request_id"], found.rows["truth"], strict=True)) == SAME
    assert found.counts == LabelCounts(requests=4, joined=4, late=0)


@pytest.mark.parametrize(
    ("lines", "counts", "truth"),
    [
        pytest.param(["a,1", "b,0"], {"joined": 2, "missing": 1}, ["1", "0"], id="a row without a label is missing"),
        pytest.param(
            ["a,1", "a,1", "a,1.0"], {"joined": 1, "missing": 2, "duplicate": 2}, ["1"], id="repeated labels count once"
        ),
        pytest.param(
            ["a,1", "a,0", "b,1"], {"joined": 1, "missing": 1, "conflicting": 1}, ["1"], id="labels that disagree say nothing"
        ),
        pytest.param(
            ["a,1", "x,0", "y,0"], {"joined": 1, "missing": 2, "unknown": 2}, ["1"], id="labels of no request are unknown"
        ),
        pytest.param(["a,", "a,1", "b,NA"], {"joined": 1, "missing": 2}, ["1"], id="an empty label is none yet"),
        pytest.param([",1", "a,1"], {"joined": 1, "missing": 2}, ["1"], id="a label without an id is nobody's"),
        pytest.param([], {"missing": 3}, [], id="no labels at all"),
    ],
)
def test_every_label_is_counted_as_what_it_is(lines: list[str], counts: dict[str, int], truth: list[str]) -> None:
    data = "\n".join(["request_id,delayed", *lines]).encode()
    found = joined(captured(("a", 0), ("b", 0), ("c", 0)), store(x_csv=data), config(format="csv"))
    assert found.counts == LabelCounts(requests=3, **counts)
    assert found.rows["truth"].to_list() == truth


def test_a_label_of_another_row_of_the_request_is_unknown() -> None:
    found = joined(captured(("a", 0)), store(x_csv=b"request_id,row,delayed\na,0,1\na,7,0\n"), config(format="csv"))
    assert found.counts == LabelCounts(requests=1, joined=1, unknown=1)


def test_a_label_counts_when_it_has_matured_however_early_it_came() -> None:
    files = store(x_csv=b"request_id,delayed\na,1\nb,1\nc,1\n")
    found = joined(
        captured(("a", 0), ("b", 0), ("c", 0)), files, config(format="csv", lag="1d"), as_of=NOON + timedelta(hours=25)
    )
    assert found.rows["request_id"].to_list() == ["a", "b"]
    assert (found.waiting, found.counts.requests, found.counts.missing) == (1, 2, 0)


def test_a_label_that_was_written_after_its_lag_is_late_and_counts() -> None:
    rows = captured(("a", 0), ("b", 0), start=WRITTEN - timedelta(hours=2))  # two hours and one before the object was written
    found = joined(rows, store(x_csv=b"request_id,delayed\na,1\nb,1\n"), config(format="csv", lag="90m"))
    assert found.counts == LabelCounts(requests=2, joined=2, late=1)


def test_a_request_id_that_is_used_again_counts_once() -> None:
    found = joined(captured(("a", 0), ("a", 0)), store(x_csv=b"request_id,delayed\na,1\n"), config(format="csv"))
    assert (found.counts, found.repeated) == (LabelCounts(requests=1, joined=1), 1)
    assert found.rows["arrived_at"].to_list() == [NOON]


def test_selected_labels_stand_for_their_part_only() -> None:
    data = b"request_id,delayed,granted\na,1,yes\nb,0,no\nc,,No\nd,1,YES\nd,1,no\n"
    labels = config(format="csv", selection={"column": "granted", "value": "yes"})
    found = joined(captured(("a", 0), ("b", 0), ("c", 0), ("d", 0), ("e", 0)), store(x_csv=data), labels)
    assert found.rows["request_id"].to_list() == ["a", "d"]
    assert found.counts == LabelCounts(requests=5, joined=2, missing=1, unselected=2)
    assert found.selection == "answers whose granted is 'yes'"


def test_labels_may_have_columns_of_their_own_names() -> None:
    files = store(x_parquet=parquet({"trace": ["a"], "outcome": ["1"], "delayed": ["nonsense"]}))
    assert joined(captured(("a", 0)), files, config(key="trace", column="outcome")).rows["truth"].to_list() == ["1"]


@pytest.mark.parametrize(
    ("model", "given", "truth"),
    [
        (INTEGERS, ["1", "1.0", "TRUE", "-3"], ["1", "1", "1", "-3"]),
        (BOOLEANS, ["true", "False", "1", "0.0"], ["true", "false", "true", "false"]),
        (BOOLEANS, [" true", "NaN", "1.0"], ["true", "true"]),
        (manifest(classes=["No", "1.0"]), ["No", "1.0", "new"], ["No", "1.0", "new"]),
        (NUMBERS, ["1", "-2.5e3", "true", "nan"], ["1.0", "-2500.0", "1.0"]),
    ],
    ids=["integers", "booleans", "booleans with gaps", "text as it is", "numbers"],
)
def test_labels_are_read_as_the_model_knows_them(model: Manifest, given: Sequence[str], truth: Sequence[str]) -> None:
    rows = captured(*((f"r{i}", 0) for i in range(len(given))))
    data = "request_id,delayed\n" + "".join(f"r{i},{value}\n" for i, value in enumerate(given))
    assert joined(rows, store(x_csv=data.encode()), config(format="csv"), model).rows["truth"].to_list() == list(truth)


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (INTEGERS, [1.0, float("nan"), None]),
        (BOOLEANS, [1.0, float("nan"), None]),
        (NUMBERS, [2.5, float("nan"), None]),
        (INTEGERS, ["1", "", None]),
        (manifest(classes=["No", "1"]), ["1", "", None]),
    ],
    ids=["integers", "booleans", "numbers", "text for integers", "text"],
)
def test_a_column_with_gaps_has_labels_where_it_has_values(model: Manifest, labels: list[Any]) -> None:
    """As pandas writes a column of integers or booleans with gaps: as floats."""
    files = store(x_parquet=parquet({"request_id": ["a", "b", "c"], "delayed": labels}))
    found = joined(captured(("a", 0), ("b", 0), ("c", 0)), files, config(), model)
    assert found.rows["request_id"].to_list() == ["a"]
    assert found.counts == LabelCounts(requests=3, joined=1, missing=2)


def test_an_empty_text_may_be_a_class() -> None:
    files = store(x_parquet=parquet({"request_id": ["a"], "delayed": [""]}))
    assert joined(captured(("a", 0)), files, config(), manifest(classes=["", "late"])).rows["truth"].to_list() == [""]


def test_labels_that_are_written_anew_each_day_are_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A year of full snapshots must not need the memory of a year."""
    monkeypatch.setattr(reading, "_LOOSE", 1)
    held: list[int] = []
    counted = reading._counted

    def watched(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        made = counted(frames)
        held.append(made.height)
        return made

    monkeypatch.setattr(reading, "_counted", watched)
    snapshot = {f"day{i:03}_csv": f"request_id,delayed\na,1\nb,{i}\nx,0\n".encode() for i in range(50)}
    found = joined(captured(("a", 0), ("b", 0), ("c", 0)), store(**snapshot), config(format="csv"))
    assert found.counts == LabelCounts(requests=3, joined=1, missing=1, duplicate=49, conflicting=1, unknown=50)
    assert max(held) <= 4  # one of a, at most three of b


def test_labels_of_strangers_only_are_told() -> None:
    files = store(x_csv=b"request_id,delayed\nx,1\ny,0\n")
    assert joined(captured(("a", 0)), files, config(format="csv")).strangers
    files.put("y.csv", b"request_id,delayed\na,1\n")
    assert not joined(captured(("a", 0)), files, config(format="csv")).strangers


def test_labels_of_another_window_are_no_strangers() -> None:
    rows = captured(("a", 0), ("b", 0))
    labels = config(format="csv")
    found = read_labels(store(x_csv=b"request_id,delayed\nb,1\nx,1\n"), labels, INTEGERS, rows, NOON)
    earlier = join(rows.head(1), found, labels, as_of=LATER)
    assert (earlier.counts, earlier.strangers) == (LabelCounts(requests=1, missing=1, unknown=1), False)


@pytest.mark.parametrize(
    ("form", "data", "model", "says"),
    [
        ("parquet", b"no parquet", INTEGERS, "cannot be read as parquet"),
        ("parquet", b"", INTEGERS, "is empty; replace or remove it"),
        ("csv", b"request_id,delayed\na,1,2,3\n", INTEGERS, "cannot be read as csv"),
        ("csv", b"id,delayed\na,1\n", INTEGERS, "no column 'request_id' but id, delayed; correct the object, or spec.labels"),
        ("csv", b"request_id,late\na,1\n", INTEGERS, "no column 'delayed' but request_id, late"),
        ("csv", b"request_id,delayed\na,maybe\n", INTEGERS, "the label 'maybe' is no whole number"),
        ("csv", b"request_id,delayed\na,0.5\n", INTEGERS, "the label '0.5' is no whole number"),
        ("csv", b"request_id,delayed\na,2\n", BOOLEANS, "the label '2' is neither true nor false"),
        ("csv", b"request_id,delayed\na,inf\n", NUMBERS, "the label 'inf' is no finite number"),
        ("csv", b"request_id,delayed\na,ten\n", NUMBERS, "the label 'ten' is no finite number; correct or remove it"),
        ("csv", b"request_id,row,delayed\na,first,1\n", INTEGERS, "the column 'row' holds 'first'"),
        ("ndjson", b'{"request_id": "a",\n', INTEGERS, "cannot be read as ndjson"),
        ("ndjson", b'{"id": "a", "delayed": 1}\n', INTEGERS, "has no request id in 'request_id' in any row; correct labels.key"),
        ("parquet", parquet({"request_id": ["a"], "delayed": [[1, 2]]}), INTEGERS, "cannot be read as parquet"),
    ],
)  # fmt: skip
def test_a_bad_object_is_named_with_its_fix(form: str, data: bytes, model: Manifest, says: str) -> None:
    with pytest.raises(MalformedLabels) as error:
        joined(captured(("a", 0)), store(**{f"bad_{form}": data}), config(format=form), model)
    assert says in str(error.value)
    assert f"s3://lake/labels/bad.{form}" in str(error.value)


def test_a_bad_label_of_another_request_does_not_matter() -> None:
    found = joined(captured(("a", 0)), store(x_csv=b"request_id,delayed\na,1\nz,maybe\n"), config(format="csv"))
    assert found.counts == LabelCounts(requests=1, joined=1, unknown=1)


def test_a_bucket_that_is_not_there_names_the_field() -> None:
    files = store()
    files.before = lambda _operation, _key: (_ for _ in ()).throw(BucketMissing("no such bucket"))
    with pytest.raises(MalformedLabels, match=r"labels\.uri s3://lake/labels/: the bucket does not exist; create it or correct"):
        joined(ROWS, files, config())


def test_only_objects_of_the_format_outside_the_own_prefix_are_read() -> None:
    files = MemoryStore({"a.csv": b"request_id,delayed\na,1\n", "a.txt": b"?", "own/b.csv": b"?"}, "s3://lake")
    found = read_labels(files, config(format="csv"), INTEGERS, captured(("a", 0)), NOON, "s3://lake/own/")
    assert (found.objects, found.rows.height) == (1, 1)


class Dated(MemoryStore):
    """A store whose objects were written on the day that their names say."""

    def list(self, prefix: str, *, start_after: str = "") -> Any:
        for info in super().list(prefix, start_after=start_after):
            yield info.__class__(info.key, info.size, info.etag, datetime.fromisoformat(info.key[:10]).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("objects", "read"),
    [
        ({"2013-05-01": "a", "2013-06-01": "z", "2013-06-02": "a"}, ["2013-06-01", "2013-06-02"]),
        ({"2013-05-01": "a", "2013-06-02": "z"}, ["2013-06-02", "2013-05-01"]),
        ({"2013-05-01": "a"}, ["2013-05-01"]),
    ],
    ids=["objects older than the requests are not read", "unless no newer one has a label", "as in a replay of the past"],
)
def test_reading_is_bounded_by_time(objects: dict[str, str], read: list[str]) -> None:
    files = Dated({f"{day}.ndjson": json.dumps({"request_id": key, "delayed": 1}).encode() for day, key in objects.items()})
    found = read_labels(files, config(format="ndjson"), INTEGERS, captured(("a", 0)), NOON)
    assert [key.removesuffix(".ndjson") for operation, key in files.log if operation == "get"] == read
    assert found.rows["request_id"].to_list() == ["a"]


def test_of_older_objects_the_newest_are_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a feed that is late would let every check read years of labels."""
    monkeypatch.setattr(reading, "MAX_OLDER", 2)
    files = Dated({f"2013-0{month}-01.ndjson": b'{"request_id": "z", "delayed": 1}\n' for month in range(1, 6)})
    read_labels(files, config(format="ndjson"), INTEGERS, captured(("a", 0)), NOON)
    assert [key for operation, key in files.log if operation == "get"] == ["2013-04-01.ndjson", "2013-05-01.ndjson"]


def test_no_captured_rows_join_nothing() -> None:
    found = joined(captured(), store(x_csv=b"request_id,delayed\na,1\n"), config(format="csv"))
    assert (found.rows.height, found.counts) == (0, LabelCounts())
