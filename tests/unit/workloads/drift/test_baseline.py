"""Baselines: the same bins with the counts of other rows, and which traffic they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from stationkeeper.api.driftpolicy import Baseline
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.columns import ColumnError
from stationkeeper.workloads.drift.baseline import Recounted, against, choose, from_captured, rebased
from stationkeeper.workloads.drift.collect import Collector, UnreadableProfiles
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.verdict import judge
from stationkeeper.workloads.drift.windows import Window
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.drift import helpers

REFERENCE = helpers.reference()
DIGEST = "sha256:" + "d" * 64
NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STRICT = helpers.policy(features={"maxDriftedShare": 0.2})


def moved(rows: int, seed: int, shift: float = 1.5) -> Profile:
    return helpers.profile(REFERENCE, rows, seed, shift=shift)


# ---- counts ----


def test_traffic_like_the_baseline_has_not_drifted_and_traffic_like_the_training_has() -> None:
    baseline = rebased(REFERENCE, moved(5_000, 1))
    assert judge(moved(1_000, 2), STRICT).features.verdict == "Breached"
    assert judge(against(moved(1_000, 2), baseline), STRICT).features.verdict == "Passed"
    assert judge(against(moved(1_000, 2, shift=0.0), baseline), STRICT).features.verdict == "Breached"


def test_a_baseline_beyond_the_range_of_the_training_is_nothing_new() -> None:
    beyond = rebased(REFERENCE, moved(5_000, 1, shift=4.0))
    column = beyond.features[0]
    assert isinstance(column, Recounted)
    assert column.above > 2_000
    strict = helpers.policy(schema={"maxOutOfRangeShare": 0.01})
    assert [v.type for v in judge(moved(1_000, 2, shift=4.0), strict).violations] == ["out_of_range"]
    assert judge(against(moved(1_000, 2, shift=4.0), beyond), strict).violations == []


def test_the_counts_are_those_of_the_baseline_and_the_bins_those_of_the_reference() -> None:
    counts = moved(5_000, 1)
    baseline = rebased(REFERENCE, counts)
    assert (baseline.rows, baseline.prediction_rows, baseline.variation) == (5_000, 5_000, REFERENCE.variation)
    for group, column in Profile.empty(baseline).layout.columns:
        assert column.vector.tolist() == counts.counts(group, column.name).tolist()
        values = helpers.columns(100, 5) | helpers.predictions(100, 5)
        own = next(c for c in [*REFERENCE.features, *REFERENCE.predictions] if c.name == column.name)
        assert column.index(values[column.name]).tolist() == own.index(values[column.name]).tolist()
    assert baseline.digest != REFERENCE.digest


def test_other_bins_and_no_rows_are_refused() -> None:
    other = helpers.reference(5_000, 1)
    with pytest.raises(ValueError, match="another reference"):
        rebased(other, moved(1_000, 1))
    with pytest.raises(ValueError, match="at least one row"):
        rebased(REFERENCE, Profile.empty(REFERENCE))
    with pytest.raises(ValueError, match="other bins"):
        against(helpers.profile(other, 100), rebased(REFERENCE, moved(1_000, 1)))


# ---- which traffic ----


def stored(*slots: tuple[int, int]) -> MemoryStore:
    """A store with profiles of so many rows, by minutes after noon."""
    store = MemoryStore()
    for number, (minute, rows) in enumerate(slots):
        data = helpers.profile(REFERENCE, rows, number).encode()
        store.put(keys.profile(DIGEST, NOON + timedelta(minutes=minute), f"pod-{number}", 0), data)
    return store


def chosen(store: MemoryStore, asked: dict[str, Any], now: datetime = NOON + 6 * HOUR) -> tuple[int, str, str]:
    found = choose(Collector(store, DIGEST, REFERENCE), Baseline.model_validate(asked), NOON, now)
    return found.profile.rows, f"{found.stretch.start:%H:%M}-{found.stretch.end:%H:%M}", found.lacking


HOURS = {"window": {"start": "2013-04-01T12:00:00Z", "end": "2013-04-01T14:00:00Z"}}
CASES: list[tuple[str, MemoryStore, dict[str, Any], tuple[int, str, str]]] = [
    ("a stretch of traffic", stored((0, 400), (119, 300), (120, 200)), HOURS, (700, "12:00-14:00", "")),
    ("a stretch with little traffic", stored((0, 100)), HOURS, (100, "12:00-14:00", "the baseline holds 100 of the 500 rows that it needs")),
    ("a stretch without any", stored((120, 900)), HOURS, (0, "12:00-14:00", "the baseline holds 0 of the 500 rows that it needs")),
    ("the first rows", stored((0, 400), (60, 300), (90, 200)), {"firstRows": 600}, (700, "12:00-13:30", "")),
    ("all replicas of a flush interval", stored((0, 400), (60, 300), (60, 50), (90, 200)), {"firstRows": 600}, (750, "12:00-13:30", "")),
    ("first rows that just suffice", stored((0, 600)), {"firstRows": 600}, (600, "12:00-18:00", "")),
    ("first rows still to come", stored((0, 400)), {"firstRows": 600}, (400, "12:00-18:00", "the baseline holds 400 of the 600 rows that it needs")),
    ("traffic before the revision", stored((-30, 900), (0, 400)), {"firstRows": 600}, (400, "12:00-18:00", "the baseline holds 400 of the 600 rows that it needs")),
]  # fmt: skip


@pytest.mark.parametrize(("store", "asked", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_which_traffic_a_policy_compares_with(store: MemoryStore, asked: dict[str, Any], expected: tuple[int, str, str]) -> None:
    assert chosen(store, asked) == expected


def test_a_baseline_that_is_not_over_is_waited_for() -> None:
    found = chosen(stored((0, 900)), HOURS, NOON + HOUR)
    assert found[2] == "the baseline ends only at 2013-04-01T14:00:00Z"


def test_windows_that_are_part_of_the_baseline_are_not_compared_with_it() -> None:
    asked = Baseline.model_validate(HOURS)
    found = choose(Collector(stored((0, 900)), DIGEST, REFERENCE), asked, NOON, NOON + 6 * HOUR)
    covered = [found.covers(Window(NOON + hour * HOUR, NOON + (hour + 1) * HOUR)) for hour in range(-1, 4)]
    assert covered == [False, True, True, False, False]


def test_a_damaged_profile_of_the_baseline_is_named() -> None:
    store = stored((0, 400), (60, 300))
    key = keys.profile(DIGEST, NOON + HOUR, "pod-1", 0)
    store.objects[key] = store.objects[key][:-1]
    with pytest.raises(UnreadableProfiles, match="1 of 1 profiles cannot be read: s3://test/model/profiles"):
        chosen(store, {"firstRows": 600})


# ---- models without a reference ----


def captured(rows: int, seed: int = 1) -> pl.DataFrame:
    inputs = helpers.frame(helpers.columns(rows, seed)).rename(lambda name: f"input.{name}")
    answered = helpers.predictions(rows, seed)
    answers = {
        "output.probability": pl.Series(answered["probability"]),
        "output.label": pl.Series([str(label) for label in answered["label"]]),
    }
    arrived = pl.Series("arrived_at", [NOON + timedelta(seconds=second) for second in range(rows)])
    return inputs.with_columns(**answers).with_columns(arrived)


def test_the_first_captured_rows_become_the_reference_of_a_model_without_one() -> None:
    made = from_captured(captured(5_000), helpers.FEATURES)
    assert [c.name for c in made.features] == ["temp", "distance", "carrier", "holiday"]
    assert {c.name: c.kind for c in made.predictions} == {"label": "categorical", "probability": "numeric"}
    assert [v.size for v in made.variation] == [125, 250, 500, 1_000]
    healthy = Profile.empty(made)
    healthy.update(helpers.columns(1_000, 3), helpers.predictions(1_000, 3))
    assert judge(healthy, helpers.policy()).verdict == "Passed"


def test_captured_rows_that_lack_a_feature_are_refused_by_name() -> None:
    with pytest.raises(ColumnError, match="temp"):
        from_captured(captured(100).drop("input.temp"), helpers.FEATURES)
