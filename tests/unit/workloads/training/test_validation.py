"""Rows that nobody should learn from: broken columns, labels that contradict all others, rows that are there twice."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from stationkeeper.api.data import Data
from stationkeeper.api.manifest import Manifest
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.training import schema
from stationkeeper.workloads.training.duplicates import check_duplicates, without_copies
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.poison import SCORE, TRUTH, Block, against, check_labels
from stationkeeper.workloads.training.reading import OBJECT, InputFile
from stationkeeper.workloads.training.validation import check_columns
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

PER_DAY = 600
FILES = [InputFile(Path(f"{n}.parquet"), "parquet", pod.DATA, f"{n}.parquet") for n in range(30)]


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> tuple[MemoryStore, Manifest]:
    """A champion that knows days 0 to 9."""
    store = MemoryStore()
    with threadpool_limits(1):
        summary = pod.train(tmp_path_factory.mktemp("first"), pod.rows(10, per_day=PER_DAY), store)
    return store, load_manifest(store, summary.digest or "")


def data(**changes: Any) -> Data:
    return Data.model_validate({"uri": pod.DATA, "target": "y", "timestamp": "at"} | changes)


def labelled(frame: pl.DataFrame, *, classifier: bool = True) -> pl.DataFrame:
    rows = schema.with_target(frame, "y", classifier=classifier)
    return rows.with_columns((pl.col("at").dt.ordinal_day() - 1).cast(pl.Int32).alias(OBJECT))


WORLD = pod.rows(20, per_day=PER_DAY, seed=3)
DAY = (pl.col("at") - pod.START).dt.total_days()


def since(day: int, value: pl.Expr, name: str) -> pl.DataFrame:
    return WORLD.with_columns(pl.when(day <= DAY).then(value).otherwise(pl.col(name)).alias(name))


def on(day: int, value: pl.Expr, name: str, frame: pl.DataFrame = WORLD) -> pl.DataFrame:
    return frame.with_columns(pl.when(day == DAY).then(value).otherwise(pl.col(name)).alias(name))


BROKEN = {
    "nothing comes any more": (
        since(14, pl.lit(None), "x"),
        "x missing in 62.2% of rows in the rows since 2013-01-10 09:59 UTC (completeness; expected at most 9.5%, which is the reference's",
    ),
    "another unit": (
        since(10, pl.col("x") * 1000, "x"),
        "x looks 1000 times the reference: metres for kilometres? in the rows since 2013-01-10 09:59 UTC (unit_change; expected around",
    ),
    "fractions where whole numbers were": (
        since(10, pl.col("count") + 0.5, "count"),
        "count fractions in 6000 of 6000 rows, for example",
    ),
    "one value only": (
        since(10, pl.lit("red"), "colour"),
        "colour 'red' in every row in the rows since 2013-01-10 09:59 UTC (constant_column; expected varying categories)",
    ),
    "text that is no number": (
        WORLD.with_columns(pl.when(DAY >= 15).then(pl.lit("n/a")).otherwise(pl.col("x").cast(pl.String)).alias("x")),
        "x text that is no number in 3000 of 6000 rows in the rows since 2013-01-10 09:59 UTC (data_type; expected numbers)",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_columns_are_refused_with_what_was_seen_and_expected(name: str, champion: tuple[MemoryStore, Manifest]) -> None:
    frame, says = BROKEN[name]
    with pytest.raises(AttemptEnded) as ended:
        check_columns(labelled(frame), data(), champion[1], champion[0])
    assert ended.value.reason == "BrokenColumn"
    assert says in ended.value.message
    assert ended.value.message.endswith("Mend it, or set data.validation.brokenColumns: Accept")


WORLD_MOVES = {
    "nothing": WORLD,
    "it became warmer": since(10, pl.col("x") + 1.5, "x"),
    "it varies more": since(10, pl.col("x") * 2.5, "x"),
    "an hour of a sensor's failure": WORLD.with_columns(
        pl.when((DAY == 15) & (pl.col("at").dt.hour() < 2)).then(None).otherwise("x").alias("x")
    ),
    "a new colour": since(10, pl.when(pl.col("colour") == "red").then(pl.lit("purple")).otherwise("colour"), "colour"),
    "red is rare now": since(
        10, pl.when((pl.col("colour") == "red") & (pl.col("x") > 0)).then(pl.lit("blue")).otherwise("colour"), "colour"
    ),
    "the base rate rises": since(10, pl.col("y") | (pl.col("x") > -1), "y"),
    "what was before is as broken as ever": since(0, pl.col("x"), "x"),
}


@pytest.mark.parametrize("name", WORLD_MOVES)
def test_what_the_world_does_is_learned(name: str, champion: tuple[MemoryStore, Manifest]) -> None:
    rows = labelled(WORLD_MOVES[name])
    sound = check_columns(rows, data(), champion[1], champion[0])
    assert (sound.rows.height, sound.notes) == (rows.height, [])
    assert check_labels(rows, data(), champion[1], champion[0], FILES, classifier=True) == []


BROKEN_DAYS = {
    "nothing came": (
        on(15, pl.lit(None), "count"),
        "600 rows of 2013-01-16 are left out, broken: count missing in 100.0% of rows in 2013-01-16 (completeness; expected at most",
    ),
    "another unit": (
        on(15, pl.col("x") / 100, "x"),
        "600 rows of 2013-01-16 are left out, broken: x looks a 100th of the reference: euros for cents? in 2013-01-16 (unit_change",
    ),
    "one value only": (
        on(15, pl.lit("red"), "colour"),
        "600 rows of 2013-01-16 are left out, broken: colour 'red' in every row in 2013-01-16 (constant_column",
    ),
    "two days of text": (
        WORLD.with_columns(pl.when(DAY.is_between(15, 16)).then(pl.lit("n/a")).otherwise(pl.col("x").cast(pl.String)).alias("x")),
        "1200 rows of 2013-01-16, 2013-01-17 are left out, broken: x missing in 100.0% of rows in 2013-01-16",
    ),
}


@pytest.mark.parametrize("name", BROKEN_DAYS)
def test_a_few_broken_days_are_left_out_and_named(name: str, champion: tuple[MemoryStore, Manifest]) -> None:
    frame, says = BROKEN_DAYS[name]
    rows = labelled(frame)
    sound = check_columns(rows, data(), champion[1], champion[0])
    assert says in sound.notes[0]
    assert sound.rows.height + sound.left_out == rows.height
    assert sound.rows.filter(DAY == 15).is_empty()
    assert sound.rows["x"].dtype == pl.Float64
    accepted = check_columns(rows, data(validation={"brokenColumns": "Accept"}), champion[1], champion[0])
    assert (accepted.rows.height, accepted.left_out) == (rows.height, 0)
    assert "accepted although it looks broken" in accepted.notes[0]


def test_a_class_that_comes_no_more_is_refused(champion: tuple[MemoryStore, Manifest]) -> None:
    with pytest.raises(
        AttemptEnded, match=r"y never is 'true' in 6000 rows .*baseline_drift; expected .*, as in the rows before"
    ):
        check_columns(labelled(since(10, pl.lit(value=False), "y")), data(), champion[1], champion[0])


def test_what_is_accepted_is_told(champion: tuple[MemoryStore, Manifest]) -> None:
    accepting = data(validation={"brokenColumns": "Accept", "poisonedLabels": "Accept"})
    (said,) = check_columns(labelled(BROKEN["another unit"][0]), accepting, champion[1], champion[0]).notes
    assert said.startswith("accepted although it looks broken beside what revision 1 learned: x looks 1000 times the reference")
    rows = labelled(on(15, ~pl.col("y"), "y"))
    said = check_labels(rows, accepting, champion[1], champion[0], FILES, classifier=True)[0]
    assert said.startswith(
        "accepted although labels contradict all others: the labels of 2013-01-16 (15.parquet) stand upside down"
    )


def test_features_that_are_not_learned_may_break(champion: tuple[MemoryStore, Manifest]) -> None:
    rows = labelled(BROKEN["another unit"][0])
    assert check_columns(rows, data(features=["count", "colour"]), champion[1], champion[0]).notes == []


@pytest.mark.parametrize(("first", "rows"), [(0, 20), (10, 100)])
def test_without_a_champion_or_without_new_rows_nothing_is_known(
    first: int, rows: int, champion: tuple[MemoryStore, Manifest]
) -> None:
    frame = labelled(BROKEN["another unit"][0].filter(first <= DAY).head(rows))
    assert check_columns(frame, data(), None if first == 0 else champion[1], champion[0]).notes == []


def agreeing(effect: float, seed: int, *, new: bool) -> Block:
    """A day of which the champion's answers know this much."""
    rng = np.random.default_rng(seed)
    truth = rng.random(700) < 0.3
    return Block(
        f"of day {seed}", pl.DataFrame({"y": truth, TRUTH: truth, SCORE: effect * truth + rng.normal(size=700)}), new=new
    )


