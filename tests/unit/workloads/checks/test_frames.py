"""Rows against rows, as the command line compares them."""

from typing import Any

import polars as pl
import pytest

from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.checks.frames import FrameError, Names, Roles, check_frames
from stationkeeper.workloads.drift.profile import Profile
from tests.unit.workloads.drift import helpers

BEFORE = helpers.frame(helpers.columns(8_000, 7))


def current(rows: int = 2_000, seed: int = 1, **more: Any) -> pl.DataFrame:
    return helpers.frame(helpers.columns(rows, seed, **more))


def breached(report: DriftReport) -> set[str]:
    return {column.name for column in report.columns if column.verdict == "Breached"}


def broken(report: DriftReport) -> list[tuple[str, str]]:
    """What is wrong with the data, beside what drifted."""
    return [(v.type, v.column) for v in report.violations if v.type != "baseline_drift"]


def test_equal_samples_pass_and_a_moved_column_is_named() -> None:
    assert check_frames(BEFORE, current()).verdict == "Passed"
    moved = check_frames(BEFORE, current(shift=1.0, shares=(0.1, 0.2, 0.3, 0.4)))
    assert (moved.verdict, breached(moved)) == ("Breached", {"temp", "carrier"})
    assert moved.message.startswith("2 of 4 features drifted: temp")


def test_nothing_is_done_about_a_check_by_hand_and_predictions_that_nobody_named_hold_up_nothing() -> None:
    report = check_frames(BEFORE, current(), names=Names("training.csv", "today.csv", "policy.yaml"))
    assert (report.model, report.policy, report.baseline, report.action) == ("today.csv", "policy.yaml", "training.csv", "")
    assert (report.predictions, report.verdict) == ("InsufficientData", "Passed")
    assert "prediction" not in report.message


def test_few_rows_are_no_pass() -> None:
    report = check_frames(BEFORE, current(400))
    assert report.verdict == "InsufficientData"
    assert report.message.startswith("400 rows are fewer than the 500 of minSamples")


def test_predictions_are_judged_apart() -> None:
    answers = {"score": helpers.predictions(8_000, 3)["probability"]}
    before = BEFORE.with_columns(pl.Series("score", answers["score"]))
    now = current().with_columns(pl.Series("score", helpers.predictions(2_000, 4)["probability"] ** 2))
    report = check_frames(before, now, roles=Roles(predictions=["score"]))
    assert (report.features, report.predictions, report.verdict) == ("Passed", "Breached", "Breached")
    with pytest.raises(FrameError, match="there is no column 'score' in the current rows"):
        check_frames(before, current(), roles=Roles(predictions=["score"]))


def test_a_column_that_is_gone_or_of_another_type_is_a_violation_and_the_others_are_compared() -> None:
    now = current(shift=1.0).drop("holiday").with_columns(carrier=pl.Series(range(2_000)))
    report = check_frames(BEFORE, now, helpers.policy(features={"columns": [{"name": "holiday", "ignore": True}]}))
    assert broken(report) == [("data_type", "carrier"), ("missing_column", "holiday")]
    assert (report.data, breached(report)) == ("Breached", {"temp"})


def test_a_column_that_changes_its_type_on_the_way_is_a_violation_and_not_the_end() -> None:
    rows = 250_000
    now = current(rows).with_columns(holiday=pl.Series(["true"] * (rows - 1) + ["perhaps"]))
    report = check_frames(BEFORE, now)
    assert [v.column for v in report.violations] == ["holiday"]
    assert {c.name for c in report.columns} == {"temp", "distance", "carrier"}


def test_text_for_numbers_is_read_and_what_is_no_number_is_told() -> None:
    texts = current().with_columns(pl.col("temp").cast(pl.String).fill_null("n/a"))
    report = check_frames(BEFORE, texts.with_columns(temp=pl.when(pl.int_range(2_000) < 100).then(pl.lit("?")).otherwise("temp")))
    assert broken(report) == [("completeness", "temp"), ("data_type", "temp")]


