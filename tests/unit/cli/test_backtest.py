"""`stationkeeper backtest` as a person and a pipeline use it."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from stationkeeper.cli.cluster import CommandError
from stationkeeper.cli.main import app
from tests.unit.workloads.backtest.histories import model, policy, rows

FORBIDDEN = ("<script", "http://", "https://")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("backtest")
    rows(drift_from=60).write_parquet(found / "history.parquet")
    rows(days=1).head(0).write_parquet(found / "empty.parquet")
    policy(found, breach={"windows": 1, "of": 1})
    model(found, data={"window": "20d"})
    return found


def backtest(folder: Path, name: str, *more: str) -> Result:
    return CliRunner().invoke(app, ["backtest", str(folder / name), "--policy", str(folder / "policy.yaml"), *more])


ALONE = ("--timestamp", "at", "--ignore", "y", "--first", "40d")


def test_rows_alone_tell_which_windows_breach_and_why(folder: Path) -> None:
    result = backtest(folder, "history.parquet", *ALONE)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == "1 of 8 windows breached; 1 training after the first model (1 by Drift)."
    windows = [line.split() for line in lines if " 2024-" in line and "features drifted" in line]
    assert [words[4] for words in windows] == ["Passed"] * 2 + ["Breached"] + ["Passed"] * 5
    assert "x (PSI" in next(line for line in lines if "Breached" in line)
    assert not any("MEAN" in line for line in lines), "nothing is known of quality"


def test_windows_of_which_nothing_is_known_are_counted(tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "history.parquet")
    policy(tmp_path, features={"columns": [{"name": "nope", "test": "PSI"}]})
    text = backtest(tmp_path, "history.parquet", *ALONE).stdout
    assert text.startswith("0 of 8 windows breached, 8 could not be judged; ")
    policy(tmp_path, minSamples=100_000)
    assert backtest(tmp_path, "history.parquet", *ALONE).stdout.startswith("0 of 8 windows breached, 8 held too little; ")


def test_quality_of_rows_alone_is_not_measured_and_that_is_said(tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "history.parquet")
    policy(tmp_path, quality={"metric": "roc_auc", "min": 0.6})
    result = backtest(tmp_path, "history.parquet", *ALONE)
    assert result.exit_code == 0
    assert "note: quality is not measured: rows alone name no labels; give the manifest of the Model" in result.stdout
    assert "replay/" not in result.stdout
    policy(tmp_path, quality={"metric": "luck", "min": 0.6})
    result = backtest(tmp_path, "history.parquet", *ALONE)
    assert isinstance(result.exception, CommandError)
    assert "quality.metric: 'luck' is not a scorer of scikit-learn" in str(result.exception)


def test_the_json_is_the_whole_replay(folder: Path) -> None:
    found = json.loads(backtest(folder, "history.parquet", *ALONE, "--window", "36h", "-o", "json").stdout)
    assert (found["schemaVersion"], found["window"], found["retrained"]) == (1, "36h", False)
    assert {variant["direction"] for variant in found["variants"]} == {"as it is", "stricter", "looser"}
    assert found["courses"][0]["windows"][0]["verdict"] == "InsufficientData", "60 rows are too few"


def test_a_looser_policy_does_not_take_a_drifted_column_for_broken_data(folder: Path) -> None:
    found = json.loads(backtest(folder, "history.parquet", *ALONE, "-o", "json").stdout)
    said = {
        v["change"]: (v["breached"], v["trainings"])
        for v in found["variants"]
        if "Share" in v["change"] or v["change"] == "the policy"
    }
    assert said == {"the policy": (1, 1)} | {f"maxDriftedShare {share:g}": (1, 1) for share in (0.05, 0.1, 0.2, 0.5)} | {
        "maxDriftedShare 0.8": (0, 0)  # one of two features
    }


def test_a_reference_that_knows_too_little_counts_here_and_that_is_said(folder: Path) -> None:
    result = backtest(folder, "history.parquet", *ALONE, "-o", "json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert "Breached" in [window["verdict"] for window in found["courses"][0]["windows"]]
    (note,) = [note for note in found["notes"] if "Calibrating" in note and "revision 1:" in note]
    assert note.startswith(
        "revision 1: too few rows of the reference have a time: in a cluster the drift of its features is observed only"
    )


def test_a_holdout_of_its_own_is_not_replayed_and_that_is_said(tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "history.parquet")
    policy(tmp_path)
    model(tmp_path, evaluation={"holdout": {"uri": "s3://models/frozen/"}})
    result = backtest(tmp_path, "model.yaml", "--first", "40d")
    assert result.exit_code == 0, result.stdout
    assert "evaluation.holdout.uri were not there at each moment" in " ".join(result.stdout.split())


def test_retraining_is_compared_with_other_rules_on_one_page(folder: Path) -> None:
    result = backtest(folder, "model.yaml", "--retrain", "--first", "40d", "--window", "20d", "--every", "6w", "-o", "html")
    assert result.exit_code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert not [word for word in FORBIDDEN if word in result.stdout]
    for rule in ("policy", "never", "every window", "every 6w"):
        assert f'<th scope="row" role="rowheader">{rule}</th>' in result.stdout
    assert "than never training again" in result.stdout


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("nowhere.yaml", (), r"model .*nowhere\.yaml: .*No such file"),
        ("nowhere.parquet", (), r"nowhere\.parquet is no file"),
        ("history.parquet", (), r"no column 'arrived_at', the time of its rows: name it with --timestamp"),
        ("history.parquet", (*ALONE, "--retrain"), "--retrain needs a Model with an estimator"),
        (
            "history.parquet",
            (*ALONE, "--prediction", "p"),
            "has no column 'p', which --prediction names; it has at, x, colour, y",
        ),
        ("history.parquet", (*ALONE, "--data", "x"), "rows already: give either a Model with --data, or rows alone"),
        ("model.yaml", ("--first", "400d"), "nothing is left to replay; give a shorter --first, or more history"),
        ("model.yaml", ("--first", "soon"), "--first: not a duration: 'soon'"),
        ("model.yaml", ("--window", "30s"), "--window 30s: windows are whole minutes"),
        ("model.yaml", ("--metric", "luck"), "'luck' is not a scorer of scikit-learn"),
        ("model.yaml", ("--first", "1d"), "the first model was not published: InvalidData, TooFewRows: .* with --first"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(folder: Path, name: str, more: tuple[str, ...], said: str) -> None:
    result = backtest(folder, name, *more)
    assert isinstance(result.exception, CommandError)
    assert result.exit_code == 1
    with pytest.raises(CommandError, match=said):
        raise result.exception


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"target": "z"}}, "has no column 'z', which is spec.training.data.target; it has at, x, colour, y"),
        ({"data": {"features": ["x", "size"]}}, "has no column 'size', which spec.training.data.features names"),
        ({"data": {"timestamp": None}}, "spec.training.data.timestamp is not set"),
        ({"data": {"uri": "empty.parquet"}}, "holds no row with a time in 'at': there is nothing to replay"),
        ({"spec": {"storage": {}}}, r"spec\.storage\.uri: is required"),
    ],
)
def test_a_model_that_does_not_fit_its_rows_names_the_field(folder: Path, changes: dict[str, Any], said: str) -> None:
    uri = {"uri": str(folder / changes.get("data", {}).get("uri", "history.parquet"))}
    model(folder, "wrong.yaml", **changes | {"data": changes.get("data", {}) | uri})
    with pytest.raises(CommandError, match=said):
        raise backtest(folder, "wrong.yaml").exception or AssertionError("it was replayed")


def test_the_answers_of_captured_rows_are_compared_as_answers(folder: Path) -> None:
    frame = rows(days=60)
    captured = frame.select(pl.col("at").alias("arrived_at"), pl.col("x").alias("input.x"), pl.col("y").alias("output.label"))
    captured.write_parquet(folder / "captured.parquet")
    result = backtest(folder, "captured.parquet", "--first", "40d", "-o", "json")
    (window, *_) = json.loads(result.stdout)["courses"][0]["windows"]
    assert (window["verdict"], window["predictions"]) == ("Passed", "Passed")
    assert "0 of 1 features drifted" in window["message"]