@pytest.mark.parametrize("knows", [True, False])
def test_a_champion_that_knows_its_own_rows_by_heart_does_not_accuse_the_others(*, knows: bool) -> None:
    learned = [agreeing(1.2, day, new=False) for day in range(25)]
    others = [agreeing(effect, 30 + day, new=knows) for day, effect in enumerate((0.3, -0.05, 0.4, 0.35, 0.4, 0.3))]
    accused = [block.name for block, _ in against([*learned, *others], in_order=True)]
    assert accused == ([] if knows else ["of day 31"]), "with all days taken for alike the worst of the new ones stands out"


POISONED = {
    "turned round": (
        on(15, ~pl.col("y"), "y"),
        "the labels of 2013-01-16 (15.parquet) stand upside down: they agree with the serving revision by -0.",
    ),
    "turned round on the newest day": (
        on(19, ~pl.col("y"), "y"),
        "the labels of 2013-01-20 (19.parquet) stand upside down",
    ),
    "all the same": (
        on(15, pl.lit(value=False), "y"),
        "the labels of 2013-01-16 (15.parquet) are 'false' in 100.0% of 600 rows, and elsewhere in at most",
    ),
    "drawn from a hat, for two days": (
        on(12, pl.lit(pl.Series(np.random.default_rng(0).random(WORLD.height) < 0.5)), "y",
           on(13, pl.lit(pl.Series(np.random.default_rng(1).random(WORLD.height) < 0.5)), "y")),
        "the labels of 2013-01-13 (12.parquet) bear no relation to the inputs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", POISONED)
def test_labels_that_contradict_all_others_are_refused_by_day_and_object(
    name: str, champion: tuple[MemoryStore, Manifest]
) -> None:
    frame, says = POISONED[name]
    with pytest.raises(AttemptEnded) as ended:
        check_labels(labelled(frame), data(), champion[1], champion[0], FILES, classifier=True)
    assert ended.value.reason == "SuspectedPoisonedLabels"
    assert says in ended.value.message
    assert "data.validation.poisonedLabels: Accept" in ended.value.message


def test_an_object_that_lies_across_time_is_looked_at_by_itself(champion: tuple[MemoryStore, Manifest]) -> None:
    place = pl.int_range(pl.len()).mod(20).cast(pl.Int32)
    rows = labelled(WORLD).with_columns(place.alias(OBJECT))
    turned = pl.col("y").replace({"true": "false", "false": "true"})
    rows = rows.with_columns(pl.when(pl.col(OBJECT) == 7).then(turned).otherwise("y").alias("y"))
    with pytest.raises(AttemptEnded, match=r"^the labels in 7\.parquet under s3://lake/rows/ stand upside down"):
        check_labels(rows, data(), champion[1], champion[0], FILES, classifier=True)


def test_an_object_is_looked_at_where_rows_have_no_time(champion: tuple[MemoryStore, Manifest]) -> None:
    rows = labelled(on(15, ~pl.col("y"), "y")).drop("at")
    with pytest.raises(AttemptEnded, match=r"the labels in 15\.parquet under s3://lake/rows/ stand upside down"):
        check_labels(rows, data(timestamp=None), champion[1], champion[0], FILES, classifier=True)


LEARNED = {
    "the concept turned for good": since(13, ~pl.col("y"), "y"),
    "the concept has gone for good": since(18, pl.lit(pl.Series(np.random.default_rng(0).random(WORLD.height) < 0.5)), "y"),
    "every other day is odd": WORLD.with_columns(pl.when(DAY % 2 == 0).then("y").otherwise(~pl.col("y")).alias("y")),
    "few days": on(3, ~pl.col("y"), "y").filter(DAY < 8),
}


@pytest.mark.parametrize("name", LEARNED)
def test_what_many_rows_say_is_the_world(name: str, champion: tuple[MemoryStore, Manifest]) -> None:
    assert check_labels(labelled(LEARNED[name]), data(), champion[1], champion[0], FILES, classifier=True) == []


@pytest.mark.parametrize(("days", "learned"), [(1, False), (3, False), (5, True)])
def test_a_concept_that_turned_is_learned_when_five_days_in_a_row_say_so(
    days: int, learned: bool, champion: tuple[MemoryStore, Manifest]
) -> None:
    rows = labelled(pod.rows(60, per_day=200, seed=8, flip_from=60 - days)).with_columns(pl.lit(0, pl.Int32).alias(OBJECT))
    if learned:
        assert check_labels(rows, data(), champion[1], champion[0], FILES, classifier=True) == []
        return
    with pytest.raises(AttemptEnded, match=r"the labels of 2013-03-01 \(0.parquet\) stand upside down"):
        check_labels(
            rows.with_columns(pl.lit(0, pl.Int32).alias(OBJECT)), data(), champion[1], champion[0], FILES, classifier=True
        )


def test_days_of_one_rare_class_are_ordinary(champion: tuple[MemoryStore, Manifest]) -> None:
    rare = WORLD.with_columns(y=pl.Series(np.random.default_rng(0).random(WORLD.height) < 0.002))
    assert check_labels(labelled(rare), data(), None, champion[0], FILES, classifier=True) == []


def numbers() -> pl.DataFrame:
    noise = pl.Series(np.random.default_rng(5).normal(size=WORLD.height))
    return WORLD.with_columns(y=(pl.col("x").fill_null(0.0) * 2 + pl.col("count") + noise * 0.3 + 30))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (pl.col("y") * 100, "look 100 times all others: cents for euros? (around 32."),
        (64 - pl.col("y"), "stand upside down"),
    ],
)
def test_numbers_of_another_unit_or_sign(tmp_path: Path, change: pl.Expr, says: str) -> None:
    store, regressor = MemoryStore(), {"class": "sklearn.linear_model.Ridge"}
    summary = pod.train(tmp_path, numbers().filter(DAY < 10), store, estimator=regressor, gates=[{"metric": "r2", "min": 0.1}])
    manifest = load_manifest(store, summary.digest or "")
    clean = labelled(numbers(), classifier=False)
    assert check_labels(clean, data(), manifest, store, FILES, classifier=False) == []
    poisoned = labelled(on(15, change, "y", numbers()), classifier=False)
    with pytest.raises(AttemptEnded) as ended:
        check_labels(poisoned, data(), manifest, store, FILES, classifier=False)
    assert f"the labels of 2013-01-16 (15.parquet) {says}" in ended.value.message


