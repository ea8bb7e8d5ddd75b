"""What a person may name: rows and profiles, files and folders, here and in S3."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stationkeeper.workloads.artifacts.errors import StoreDenied
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.checks import files
from stationkeeper.workloads.checks.sources import Server, SourceError, load_reference, open_current, open_reference
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.table import FrameTable, frame
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.drift import helpers

ROWS = pl.DataFrame({"code": ["1", "2", None], "temp": [1.5, None, 3.0], "late": [True, False, True]})
LIKE = FrameTable(ROWS)
HERE = Server()


def rows(address: str, scratch: Path, server: Server = HERE) -> pl.DataFrame:
    """The current rows, beside a reference like `ROWS`."""
    found = open_current(address, server, LIKE, scratch).rows
    assert not isinstance(found, Profile)
    return frame(found)


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.mark.parametrize("name", ["r.parquet", "r.csv", "r.csv.gz", "r.ndjson", "r.jsonl"])
@pytest.mark.parametrize("small", [True, False])
def test_every_format_gives_the_same_rows(
    tmp_path: Path, scratch: Path, name: str, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:  # as if the file were large
        monkeypatch.setattr(files, "_SMALL_TEXT", 0)
        monkeypatch.setattr(files, "_SMALL", 0)
    path = tmp_path / name
    if name.endswith("parquet"):
        ROWS.write_parquet(path)
    elif "csv" in name:
        ROWS.write_csv(path, compression="gzip" if name.endswith("gz") else "uncompressed")
    else:
        ROWS.write_ndjson(path)
    loaded = rows(str(path), scratch)
    assert loaded.to_dict(as_series=False) == ROWS.to_dict(as_series=False)


def test_text_of_digits_stays_text_where_the_reference_has_text(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("code,temp\n1,2\n3,4\n")
    as_reference, as_current = load_reference(str(path), HERE), rows(str(path), scratch)
    assert isinstance(as_reference, pl.DataFrame)
    assert (as_reference.schema["code"], as_current.schema["code"]) == (pl.Int64, pl.String)


@pytest.mark.parametrize("small", [True, False])
def test_a_column_that_changes_its_type_far_down_comes_as_text(
    tmp_path: Path, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SMALL_TEXT", files._SMALL_TEXT if small else 0)
    path = tmp_path / "r.csv"
    path.write_text("temp\n" + "1\n" * 20_000 + "cold\n")
    loaded = load_reference(str(path), HERE)
    assert isinstance(loaded, pl.DataFrame)
    assert (loaded.schema["temp"], loaded.height) == (pl.String, 20_001)


def test_a_folder_is_all_its_files(tmp_path: Path, scratch: Path) -> None:
    ROWS.write_parquet(tmp_path / "a.parquet")
    ROWS.drop("late").write_csv(tmp_path / "b.csv")
    (tmp_path / "README.txt").write_text("not rows")
    loaded = rows(str(tmp_path), scratch)
    assert (loaded.height, loaded["late"].null_count()) == (6, 3)


def test_stored_counts_are_read_and_merged(tmp_path: Path, scratch: Path) -> None:
    reference = helpers.reference(2_000)
    (tmp_path / "reference.json").write_bytes(reference.encode())
    flushed = tmp_path / "day"
    flushed.mkdir()
    for number in range(3):
        (flushed / f"{number}.profile").write_bytes(helpers.profile(reference, 100, number).encode())
    loaded = load_reference(str(tmp_path / "reference.json"), HERE)
    assert isinstance(loaded, ReferenceProfile)
    merged = open_current(str(flushed), HERE, loaded, scratch).rows
    assert isinstance(merged, Profile)
    assert merged.rows == 300


def test_addresses_in_s3_are_read_through_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scratch: Path) -> None:
    ROWS.write_parquet(tmp_path / "a.parquet")
    store = MemoryStore({"a.parquet": (tmp_path / "a.parquet").read_bytes(), "notes.txt": b""}, name="s3://models/flights")
    opened: list[Any] = []

    def open_(storage: Any) -> MemoryStore:
        opened.append((storage.uri, storage.endpoint_url))
        return store

    monkeypatch.setattr(S3Store, "open", open_)
    for address in ("s3://models/flights/a.parquet", "s3://models/flights/"):
        assert rows(address, scratch, Server("http://localhost:7070")).height == 3
    assert opened == [("s3://models/flights", "http://localhost:7070")] * 2
    store.before = lambda _operation, _key: (_ for _ in ()).throw(StoreDenied("cannot read: no credentials"))
    with pytest.raises(SourceError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and --endpoint-url"):
        load_reference("s3://models/flights/", HERE)


def test_a_folder_of_profiles_in_s3_is_added_up_and_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, scratch: Path
) -> None:
    reference = helpers.reference(300)
    one = helpers.profile(reference, 2)
    store = MemoryStore({f"{i:03}.profile": one.encode() for i in range(40)}, name="s3://models/flights")
    monkeypatch.setattr(S3Store, "open", lambda _storage: store)
    total = open_current("s3://models/flights/", HERE, reference, scratch).rows
    assert isinstance(total, Profile)
    assert total.rows == 80
    store.objects["007.profile"] = one.encode()[:-1]
    found = open_current("s3://models/flights/", HERE, reference, scratch)
    assert isinstance(found.rows, Profile)
    assert found.rows.rows == 78, "the others count"
    assert [
        re.fullmatch(r"s3://models/flights/007.profile cannot be read: .* checksum.*", str(e)) is None for e in found.lost
    ] == [False]
    store.before = lambda operation, key: store.objects.pop(key) if (operation, key) == ("get", "011.profile") else None
    with pytest.raises(SourceError, match=r"cannot read s3://models/flights/011.profile: there is no such object"):
        open_current("s3://models/flights/", HERE, reference, scratch)


def test_files_that_cannot_be_read_do_not_hold_up_the_others(tmp_path: Path, scratch: Path) -> None:
    ROWS.write_parquet(tmp_path / "a.parquet")
    ROWS.with_columns(temp=pl.concat_list("code")).write_parquet(tmp_path / "b.parquet")
    (tmp_path / "c.ndjson").write_text("{")
    damaged = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "d.parquet").write_bytes(damaged.replace(b"PAR1", b"PAR0"))
    (tmp_path / "e.parquet").write_bytes(damaged[:4] + bytes(40) + damaged[44:])  # its end tells of rows that are no more
    opened = open_current(str(tmp_path), HERE, LIKE, scratch)
    assert not isinstance(opened.rows, Profile)
    assert opened.rows.rows == 6
    with pytest.raises(SourceError, match=r"e.parquet cannot be read") as raised:
        frame(opened.rows)
    opened = opened.without(raised.value)
    assert not isinstance(opened.rows, Profile)
    assert frame(opened.rows).to_dict(as_series=False) == ROWS.to_dict(as_series=False)
    assert sorted(Path(error.file or "").name for error in opened.lost) == ["b.parquet", "c.ndjson", "d.parquet", "e.parquet"]
    assert all("replace or remove it" in str(error) for error in opened.lost)
    with pytest.raises(SourceError, match=r"c.ndjson"):
        opened.without(opened.lost[0])
    with pytest.raises(SourceError, match=r"a.parquet"):
        opened.without(SourceError("a.parquet", str(tmp_path / "a.parquet")))


def test_the_file_that_does_not_fit_is_the_odd_one_wherever_it_stands(tmp_path: Path, scratch: Path) -> None:
    ROWS.with_columns(temp=pl.concat_list("code")).write_parquet(tmp_path / "a.parquet")
    for name in ("b.parquet", "c.parquet"):
        ROWS.write_parquet(tmp_path / name)
    opened = open_current(str(tmp_path), HERE, LIKE, scratch)
    assert not isinstance(opened.rows, Profile)
    assert (opened.rows.rows, [Path(error.file or "").name for error in opened.lost]) == (6, ["a.parquet"])


def test_times_among_numbers_are_told_apart(tmp_path: Path, scratch: Path) -> None:
    ROWS.write_parquet(tmp_path / "a.parquet")
    ROWS.with_columns(temp=pl.date(2013, 7, 1)).write_parquet(tmp_path / "b.parquet")
    assert rows(str(tmp_path), scratch)["temp"].to_list() == ["1.5", None, "3.0", *["2013-07-01"] * 3]


def test_a_reference_with_a_damaged_file_is_none(tmp_path: Path, scratch: Path) -> None:
    ROWS.write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"b.parquet cannot be read"):
        open_reference(str(tmp_path), HERE, scratch)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "gone.csv is no file, and no folder with files"),
        ("rows.parquet", b"PAR1 no more", "rows.parquet cannot be read: "),
        ("rows.ndjson", b"{", "rows.ndjson cannot be read: "),
        ("rows.csv", b"", "rows.csv cannot be read: "),
        ("twice.csv", b"a,b,a\n1,2,3\n", "twice.csv cannot be read: it names the column 'a' twice"),
        ("rows.xlsx", b"PK", "rows.xlsx has an ending that says nothing"),
        ("reference.json", b"{}", "reference.json cannot be read: not a reference profile"),
        ("x.profile", b"SKDP", "x.profile holds counts only"),
        ("s3:", None, "s3: is no file"),
    ],
)
def test_what_cannot_be_read_is_said_by_name(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        load_reference(str(path), HERE)


def test_counts_without_their_reference_or_with_another_are_refused(tmp_path: Path, scratch: Path) -> None:
    reference = helpers.reference(2_000)
    path = tmp_path / "x.profile"
    path.write_bytes(helpers.profile(reference, 100).encode())
    with pytest.raises(SourceError, match=r"holds counts in the bins of a reference\.json"):
        open_current(str(path), HERE, LIKE, scratch)
    with pytest.raises(SourceError, match="counted in the bins of another revision"):
        open_current(str(path), HERE, helpers.reference(2_000, 1), scratch)
    with pytest.raises(SourceError, match="write s3://bucket/path"):
        open_reference("s3://B/", HERE, scratch)
