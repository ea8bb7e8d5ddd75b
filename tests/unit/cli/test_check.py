"""`stationkeeper check` as a person and a pipeline use it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from hack.demo.flights import TARGET, between, flights
from stationkeeper.cli.cluster import CommandError
from stationkeeper.cli.main import app
from tests.support.loaded import loaded
from tests.unit.workloads.drift import helpers

FORBIDDEN = ("<script", "http://", "https://")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    helpers.frame(helpers.columns(5_000, 7)).write_parquet(folder / "before.parquet")
    helpers.frame(helpers.columns(1_000, 1)).write_csv(folder / "like.csv")
    helpers.frame(helpers.columns(1_000, 1, shift=1.5, shares=(0.1, 0.2, 0.3, 0.4))).write_csv(folder / "moved.csv")
    helpers.frame(helpers.columns(100, 1)).write_csv(folder / "few.csv")
    return folder


def check(folder: Path, current: str, *more: str, reference: str = "before.parquet") -> Result:
    return CliRunner().invoke(app, ["check", "-r", str(folder / reference), "-c", str(folder / current), *more])


def policy(folder: Path, text: str) -> str:
    path = folder / "policy.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("current", "more", "code", "verdict"),
    [
        ("like.csv", "", 0, "Passed"),
        ("moved.csv", "", 10, "Breached"),
        ("few.csv", "", 20, "InsufficientData"),
        ("like.csv", "features: {columns: [{name: tmep}]}", 1, "Error"),
        ("few.csv", "minSamples: 50", 0, "Passed"),
        ("moved.csv", "kind: DriftPolicy\nmetadata: {name: x}\nspec: {features: {maxDriftedShare: 0.9}}", 0, "Passed"),
    ],
)
def test_the_exit_code_is_the_verdict(files: Path, current: str, more: str, code: int, verdict: str) -> None:
    result = check(files, current, *(["-p", policy(files, more)] if more else []), "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (code, verdict)


def test_a_check_does_not_pay_for_training_libraries(files: Path) -> None:
    """They take as long to import as a million rows to check, and nearly twice the memory."""
    arguments = ["check", "-r", str(files / "before.parquet"), "-c", str(files / "like.csv")]
    code = f"from stationkeeper.cli.main import app; app({arguments})"
    assert loaded(code, ("sklearn", "scipy", "pandas", "kubernetes")) == []


def test_what_cannot_be_read_has_a_verdict_for_programs_too(files: Path) -> None:
    (files / "foreign.parquet").write_text("hello")
    result = check(files, "foreign.parquet", "-o", "json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"], found["columns"], found["violations"]) == (1, "Error", [], [])
    assert "foreign.parquet cannot be read" in found["message"]
    assert isinstance(result.exception, CommandError), "and for people the same"


@pytest.mark.parametrize(("rows", "code", "verdict"), [("like.csv", 1, "Error"), ("moved.csv", 10, "Breached")])
def test_a_damaged_file_of_a_folder_is_named_and_the_others_are_checked(
    files: Path, tmp_path: Path, rows: str, code: int, verdict: str
) -> None:
    day = tmp_path / "day"
    day.mkdir()
    good = pl.read_csv(files / rows)
    good.write_parquet(day / "01.parquet")
    (day / "02.parquet").write_text("hello")
    good.write_parquet(day / "03.parquet")
    content = (day / "03.parquet").read_bytes()
    (day / "03.parquet").write_bytes(content[:4] + bytes(400) + content[404:])  # known by its rows alone
    result = check(files, str(day), "-o", "json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"], found["rows"], len(found["columns"])) == (code, verdict, 1_000, 4)
    assert all(f"{name} cannot be read" in found["message"] for name in ("02.parquet", "03.parquet"))


def test_the_json_is_the_report(files: Path) -> None:
    report = json.loads(check(files, "moved.csv", "-o", "json", "--ignore", "distance").stdout)
    by_name = {column["name"]: column for column in report["columns"]}
    assert by_name.keys() == {"temp", "carrier", "holiday"}
    assert by_name["temp"]["statistic"] > by_name["temp"]["threshold"]
    assert (by_name["temp"]["test"], by_name["temp"]["verdict"], by_name["holiday"]["verdict"]) == ("PSI", "Breached", "Passed")
    assert {(v["type"], v["column"]) for v in report["violations"]} == {("baseline_drift", "temp"), ("baseline_drift", "carrier")}
    assert report["schemaVersion"] == 2


def test_a_violation_says_what_was_observed_and_expected(files: Path) -> None:
    helpers.frame(helpers.columns(1_000, 1, missing=0.5)).write_csv(files / "holes.csv")
    result = check(files, "holes.csv", "-o", "json")
    violation, drift = json.loads(result.stdout)["violations"]
    assert (drift["type"], drift["column"], drift["expected"][:10]) == ("baseline_drift", "temp", "at most 0.")
    assert (violation["type"], violation["column"]) == ("completeness", "temp")
    assert violation["observed"] == "missing in 49.9% of rows"
    assert violation["expected"].startswith("at most ")
    assert result.exit_code == 10


def test_the_table_is_plain_when_piped(files: Path) -> None:
    lines = check(files, "moved.csv").stdout.splitlines()
    assert lines[0].startswith("Breached: 2 of 4 features drifted: temp (PSI")
    assert lines[1] == "moved.csv (1,000 rows) against before.parquet (5,000 rows)"
    assert lines[3].split() == ["COLUMN", "GROUP", "TEST", "STATISTIC", "THRESHOLD", "CHANCE", "VERDICT"]
    assert lines[4].split()[:3] == ["temp", "features", "PSI"]
    assert lines[4].split()[-1] == "Breached"
    assert not any("\x1b" in line for line in lines)


def test_the_page_is_whole_in_itself(files: Path) -> None:
    html = check(files, "moved.csv", "-o", "html").stdout
    assert html.startswith("<!doctype html>")
    assert "moved.csv" in html
    assert not any(word in html for word in FORBIDDEN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("features: {default: {test: PSY}}", r"policy\.yaml: features\.default\.test: Input should be 'PSI'"),
        ("spec: {windw: 1h}", r"policy\.yaml: spec\.windw: there is no such field; see: kubectl explain driftpolicy\.spec"),
        ("kind: Model\nspec: {}", r"it holds 0 policies; give a file with exactly one DriftPolicy"),
        ("quality: {metric: roc_acu, min: 0.6}", r"policy .*quality\.metric: 'roc_acu' is not a scorer .*; did you mean roc_auc"),
        ("a: [", r"policy .*policy\.yaml is no YAML: expected the node content, but found '<stream end>' in line 1, column 5"),
        ("- 1", "it holds 0 policies"),
    ],
)
def test_a_policy_that_is_none_is_refused_with_the_field(files: Path, text: str, message: str) -> None:
    result = check(files, "like.csv", "-p", policy(files, text))
    assert isinstance(result.exception, CommandError)
    with pytest.raises(CommandError, match=message):
        raise result.exception


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.csv"], r"gone\.csv is no file"),
        (["like.csv", "--timestamp", "when"], "there is no column 'when' in the reference"),
        (["like.csv", "--prediction", "score"], "there is no column 'score' in the reference"),
        (["like.csv", "--ignore", "id"], "there is no column 'id' in the reference"),
    ],
)
def test_an_error_names_the_file_or_the_column(files: Path, arguments: list[str], message: str) -> None:
    result = check(files, *arguments)
    assert isinstance(result.exception, CommandError)
    with pytest.raises(CommandError, match=message):
        raise result.exception


def test_a_stored_profile_is_compared_by_its_reference(files: Path) -> None:
    reference = helpers.reference(5_000)
    (files / "reference.json").write_bytes(reference.encode())
    (files / "now.profile").write_bytes(helpers.profile(reference, 1_000, shift=2.0).encode())
    result = check(files, "now.profile", "-o", "json", reference="reference.json")
    assert json.loads(result.stdout)["predictions"] == "Passed"
    assert result.exit_code == 0  # one of four features is under maxDriftedShare


# ---- the flights that left New York in 2013 ----


def day(month: int, number: int) -> datetime:
    return datetime(2013, month, number, tzinfo=UTC)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("year")
    rows = flights().drop(TARGET)
    for name, start, end in (
        ("winter", day(1, 1), day(4, 1)),
        ("halfyear", day(1, 1), day(7, 1)),
        ("april", day(4, 1), day(4, 15)),
        ("july", day(7, 1), day(7, 15)),
        ("november", day(11, 4), day(11, 18)),
        ("newyear", day(12, 23), datetime(2014, 1, 1, tzinfo=UTC)),
    ):
        between(rows, start, end).write_parquet(folder / f"{name}.parquet")
    july = pl.read_parquet(folder / "july.parquet")
    july.with_columns(pl.col("distance") * 1.609).write_parquet(folder / "kilometres.parquet")
    july.with_columns(pl.col("distance") * 1000).write_parquet(folder / "thousandfold.parquet")
    return folder


def report(folder: Path, reference: str, current: str) -> dict[str, Any]:
    result = check(folder, f"{current}.parquet", "--timestamp", "scheduled_at", "-o", "json", reference=f"{reference}.parquet")
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def drifted(found: dict[str, Any]) -> set[str]:
    return {column["name"] for column in found["columns"] if column["verdict"] == "Breached"}


def broken(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(v["type"], v["column"]) for v in found["violations"] if v["type"] != "baseline_drift"}


@pytest.mark.parametrize(("reference", "current"), [("winter", "april"), ("halfyear", "july")])
def test_a_quiet_fortnight_says_nothing(year: Path, reference: str, current: str) -> None:
    found = report(year, reference, current)
    assert (found["verdict"], drifted(found), found["violations"]) == ("Passed", set(), [])


def test_another_timetable_is_named_and_alone_breaches_nothing(year: Path) -> None:
    """November's flights really go to other places than those of January to June (PSI .02): a season is no ordinary variation."""
    found = report(year, "halfyear", "november")
    assert (found["verdict"], drifted(found)) == ("Passed", {"dest"})
    assert broken(found) == set()


def test_summer_is_warmer_than_any_winter_day_and_flies_elsewhere(year: Path) -> None:
    found = report(year, "winter", "july")
    assert found["verdict"] == "Breached"
    assert {"temp", "dewp", "dest", "distance"} <= drifted(found)
    assert not {"carrier", "origin", "weekday", "wind_speed", "precip", "visib"} & drifted(found)


def test_weather_that_went_missing_at_the_end_of_the_year_is_broken_data(year: Path) -> None:
    found = report(year, "halfyear", "newyear")
    weather = {"temp", "dewp", "humid", "wind_speed", "precip", "visib"}
    assert broken(found) == {("completeness", name) for name in weather}
    assert found["data"] == "Breached"


def test_a_distance_in_another_unit_is_noticed(year: Path) -> None:
    assert "distance" in drifted(report(year, "halfyear", "kilometres"))
    assert broken(report(year, "halfyear", "thousandfold")) == {("unit_change", "distance")}