def test_a_policy_that_names_a_column_which_is_not_there_is_an_error() -> None:
    report = check_frames(BEFORE, current(), helpers.policy(features={"columns": [{"name": "tmep"}]}))
    assert report.verdict == "Error"
    assert "the policy names the column 'tmep', which is no feature of this revision" in report.message


def test_ordinary_weeks_of_the_reference_are_heeded_where_rows_have_times() -> None:
    hours = pl.datetime_range(pl.datetime(2013, 1, 1), pl.datetime(2013, 1, 31, 23), "5m", eager=True)
    temp = 10 + 8 * (pl.Series(range(len(hours))) % 288 / 288)
    before = pl.DataFrame({"at": hours, "temp": temp})
    morning = before.tail(288).head(144)
    asked = helpers.policy(minSamples=100)
    assert check_frames(before, morning, asked, Roles(ignore=["at"])).verdict == "Breached"
    calm = check_frames(before, morning, asked, Roles(timestamp="at"))
    assert (calm.verdict, calm.rows, f"{calm.start:%d %H:%M}") == ("Passed", 144, "30 23:05")


def test_columns_of_times_are_left_out_and_told() -> None:
    dated = BEFORE.with_columns(day=pl.date(2013, 4, 1))
    (note,) = check_frames(dated, current()).notes
    assert note == "day holds Date and was not compared; as the timestamp it would tell what ordinary weeks differ by"


def test_stored_counts_are_compared_by_their_reference() -> None:
    reference = helpers.reference(8_000)
    report = check_frames(reference, helpers.profile(reference, 2_000, shift=1.0))
    assert (breached(report), report.predictions) == ({"temp"}, "Passed")
    assert check_frames(reference, current(shift=1.0)).notes == [
        "label is not among the current rows: this prediction was not compared",
        "probability is not among the current rows: this prediction was not compared",
    ]


def test_more_columns_are_told_where_the_policy_wants_it() -> None:
    report = check_frames(BEFORE, current().with_columns(new=1), helpers.policy(schema={"extraColumns": "Breach"}))
    assert broken(report) == [("extra_column", "new")]


def test_all_columns_together_and_segments_need_rows_of_both_sides() -> None:
    asked = helpers.policy(
        features={"multivariate": {"tests": ["DomainClassifier", "PCAReconstruction"]}}, segments=[{"column": "carrier"}]
    )
    report = check_frames(BEFORE, current(4_000, shift=1.0), asked)
    assert (report.multivariate[0].verdict, report.multivariate[0].columns) == ("Breached", ["temp"])
    assert {s.value for s in report.segments if s.verdict == "Breached"} == {"AA", "B6", "DL"}
    alone = check_frames(helpers.reference(8_000), Profile.empty(helpers.reference(8_000)), asked)
    assert alone.verdict == "InsufficientData"


@pytest.mark.parametrize(
    ("before", "roles", "message"),
    [
        (BEFORE, Roles(timestamp="when"), "there is no column 'when' in the reference, but temp, distance, carrier, holiday"),
        (BEFORE, Roles(timestamp="temp"), "the timestamp column 'temp' holds Float64"),
        (BEFORE, Roles(ignore=["id"]), "there is no column 'id' in the reference"),
        (BEFORE.head(0), Roles(), "the reference has no rows"),
        (BEFORE.select(day=pl.date(2013, 4, 1)), Roles(), "no column of numbers, booleans or text"),
        (BEFORE.select(other="temp"), Roles(), "the current rows have none of the reference's columns: other"),
    ],
)
def test_what_cannot_be_compared_is_said_by_name(before: pl.DataFrame, roles: Roles, message: str) -> None:
    with pytest.raises(FrameError, match=message.replace("(", r"\(")):
        check_frames(before, current(), roles=roles)
