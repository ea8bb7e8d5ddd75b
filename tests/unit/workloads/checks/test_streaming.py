"""Files read in small parts give the report that rows in memory give, by the pieces that judge a model's traffic."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.workloads.checks import files
from stationkeeper.workloads.checks.assemble import Evidence, Subject, report
from stationkeeper.workloads.checks.frames import Names, Roles, check_frames
from stationkeeper.workloads.checks.sources import Server, open_current, open_reference
from stationkeeper.workloads.drift import table
from stationkeeper.workloads.drift.components import fit_components
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from stationkeeper.workloads.drift.rowchecks import judge_rows
from stationkeeper.workloads.drift.rowdata import typed
from stationkeeper.workloads.drift.verdict import judge
from stationkeeper.workloads.drift.windows import Window
from tests.unit.workloads.drift import helpers
from tests.unit.workloads.drift.test_conformance import COLUMNS, ROWS, feature

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STRICT: dict[str, Any] = {
    "minSamples": 100,
    "schema": {
        "maxUnseenShare": 0.0,
        "maxOutOfRangeShare": 0.0,
        "extraColumns": "Breach",
        "maxDuplicateShare": 0.0,
        "maxMissingIncrease": 0.0,
    },
}
EVERYTHING = STRICT | {
    "features": {"multivariate": {"tests": ["DomainClassifier", "PCAReconstruction"]}},
    "segments": [{"column": "string"}],
}
BEFORE = pl.DataFrame([series.alias(name) for name, series in COLUMNS.items() if len(series) == ROWS])
LIKE = BEFORE.sample(fraction=1.0, shuffle=True, seed=9)[:1_200]
CASES: list[tuple[str, pl.DataFrame, pl.DataFrame, dict[str, Any]]] = [
    ("every type, alike", BEFORE, LIKE, {}),
    ("every type, by every check", BEFORE, LIKE, EVERYTHING),
    ("moved", BEFORE, LIKE.with_columns(pl.col("float") + 1, pl.col("integer") * 100), EVERYTHING),
    ("no rows", BEFORE, LIKE[:0], STRICT),
    ("one row", BEFORE, LIKE[:1], STRICT),
    ("a reference of one row", BEFORE[:1], LIKE, STRICT),
    ("rows twice", BEFORE, pl.concat((LIKE, LIKE)), STRICT),
    ("columns come and go", BEFORE, LIKE.drop("float", "string").with_columns(new=1), STRICT),
    ("fractions for whole numbers", BEFORE, LIKE.with_columns(pl.col("integer") + 0.5), STRICT),
    ("text for numbers", BEFORE, LIKE.with_columns(pl.col("float").cast(pl.String)), STRICT),
    ("text that is no number", BEFORE, LIKE.with_columns(float=pl.when(pl.int_range(1_200) < 99).then(pl.lit("?")).otherwise(pl.col("float").cast(pl.String))), STRICT),
    ("numbers for text", BEFORE, LIKE.with_columns(string=1), STRICT),
    ("words for booleans", BEFORE, LIKE.with_columns(boolean=pl.lit("maybe")), STRICT),
    ("dates for numbers", BEFORE, LIKE.with_columns(float=pl.date(2013, 1, 1)), STRICT),
    ("bytes for text", BEFORE, LIKE.with_columns(string=pl.lit(b"\xff\xfe")), {}),
    ("one value only", BEFORE, LIKE.with_columns(float=1.5, string=pl.lit("DL")), STRICT),
    ("nothing at all", BEFORE, LIKE.with_columns(float=None, string=None), STRICT),
    ("words nobody knew", BEFORE, LIKE.with_columns(string=pl.concat_str(pl.lit("z"), pl.int_range(1_200) % 7)), STRICT),
]  # fmt: skip


def eager(before: pl.DataFrame, now: pl.DataFrame, spec: DriftPolicySpec) -> dict[str, Any]:
    """The report by what judges training rows and captured rows, all of them in memory."""
    features = [
        feature(before[name]).model_copy(update={"name": name, "integer": before[name].dtype.is_integer()})
        for name in before.columns
    ]
    whole = build_reference(before, features, {})
    read = typed(now, whole)
    narrow = ReferenceProfile(
        rows=whole.rows, prediction_rows=0, features=[c for c in whole.features if c.name in read.columns], predictions=[]
    )
    counts = Profile.empty(narrow)
    counts.update(read.columns, {})
    counts.extra(sorted(set(now.columns) - set(before.columns)), now.height)
    together = fit_components(before, features, seed=20130401) if spec.features.multivariate else None
    rows = judge_rows(now, whole, spec, sample=before, pca=together, seed=20130401, features=features)
    evidence = Evidence(
        judge(counts, spec), rows, answers=False, watched=False, reference_rows=whole.rows, baseline="the reference"
    )
    digest = sha256(canonical_json(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)))
    subject = Subject("the current rows", "the defaults", "", digest, 1, whole.digest)
    return said(report(subject, spec, Window(NOW, NOW), evidence, NOW))


def said(found: Any) -> dict[str, Any]:
    # What is calibrating follows from the reference, however rows were counted: test_calibrating.py.
    dumped: dict[str, Any] = found.model_dump(mode="json", exclude={"start", "end", "created_at", "calibrating"})
    return dumped


@pytest.fixture(params=["whole", "in parts"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in parts":
        for module in (table, files):
            monkeypatch.setattr(module, "AT_ONCE", 500)
        monkeypatch.setattr(files, "_SMALL", 0)
    return str(request.param)


def streamed(folder: Path, before: pl.DataFrame, now: pl.DataFrame, spec: DriftPolicySpec) -> dict[str, Any]:
    """The same from files."""
    for name, rows in (("before", before), ("now", now)):
        rows.write_parquet(folder / f"{name}.parquet", row_group_size=400)
    reference = open_reference(str(folder / "before.parquet"), Server(), folder)
    return said(check_frames(reference, open_current(str(folder / "now.parquet"), Server(), reference, folder).rows, spec))


@pytest.mark.parametrize(("before", "now", "asked"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_file_gives_the_report_of_its_rows(
    before: pl.DataFrame, now: pl.DataFrame, asked: dict[str, Any], parts: str, tmp_path: Path
) -> None:
    spec = DriftPolicySpec.model_validate(asked)
    found = streamed(tmp_path, before, now, spec)
    assert found == eager(before, now, spec)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "ndjson"])
def test_text_gives_the_report_of_the_same_parquet(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = (helpers.frame(helpers.columns(n, seed, shift=0.5)) for n, seed in ((3_000, 1), (1_000, 2)))
    roles = Roles(timestamp="at", predictions=["distance"])
    reports = []
    for kind, small in (("parquet", True), (ending, True), (ending, False)):
        monkeypatch.setattr(files, "_SMALL_TEXT", 2**24 if small else 0)
        for name, rows in (("before", before), ("now", now)):
            timed = rows.with_columns(at=pl.datetime(2013, 1, 1) + pl.duration(minutes=pl.int_range(rows.height)))
            _write(timed, tmp_path / f"{name}.{kind}")
        reference = open_reference(str(tmp_path / f"before.{kind}"), Server(), tmp_path)
        current = open_current(str(tmp_path / f"now.{kind}"), Server(), reference, tmp_path).rows
        found = check_frames(reference, current, helpers.policy(), roles, Names())
        reports.append(found.model_dump(exclude={"created_at"}))
    assert reports[0] == reports[1] == reports[2]


def _write(rows: pl.DataFrame, path: Path) -> None:
    if path.name.endswith("parquet"):
        rows.write_parquet(path)
    elif "csv" in path.name:
        rows.write_csv(path, compression="gzip" if path.name.endswith("gz") else "uncompressed")
    else:
        rows.write_ndjson(path)


def test_a_folder_gives_the_report_of_all_rows_though_types_differ_between_files(parts: str, tmp_path: Path) -> None:
    before, now = helpers.frame(helpers.columns(3_000, 1)), helpers.frame(helpers.columns(1_200, 2))
    folder = tmp_path / "now"
    folder.mkdir()
    now[:500].with_columns(pl.col("distance").cast(pl.Int32)).write_parquet(folder / "a.parquet")
    now[500:900].drop("carrier").write_parquet(folder / "b.parquet")
    now[900:].with_columns(temp=pl.lit("cold")).write_csv(folder / "c.csv")
    whole = pl.concat(
        (
            now[:900].with_columns(temp=pl.col("temp").cast(pl.String), carrier=pl.when(pl.int_range(900) < 500).then("carrier")),
            now[900:].with_columns(temp=pl.lit("cold")),
        )
    )
    spec = DriftPolicySpec.model_validate(STRICT)
    found = said(check_frames(before, open_current(str(folder), Server(), table.FrameTable(before), tmp_path).rows, spec))
    assert found == said(check_frames(before, whole, spec))
    assert {(v["type"], v["column"]) for v in found["violations"] if v["type"] != "baseline_drift"} == {
        ("data_type", "temp"), ("completeness", "temp"), ("completeness", "carrier"), ("duplicate_rows", "*"),
    }  # fmt: skip


def test_whole_rows_are_read_only_where_something_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = helpers.frame(helpers.columns(3_000, 1)), helpers.frame(helpers.columns(1_200, 2))
    calls: list[int] = []
    known = table.rows_at
    monkeypatch.setattr("stationkeeper.workloads.checks.frames.MAX_ROWS", 800)
    monkeypatch.setattr(
        "stationkeeper.workloads.checks.frames.rows_at",
        lambda t, names, numbers: calls.append(len(numbers)) or known(t, names, numbers),
    )
    check_frames(before, now)
    assert calls == []
    found = check_frames(before, now, helpers.policy(features={"multivariate": {}}, segments=[{"column": "carrier"}]))
    assert calls == [800, 800]
    assert found.rows == 1_200
    assert found.multivariate[0].current_rows == 800


def test_memory_is_that_of_some_columns_and_not_of_the_rows(tmp_path: Path) -> None:
    """Of two million rows of twelve columns, no more than three columns of half of them are ever held."""
    width, rows = 12, 2_000_000
    held: list[int] = []

    class Wide:
        schema = {f"x{i}": pl.Float64() for i in range(width)}
        rows = 2_000_000

        def parts(self, names: Any) -> Iterator[table.Part]:
            for start in range(0, rows, table.AT_ONCE):
                yield table.Part(table.AT_ONCE, lambda asked, start=start: self.read(asked, start))

        def read(self, names: Any, start: int) -> pl.DataFrame:
            held.append(len(names) * table.AT_ONCE)
            return pl.DataFrame({name: np.arange(start, start + table.AT_ONCE, dtype=float) for name in names})

    found = check_frames(Wide(), Wide())
    assert (found.verdict, found.rows, found.reference_rows) == ("Passed", rows, rows)
    assert max(held) <= table.AT_ONCE
