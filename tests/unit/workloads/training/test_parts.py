"""Reading, splitting, converting and golden rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.evaluation import Holdout
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.errors import StoreDenied, StoreUnavailable
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.jobs._run import failure, run
from stationkeeper.workloads.training.convert import difference
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.golden_rows import synthesise
from stationkeeper.workloads.training.pipeline import frequent
from stationkeeper.workloads.training.reading import utc
from stationkeeper.workloads.training.split import row_hashes, split

T0 = datetime(2013, 1, 1, tzinfo=UTC)
RULE = Holdout(fraction=0.2)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2013-01-01T02:30:00Z", T0 + timedelta(hours=2, minutes=30)),
        ("2013-01-01 02:30:00", T0 + timedelta(hours=2, minutes=30)),
        ("2013-01-01T02:30", T0 + timedelta(hours=2, minutes=30)),
        ("2013-01-01T02:30:00.5+02:00", T0 + timedelta(minutes=30, seconds=0.5)),
        ("2013-01-01", T0),
    ],
)
def test_times(text: str, time: datetime) -> None:
    assert utc(pl.Series("t", [text])).to_list() == [time]


def test_rows_of_one_moment_stay_together() -> None:
    frame = pl.DataFrame({"t": [T0 + timedelta(hours=i // 50) for i in range(400)], "x": range(400)})
    train, holdout = split(frame, "t", RULE, "uid", ["x"])
    assert (train.height, holdout.height) == (300, 100)
    assert train["t"].max() < holdout["t"].min()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("learned", "held"),
    [(None, 600), (0, 600), (2000, 500), (2400, 300), (2700, 200), (2900, 200), (3000, 200)],
)
def test_the_holdout_leaves_the_challenger_half_of_what_its_champion_has_not_seen(learned: int | None, held: int) -> None:
    frame = pl.DataFrame({"t": [T0 + timedelta(minutes=i) for i in range(3000)], "x": range(3000)})
    through = None if learned is None else T0 + timedelta(minutes=learned - 1)
    train, holdout = split(frame, "t", RULE, "uid", ["x"], through)
    assert (train.height, holdout.height) == (3000 - held, held)


def test_few_rows_are_split_by_the_fraction_whatever_the_champion_knows() -> None:
    frame = pl.DataFrame({"t": [T0 + timedelta(minutes=i) for i in range(400)], "x": range(400)})
    assert split(frame, "t", RULE, "uid", ["x"], T0 + timedelta(minutes=390))[1].height == 80


def test_without_time_a_row_falls_on_the_same_side_in_every_training() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=2000), "c": [["a", "b", None][i] for i in rng.integers(0, 3, 2000)]})
    held = set(split(frame, None, RULE, "uid", ["x", "c"])[1]["x"].to_list())
    later = pl.concat([frame[1000:], frame.with_columns(x=pl.col("x") + 9), frame[:1000]])
    again = set(split(later, None, RULE, "uid", ["x", "c"])[1]["x"].to_list())
    assert held == again & set(frame["x"].to_list())
    assert 330 < len(held) < 470
    assert held != set(split(frame, None, RULE, "another", ["x", "c"])[1]["x"].to_list())


def test_row_hashes_never_change() -> None:
    """Written down, because a new hash would let every champion judge itself on rows that it learned."""
    frame = pl.DataFrame({"n": [1.5, None], "c": ["a", None], "b": [True, False]})
    assert row_hashes(frame, "uid").tolist() == pytest.approx(HASHES, abs=1e-15)


HASHES = [0.6842815471611818, 0.9822420606752995]


def test_too_few_rows() -> None:
    frame = pl.DataFrame({"t": [T0] * 500, "x": range(500)})
    with pytest.raises(AttemptEnded, match="0 rows to train on and 500 to judge with"):
        split(frame, "t", RULE, "uid", ["x"])


def probabilities(*positive: float) -> Predictions:
    values = np.array(positive)
    labels = np.where(values > 0.5, "yes", "no").astype(object)
    return Predictions(labels=labels, probabilities=np.column_stack([1 - values, values]))


@pytest.mark.parametrize(
    ("ours", "theirs", "alike"),
    [
        (probabilities(0.2, 0.8), probabilities(0.2 + 5e-5, 0.8), True),
        (probabilities(0.2, 0.8), probabilities(0.2 + 2e-4, 0.8), False),
        (probabilities(0.49999, 0.8), probabilities(0.50001, 0.8), True),  # too close to call
        (probabilities(0.2), Predictions(labels=np.array(["no"], dtype=object)), False),
        (Predictions(values=np.array([1e6, 0.0])), Predictions(values=np.array([1e6 + 50, 0.0])), True),
        (Predictions(values=np.array([1e6, 0.0])), Predictions(values=np.array([1e6, 1e-3])), False),
        (Predictions(values=np.array([1.0])), Predictions(values=np.array([np.nan])), False),
    ],
)
def test_a_conversion_is_accepted_only_when_it_agrees(ours: Predictions, theirs: Predictions, alike: bool) -> None:
    assert (difference(ours, theirs) is None) is alike


def test_golden_rows_tell_of_no_person() -> None:
    names = ["common"] * 200 + ["usual"] * 100 + [f"person {i}" for i in range(19)] + [None]
    frame = pl.DataFrame({"name": names, "income": [*map(float, range(319)), 1e9]})
    features = [
        Column(name="name", kind=ColumnKind.CATEGORICAL, nullable=True),
        Column(name="income", kind=ColumnKind.NUMERIC, integer=True),
    ]
    made = synthesise(frame, features, 1)
    assert set(made["name"].tolist()) == {"common", "usual", None}
    assert made["income"].max() < 319
    assert (made["income"] == np.round(made["income"])).all()
    assert frequent(np.array(["", *names[:-1]], dtype=object)) == ["", "common", "usual"]


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (StoreUnavailable("x"), "StorageUnreachable", 1),
        (StoreDenied("x"), "StorageDenied", 3),
        (ZeroDivisionError("x"), "InternalError", 1),
    ],
)
def test_exceptions_become_exit_codes(error: Exception, reason: str, code: int) -> None:
    summary, got = failure(error)
    assert (summary.reason, got) == (reason, code)


def test_a_termination_message_is_written_and_bounded(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/message"
    monkeypatch.setenv("STATIONKEEPER_TERMINATION_LOG", path)

    def work() -> tuple[None, int]:
        raise StoreUnavailable("ü" * 5000)

    assert run(work) == 1
    with open(path, "rb") as file:
        data = file.read()
    assert len(data) <= 4096
    assert b'"StorageUnreachable"' in data