def kinds(frame: pl.DataFrame) -> pl.DataFrame:
    x = pl.col("x").fill_null(0.0)
    return frame.with_columns(y=pl.when(x > 0.5).then(pl.lit("high")).when(x < -0.5).then(pl.lit("low")).otherwise(pl.lit("mid")))


def test_several_classes(tmp_path: Path) -> None:
    store = MemoryStore()
    summary = pod.train(tmp_path, kinds(WORLD).filter(DAY < 10), store, gates=[{"metric": "accuracy", "min": 0.5}])
    manifest = load_manifest(store, summary.digest or "")
    assert check_labels(labelled(kinds(WORLD)), data(), manifest, store, FILES, classifier=True) == []
    shuffled = pl.col("y").replace({"high": "low", "low": "mid", "mid": "high"})
    with pytest.raises(AttemptEnded, match="the labels of 2013-01-16"):
        check_labels(labelled(on(15, shuffled, "y", kinds(WORLD))), data(), manifest, store, FILES, classifier=True)


def test_an_attempt_ends_with_the_finding(tmp_path: Path, champion: tuple[MemoryStore, Manifest]) -> None:
    store = MemoryStore(dict(champion[0].objects))
    digest = next(key for key in store.objects if key.startswith("manifests/")).removeprefix("manifests/").removesuffix(".json")
    changes = {"episode": "e2", "revision": 2, "cause": "Schedule", "champion": {"number": 1, "digest": f"sha256:{digest}"}}
    summary = pod.train(tmp_path, BROKEN["another unit"][0], store, **changes)
    assert (summary.outcome, summary.reason) == (TrainingOutcome.INVALID_DATA, "BrokenColumn")


