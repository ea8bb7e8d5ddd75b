"""Files that are counted column by column give what serving would have kept of the same rows, and the reference that training would."""

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.columns import ColumnError
from stationkeeper.workloads.drift import table
from stationkeeper.workloads.drift.bins import GRID_ROWS
from stationkeeper.workloads.drift.building import build_from
from stationkeeper.workloads.drift.counting import Counted, count_rows
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from stationkeeper.workloads.drift.rowdata import UNKNOWN, look, typed
from stationkeeper.workloads.drift.table import FrameTable, chosen, rows_at
from tests.unit.workloads.drift import helpers
from tests.unit.workloads.drift.test_conformance import COLUMNS, feature

ROWS = 3_000
REFERENCE = helpers.reference(2_000)
SIZES = [10**9, 700, 7]  # values that are read at once


def outputs() -> dict[str, np.ndarray]:
    return {name: np.asarray(values.tolist()) for name, values in helpers.predictions(ROWS, 5).items()}


def traffic() -> pl.DataFrame:
    return helpers.frame(helpers.columns(ROWS, 5)).with_columns(**{n: pl.Series(v) for n, v in outputs().items()})


def counted(rows: pl.DataFrame, reference: ReferenceProfile = REFERENCE) -> Counted:
    return count_rows(FrameTable(rows), reference)


@pytest.mark.parametrize("at_once", SIZES)
def test_counted_from_a_table_is_what_serving_counts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "AT_ONCE", at_once)
    rows = traffic()[:500]
    served = Profile.empty(REFERENCE)
    served.update(
        {name: values[:500] for name, values in helpers.columns(ROWS, 5).items()},
        {name: values[:500] for name, values in helpers.predictions(ROWS, 5).items()},
    )
    found = counted(rows).profile(served.fresh())
    assert found.rows == 500
    assert (found.vector == served.vector).all()


@pytest.mark.parametrize("at_once", SIZES)
@pytest.mark.parametrize("name", COLUMNS)
def test_whatever_a_column_is_parts_add_up_to_the_reference_and_the_counts_of_all_rows(
    name: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "AT_ONCE", at_once)
    rows = COLUMNS[name].alias("x").to_frame()[:1_000]
    whole = build_reference(rows, [feature(rows["x"])], {})
    assert build_from(FrameTable(rows), [feature(rows["x"])]) == whole
    other = rows.sample(fraction=1.0, shuffle=True, seed=3)
    seen, together = counted(other, whole).looked.seen["x"], look(typed(other, whole), whole, frozenset()).seen["x"]
    assert seen.counts.tolist() == together.counts.tolist()
    assert (seen.misread, seen.fractions, seen.varies) == (together.misread, together.fractions, together.varies)
    assert np.array_equal(seen.numbers.values, together.numbers.values)
    assert dict(seen.unknown) == dict(together.unknown)
    assert seen.varies or seen.value == together.value


@pytest.mark.parametrize("at_once", SIZES[:2])
def test_the_reference_of_parts_is_that_of_rows_in_memory_with_its_outputs_and_ordinary_stretches(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "AT_ONCE", at_once)
    rows, times = traffic(), np.random.default_rng(1).permutation(ROWS).astype("datetime64[h]")
    times[5] = np.datetime64("NaT")
    made = build_from(FrameTable(rows), helpers.FEATURES, list(outputs()), timestamps=times)
    answers = {
        name: np.asarray(values, dtype=values.dtype if values.dtype.kind == "f" else object) for name, values in outputs().items()
    }
    known = build_reference(rows, helpers.FEATURES, answers, timestamps=times, prediction_timestamps=times)
    assert known.variation
    assert made == known


def test_grids_are_chosen_by_the_same_rows_however_many_parts_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame({"x": np.random.default_rng(1).lognormal(size=3 * GRID_ROWS)})
    column = Column(name="x", kind=ColumnKind.NUMERIC)
    whole = build_reference(rows, [column], {})
    monkeypatch.setattr(table, "AT_ONCE", GRID_ROWS)
    assert build_from(FrameTable(rows), [column]) == whole


def test_what_cannot_be_read_is_named_with_the_reason_and_holds_up_nothing() -> None:
    rows = (
        traffic()
        .drop("temp")
        .with_columns(holiday=pl.Series(["true"] * (ROWS - 1) + ["perhaps"]), label=pl.lit(1), probability=pl.lit("?"))
    )
    found = counted(rows)
    assert found.looked.unread == {
        "temp": "column 'temp': is missing",
        "holiday": "column 'holiday': wants true or false, not str 'perhaps'",
    }
    assert found.wrong == {"probability": "column 'probability': wants numbers, and the data has String"}
    assert set(found.looked.seen) == {"distance", "carrier"}
    assert found.looked.rows == ROWS


def test_a_column_that_is_unreadable_in_its_last_part_counts_in_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "AT_ONCE", 100)
    rows = traffic().with_columns(holiday=pl.Series(["true"] * (ROWS - 1) + ["perhaps"]))
    found = counted(rows)
    assert set(found.looked.unread) == {"holiday"}
    assert "holiday" not in found.looked.seen


def test_words_beyond_count_are_other_words_and_the_frequent_ones_are_told() -> None:
    keys = pl.Series([f"key {i}" for i in range(30_000)] + ["often"] * 50 + ["AA"] * 20 + [None] * 7)
    rows = pl.DataFrame({"carrier": keys})
    reference = build_reference(helpers.frame(helpers.columns(500))[["carrier"]], [helpers.FEATURES[2]], {})
    seen = counted(rows, reference).looked.seen["carrier"]
    assert seen.counts.tolist() == np.bincount(reference.features[0].index(keys.to_numpy()), minlength=6).tolist()
    assert (next(iter(seen.unknown)), max(seen.unknown.values()), len(seen.unknown)) == ("often", 50, UNKNOWN)


def test_a_reference_without_rows_or_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        build_from(FrameTable(traffic()[:0]), helpers.FEATURES)
    with pytest.raises(ColumnError, match=r"carrier.*wants numbers"):
        build_from(FrameTable(traffic()), [Column(name="carrier", kind=ColumnKind.NUMERIC)])
    with pytest.raises(ColumnError, match=r"temp.*wants text"):
        build_from(FrameTable(traffic()), [Column(name="temp", kind=ColumnKind.CATEGORICAL)])


@pytest.mark.parametrize("at_once", SIZES)
def test_rows_are_found_by_their_numbers(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "AT_ONCE", at_once)
    rows = traffic()[:300]
    numbers = chosen(300, 40, 1)
    assert (len(numbers), sorted(set(numbers.tolist()))) == (40, numbers.tolist())
    found = rows_at(FrameTable(rows), ["carrier", "temp"], numbers)
    assert found.equals(rows[numbers].select("carrier", "temp"))
    assert rows_at(FrameTable(rows), ["temp"], chosen(0, 40, 1)).height == 0
    assert chosen(3, 40, 1).tolist() == [0, 1, 2]
