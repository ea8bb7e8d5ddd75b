"""A fault planted in a file, and what `stationkeeper check` says of it: every type of violation, by the command alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from stationkeeper.cli.main import app
from stationkeeper.workloads.artifacts.errors import StoreDenied
from stationkeeper.workloads.artifacts.s3 import S3Store
from tests.unit.workloads.drift import helpers

N = 2_000
Change = Callable[[pl.DataFrame], pl.DataFrame]
ASKED = {"schema": {"extraColumns": "Breach", "maxUnseenShare": 0.01, "maxOutOfRangeShare": 0.01, "maxDuplicateShare": 0.1}}


def rows(count: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "age": rng.integers(18, 90, count),
            "income": rng.lognormal(10, 1.2, count).round(2),
            "km": rng.gamma(2, 400, count),
            "city": rng.choice(["Rome", "Oslo", "Kyiv", "Lima"], count, p=(0.4, 0.3, 0.2, 0.1)),
            "zone": rng.choice(["1", "2", "3"], count),
            "member": rng.random(count) < 0.3,
        }
    )


def some(name: str, value: Any, every: int = 10) -> Change:
    """Every so many values of a column replaced."""
    return lambda frame: frame.with_columns(pl.when(pl.int_range(N) % every == 0).then(pl.lit(value)).otherwise(name).alias(name))


def replaced(name: str, by: Any) -> Change:
    return lambda frame: frame.with_columns(**{name: by})


# What is done to the current rows, and what must be found: type, column, observed, expected.
FAULTS: list[tuple[str, Change, tuple[str, str, str, str]]] = [
    ("a column is gone", lambda f: f.drop("km"), ("missing_column", "km", "absent from all rows", "in every row")),
    ("a column has come", replaced("new", 1), ("extra_column", "new", "in 2000 of 2000 rows", "not a feature of the model")),
    ("numbers came as words", some("km", "far"), ("data_type", "km", "text that is no number in 200 of 2000 rows", "numbers")),
    ("a category came as numbers", replaced("city", 7), ("data_type", "city", "wants text, and the data has Int32", "categorical")),
    ("words for booleans", replaced("member", pl.lit("maybe")), ("data_type", "member", "wants true or false, not str 'maybe'", "categorical")),
    ("times for numbers", replaced("km", pl.date(2013, 1, 1)), ("data_type", "km", "wants numbers, and the data has Date", "numeric")),
    ("fractions for whole numbers", replaced("age", pl.col("age") + 0.5), ("data_type", "age", "fractions in 2000 of 2000 rows, for example", "whole numbers")),
    ("whole numbers with a fraction", replaced("zone", pl.col("zone") + ".0"), ("data_type", "zone", "and such like, in 2000 of 2000 rows", "categories of whole numbers")),
    ("values are missing", some("income", None, 4), ("completeness", "income", "missing in 25.0% of rows", "at most 5.0%, which is the reference's 0.0% and 5.0%")),
    ("words are missing", some("city", None, 4), ("completeness", "city", "missing in 25.0% of rows", "at most 5.0%, which is the reference's 0.0% and 5.0%")),
    ("numbers out of range", some("age", 200), ("out_of_range", "age", "outside the range in 10.0% of rows", "18 to 89 in all but 1.0%")),
    ("infinite numbers", some("km", float("inf")), ("out_of_range", "km", "outside the range in 10.1% of rows", "in all but 1.0%")),
    ("a city nobody knew", some("city", "Baku"), ("unseen_category", "city", "of no category that the reference names in 10.0% of rows, for example 'Baku'", "at most 1.0% beside its 4 categories")),
    ("a stuck number", replaced("km", 3.5), ("constant_column", "km", "3.5 in every row", "varying numbers")),
    ("a stuck category", replaced("city", pl.lit("Oslo")), ("constant_column", "city", "'Oslo' in every row", "varying categories")),
    ("the same rows again", lambda f: pl.concat((f[:1_000], f[:1_000])), ("duplicate_rows", "*", "50.0% of rows repeat another", "at most 10.0%")),
    ("cents for euros", replaced("income", pl.col("income") * 100), ("unit_change", "income", "looks 100 times the reference: cents for euros?", "around ")),
    ("metres for kilometres", replaced("km", pl.col("km") * 1_000), ("unit_change", "km", "looks 1000 times the reference: metres for kilometres?", "around ")),
    ("kilometres for metres", replaced("income", pl.col("income") / 1_000), ("unit_change", "income", "looks a 1000th of the reference: kilometres for metres?", "around ")),
    ("thousands of millions", replaced("income", pl.col("income") * 1e9), ("unit_change", "income", "looks 1000000000 times the reference: another unit?", "around ")),
    ("people earn more", replaced("income", pl.col("income") * 1.7), ("baseline_drift", "income", "PSI 0.", "at most 0.0")),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("faults")
    rows(8_000, 1).write_parquet(made / "before.parquet")
    return made


def check(folder: Path, current: str, policy: dict[str, Any], *more: str) -> tuple[int, dict[str, Any]]:
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    arguments = ["check", "-r", str(folder / "before.parquet"), "-c", str(folder / current), "-p", str(folder / "policy.yaml")]
    result = CliRunner().invoke(app, [*arguments, "-o", "json", *more])
    return result.exit_code, json.loads(result.stdout)


KNOWN_BY_TEXT = [fault for fault in FAULTS if fault[0] not in ("times for numbers", "infinite numbers")]
CASES = [(*fault, "parquet") for fault in FAULTS] + [(*fault, "ndjson") for fault in KNOWN_BY_TEXT]


@pytest.mark.parametrize(("change", "expected", "ending"), [c[1:] for c in CASES], ids=[f"{c[0]}, {c[3]}" for c in CASES])
def test_a_planted_fault_is_named_with_what_was_seen_and_expected(
    folder: Path, change: Change, expected: tuple[str, str, str, str], ending: str
) -> None:
    now = change(rows(N, 2))
    if ending == "parquet":
        now.write_parquet(folder / "now.parquet")
    else:
        now.write_ndjson(folder / "now.ndjson")
    code, report = check(folder, f"now.{ending}", ASKED)
    kind, column, observed, wanted = expected
    found = {(v["type"], v["column"]): v for v in report["violations"]}
    assert observed.replace("Int32", "Int64" if ending == "ndjson" else "Int32") in found[kind, column]["observed"]
    assert wanted in found[kind, column]["expected"]
    assert code == (10 if kind != "baseline_drift" else 0)  # one of six columns is no drift of the model
    if kind != "duplicate_rows":  # which are half as many rows in truth
        assert {v["column"] for v in report["violations"]} == {column}


def test_healthy_rows_break_nothing(folder: Path) -> None:
    rows(N, 3).write_parquet(folder / "now.parquet")
    code, report = check(folder, "now.parquet", ASKED)
    assert (code, report["verdict"], report["violations"], report["notes"]) == (0, "Passed", [], [])


def test_a_column_of_one_value_or_none_is_as_it_was(folder: Path) -> None:
    """A flag that is set or missing varies no more today than in the reference."""
    for name, seed in (("before", 1), ("now", 2)):
        flagged = rows(4_000, seed).with_columns(
            flag=pl.when(pl.int_range(4_000) % 3 > 0).then(pl.lit("x")), one=pl.when("member").then(1.0)
        )
        flagged.write_parquet(folder / f"flag-{name}.parquet")
    result = CliRunner().invoke(
        app, ["check", "-r", str(folder / "flag-before.parquet"), "-c", str(folder / "flag-now.parquet"), "-o", "json"]
    )
    assert (result.exit_code, json.loads(result.stdout)["violations"]) == (0, [])


def test_a_key_is_no_boolean_and_few_rows_of_reference_prove_nothing(folder: Path) -> None:
    keyed = [rows(n, n).with_columns(key=pl.format("k{}", pl.int_range(n) + n)) for n in (3_000, 2_000)]
    for name, frame in zip(("before", "now"), keyed, strict=True):
        frame.write_parquet(folder / f"key-{name}.parquet")
    arguments = ["check", "-c", str(folder / "key-now.parquet"), "-o", "json", "-r"]
    result = CliRunner().invoke(app, [*arguments, str(folder / "key-before.parquet")])
    assert (result.exit_code, json.loads(result.stdout)["violations"]) == (0, [])
    keyed[0][:20].write_parquet(folder / "key-before.parquet")
    result = CliRunner().invoke(app, [*arguments, str(folder / "key-before.parquet")])
    assert (result.exit_code, json.loads(result.stdout)["features"]) == (20, "InsufficientData")


@pytest.mark.parametrize(
    ("policy", "code", "said"),
    [
        ({"features": {"columns": [{"name": "incom"}]}}, 1, "the policy names the column 'incom', which is no feature"),
        ({"segments": [{"column": "cty"}]}, 1, "the policy names the segment column 'cty', which is no feature"),
        ({"segments": [{"column": "age"}]}, 1, "age is numeric: segments need a categorical feature"),
        ({"features": {"columns": [{"name": "city", "test": "Wasserstein", "threshold": 0.1}]}}, 0, "Wasserstein is no test for text: city was compared by PSI and its threshold is not used"),
        ({"features": {"columns": [{"name": "age", "test": "ChiSquare"}]}}, 0, "ChiSquare is no test for numbers: age was compared by PSI"),
        ({"quality": {"metric": "roc_auc", "min": 0.7}}, 0, "quality is not measured: two samples hold no labels"),
        ({"baseline": {"firstRows": 500}}, 0, "the policy's baseline is not used: the reference was named"),
    ],
)  # fmt: skip
def test_what_a_policy_asks_and_cannot_have_is_said(folder: Path, policy: dict[str, Any], code: int, said: str) -> None:
    rows(N, 3).write_parquet(folder / "now.parquet")
    exit_code, report = check(folder, "now.parquet", policy)
    assert exit_code == code
    assert any(said in text for text in (report["message"], *report["notes"]))
    assert {c["name"] for c in report["columns"] if c["verdict"] == "Passed"} == set(rows(1, 1).columns)


def broken(path: Path, how: str) -> Path:
    """A file of which nothing can be told."""
    data = path.read_bytes()
    other = path.with_name(f"{how}.{'json' if how == 'rows' else 'profile' if how == 'damaged' else 'parquet'}")
    other.write_bytes({"cut": data[: len(data) // 2], "foreign": b"%PDF-1.7 hello", "empty": b"", "rows": b'[{"a":1}]'}[how])
    return other


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut", r"cut\.parquet cannot be read: .*PAR1.*; replace or remove it"),
        ("foreign", r"foreign\.parquet cannot be read: .*; replace or remove it"),
        ("empty", r"empty\.parquet cannot be read: .*; replace or remove it"),
        ("rows", r"rows\.json cannot be read: not a reference profile .*: Input should be an object; replace or remove it"),
    ],
)
def test_a_file_that_is_none_is_an_error_with_its_name_and_the_fix(folder: Path, how: str, said: str) -> None:
    result = CliRunner().invoke(
        app, ["check", "-r", str(broken(folder / "before.parquet", how)), "-c", str(folder / "before.parquet")]
    )
    assert result.exit_code == 1
    with pytest.raises(Exception, match=said):
        raise result.exception  # type: ignore[misc]


def test_a_damaged_profile_among_others_is_named(folder: Path) -> None:
    reference, day = helpers.reference(2_000), folder / "day"
    day.mkdir()
    (folder / "reference.json").write_bytes(reference.encode())
    for number in range(5):
        (day / f"{number}.profile").write_bytes(helpers.profile(reference, 300, number).encode())
    data = bytearray((day / "3.profile").read_bytes())
    data[60] ^= 1
    (day / "3.profile").write_bytes(data)
    result = CliRunner().invoke(app, ["check", "-r", str(folder / "reference.json"), "-c", str(day)])
    assert result.exit_code == 1
    assert re.match(r"Error: .*3\.profile cannot be read: .*its checksum is wrong.*; replace or remove it", result.stdout)
    assert "the current rows (1,200 rows)" in result.stdout or "day (1,200 rows)" in result.stdout, "the others are checked"


def test_a_store_that_refuses_is_told_with_what_a_person_can_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise StoreDenied("cannot read s3://b/x.parquet at AWS S3: no credentials; name a Secret in spec.storage.secretName")

    monkeypatch.setattr(S3Store, "download", refused)
    result = CliRunner().invoke(app, ["check", "-r", "s3://models/x.parquet", "-c", str(folder / "before.parquet")])
    with pytest.raises(Exception, match="no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and --endpoint-url"):
        raise result.exception  # type: ignore[misc]


def test_a_file_of_headers_alone_is_too_little_and_no_error(folder: Path) -> None:
    (folder / "headers.csv").write_text("age,income,km,city,zone,member\n")
    arguments = ["check", "-r", str(folder / "before.parquet"), "-c", str(folder / "headers.csv"), "--prediction", "income"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 20, result.exception
    assert result.stdout.startswith("InsufficientData: 0 rows are fewer than the 500 of minSamples")