def test_a_broken_day_is_not_learned_and_the_outcome_says_so(tmp_path: Path, champion: tuple[MemoryStore, Manifest]) -> None:
    store = MemoryStore(dict(champion[0].objects))
    digest = next(key for key in store.objects if key.startswith("manifests/")).removeprefix("manifests/").removesuffix(".json")
    changes = {"episode": "e2", "revision": 2, "cause": "Schedule", "champion": {"number": 1, "digest": f"sha256:{digest}"}}
    summary = pod.train(tmp_path, on(12, pl.lit(None), "count"), store, **changes)
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    assert "600 rows of 2013-01-13 are left out, broken: count missing in 100.0% of rows in 2013-01-13" in summary.message
    learned = load_manifest(store, summary.digest or "").data
    assert (learned.rows, learned.broken) == (11_400, 600)


def test_repeated_and_contradicting_rows_are_counted() -> None:
    frame = pod.rows(10).drop_nulls("x")
    rows = labelled(pl.concat([frame, frame[:20], frame[30:35].with_columns(y=~pl.col("y"))]))
    found = check_duplicates(rows, data(), classifier=True)
    assert (found.rows, found.duplicates, found.conflicting) == (rows.height, 20, 10)
    assert found.notes[0].startswith(f"20 of {rows.height} rows (")
    with pytest.raises(AttemptEnded) as ended:
        check_duplicates(rows, data(validation={"maxDuplicateShare": 0.05}), classifier=True)
    assert ended.value.reason == "DuplicateRows"
    assert check_duplicates(rows, data(validation={"maxDuplicateShare": 0.2}), classifier=True) == found


def copies(change: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]) -> int:
    frame = labelled(pod.rows(40))
    train, holdout = frame[:640], frame[640:]
    kept, dropped = without_copies(change(train, holdout), holdout, ["x", "count", "colour", "member"], "y")
    assert kept.height + dropped == change(train, holdout).height
    return dropped


def test_a_row_that_judges_is_not_learned_at_another_time_too() -> None:
    def loaded_again(train: pl.DataFrame, holdout: pl.DataFrame) -> pl.DataFrame:
        old = holdout.with_columns(at=pl.col("at") - timedelta(days=20))
        return pl.concat([train, old]).sort("at")

    assert copies(loaded_again) >= 160


def test_rows_that_are_alike_by_coincidence_stay() -> None:
    assert copies(lambda train, _: train) == 0
    few = labelled(pod.rows(40))
    assert without_copies(few[:640], few[640:], ["count", "colour", "member"], "y")[1] == 0
