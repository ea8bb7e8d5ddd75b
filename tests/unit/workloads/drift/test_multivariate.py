"""All columns together: the promise of few false alarms, planted changes that no column shows alone, and odd data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.driftpolicy import MultivariateCheck
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.api.report import MultivariateResult
from stationkeeper.workloads.artifacts.columns import ColumnError
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.drift import domain
from stationkeeper.workloads.drift.encoding import MAX_COLUMNS, Encoding
from stationkeeper.workloads.drift.multivariate import Components, Samples, fit_components, judge_multivariate
from tests.unit.workloads.drift import helpers

BOTH = MultivariateCheck(tests=["DomainClassifier", "PCAReconstruction"])
ALPHA = 0.001
Columns = dict[str, Any]


def numbers(rows: int, seed: int, width: int = 6, *, bound: float = 0.8) -> Columns:
    """Columns of which each two neighbours go together with the correlation `bound`; all are standard normal."""
    z = np.random.default_rng(seed).normal(size=(rows, width))
    z[:, 1::2] = bound * z[:, ::2] + np.sqrt(1 - bound**2) * z[:, 1::2]
    return {f"x{i}": z[:, i] for i in range(width)}


def features(columns: Columns) -> list[Column]:
    kinds = {"f": ColumnKind.NUMERIC, "O": ColumnKind.CATEGORICAL}
    return [Column(name=name, kind=kinds[values.dtype.kind]) for name, values in columns.items()]


def components(columns: Columns, **more: Any) -> Components:
    frame = pl.DataFrame({n: pl.Series(v, dtype=pl.Float64 if v.dtype.kind == "f" else pl.String) for n, v in columns.items()})
    return fit_components(frame, features(columns), **more)


def judged(current: Columns, reference: Columns | None, pca: Components | None = None) -> dict[str, MultivariateResult]:
    found = judge_multivariate(Samples(current, reference, 1), BOTH, pca, ALPHA)
    return {result.test: result for result in found}


def verdicts(current: Columns, reference: Columns | None, pca: Components | None = None) -> tuple[str, str]:
    found = judged(current, reference, pca)
    return found["DomainClassifier"].verdict.value, found["PCAReconstruction"].verdict.value


REFERENCE = numbers(5_000, 0)
PCA = components(numbers(20_000, 1))


def unbound(rows: int) -> Columns:
    return numbers(rows, 3, bound=0.0)


def turned(rows: int) -> Columns:
    return numbers(rows, 3, bound=-0.8)


def moved(rows: int) -> Columns:
    return {name: values + 0.5 * (name == "x2") for name, values in numbers(rows, 3).items()}


def wider(rows: int) -> Columns:
    return {name: values * (2.0 if name == "x2" else 1.0) for name, values in numbers(rows, 3).items()}


def lost(rows: int) -> Columns:
    return {name: np.full(rows, np.nan) if name == "x2" else values for name, values in numbers(rows, 3).items()}


@pytest.mark.parametrize("rows", [500, 5_000])
@pytest.mark.parametrize(
    ("change", "expected", "telling"),
    [
        (lambda rows: numbers(rows, 3), ("Passed", "Passed"), set()),
        (unbound, ("Breached", "Breached"), {"x0", "x1", "x2", "x3", "x4", "x5"}),
        (turned, ("Breached", "Breached"), {"x0", "x1", "x2", "x3", "x4", "x5"}),
        (moved, ("Breached", "Breached"), {"x2", "x3"}),
        (wider, ("Breached", "Breached"), {"x2", "x3"}),
        (lost, ("Breached", "Breached"), {"x2"}),
    ],
    ids=["nothing", "columns go together no more", "they go against each other", "one moved", "one spread", "one was lost"],
)
def test_planted_changes(change: Callable[[int], Columns], expected: tuple[str, str], telling: set[str], rows: int) -> None:
    found = judged(change(rows), REFERENCE, PCA)
    assert (found["DomainClassifier"].verdict.value, found["PCAReconstruction"].verdict.value) == expected
    assert set(found["DomainClassifier"].columns) == telling


def test_the_result_says_by_how_much_and_by_which_columns() -> None:
    found = judged(moved(2_000), REFERENCE, PCA)["DomainClassifier"]
    assert found.message.startswith("a classifier tells the window from the reference with AUC 0.7")
    assert "mostly by x2, x3; over 0.5" in found.message
    assert (found.reference_rows, found.current_rows) == (5_000, 2_000)
    said = judged(unbound(2_000), REFERENCE, PCA)["PCAReconstruction"].message
    assert said.startswith("the error of the principal components is off the reference's by ")


def test_a_category_that_goes_with_other_values_than_before() -> None:
    def traffic(rows: int, seed: int, *, swapped: bool) -> Columns:
        data = helpers.columns(rows, seed)
        far = (data["carrier"] == "UA") | (data["carrier"] == "B6")
        return {"carrier": data["carrier"], "distance": np.where(far != swapped, 1.0, -1.0) + data["temp"] / 10}

    reference, pca = traffic(5_000, 1, swapped=False), components(traffic(20_000, 2, swapped=False))
    assert verdicts(traffic(1_000, 3, swapped=False), reference, pca) == ("Passed", "Passed")
    assert verdicts(traffic(1_000, 3, swapped=True), reference, pca) == ("Breached", "Breached")


# ---- the promise ----


@pytest.mark.parametrize(
    ("rows", "width", "make"),
    [
        ((300, 300), 2, lambda rng, shape: rng.normal(size=shape)),
        ((1_000, 300), 5, lambda rng, shape: rng.standard_t(2, size=shape)),
        ((500, 500), 24, lambda rng, shape: rng.normal(size=shape)),
        ((500, 300), 6, lambda rng, shape: (rng.random(shape) < 0.1).astype(float)),
        ((600, 300), 6, lambda rng, shape: rng.normal(size=shape) + 3 * rng.normal(size=(shape[0], 1))),
    ],
    ids=["two columns", "heavy tails", "many columns", "rare flags", "columns that go together"],
)
def test_samples_of_one_distribution_are_told_apart_as_rarely_as_promised(
    rows: tuple[int, int], width: int, make: Callable[[Any, tuple[int, int]], Any]
) -> None:
    runs, promise, (n, m) = 200, 0.05, rows
    rng = np.random.default_rng(width)
    alarms = 0
    for seed in range(runs):
        points = make(rng, (n + m, width))
        alarms += domain.separability(points[:n], points[n:], seed) > domain.noise(n, m, promise)
    assert alarms <= promise * runs + 3 * np.sqrt(promise * runs)


def test_the_reconstruction_error_of_healthy_windows_stays_within_its_bound() -> None:
    pca = components(numbers(1_000, 1, 12))  # few rows: components lie too near to those that they were fitted to
    check = MultivariateCheck(tests=["PCAReconstruction"])
    found = [judge_multivariate(Samples(numbers(5_000, seed, 12), None, 0), check, pca, 0.01)[0] for seed in range(2, 102)]
    assert sum(result.verdict != "Passed" for result in found) <= 4


def test_ordinary_stretches_of_the_reference_are_no_drift_but_what_none_of_them_showed_is() -> None:
    rows, times = 24_000, np.arange(24_000).astype("datetime64[m]")
    weather = np.repeat(np.random.default_rng(1).uniform(-1, 1, size=48), 500)

    def day(level: float, seed: int, bound: float = 0.8) -> Columns:
        data = numbers(500, seed, bound=bound)
        return data | {"x0": data["x0"] + level}

    history = numbers(rows, 2)
    history["x0"] += weather
    pca = components(history, timestamps=times)
    reference = {name: values[::5] for name, values in history.items()}
    assert [s.size for s in pca.stretches] == [500]
    assert verdicts(day(0.9, 5), reference, components(history)) == ("Breached", "Breached")
    assert verdicts(day(0.9, 5), reference, pca) == ("Passed", "Passed")
    assert verdicts(day(-0.7, 6), reference, pca) == ("Passed", "Passed")
    assert verdicts(day(0.0, 7, bound=-0.99), reference, pca) == ("Breached", "Breached")


def test_stretches_as_different_as_can_be_leave_nothing_to_find() -> None:
    rows = 24_000
    history = {"x0": np.repeat(np.arange(48.0), 500), "x1": np.random.default_rng(1).normal(size=rows)}
    pca = components(history, timestamps=np.arange(rows).astype("datetime64[m]"))
    found = judged({name: values[:500] for name, values in history.items()}, history, pca)["DomainClassifier"]
    assert (found.verdict.value, found.statistic) == ("InsufficientData", None)
    assert "as easily told" in found.message


# ---- odd data ----


@pytest.mark.parametrize(
    ("current", "reference", "says"),
    [
        (numbers(199, 1), REFERENCE, "199 of the window are too few"),
        (numbers(500, 1), numbers(50, 2), "50 rows of the reference"),
        (numbers(500, 1), None, "no rows of the reference are kept"),
        ({"x0": np.ones(500)}, {"x0": np.ones(500)}, "no column varies"),
        ({"x0": np.full(500, np.nan)}, {"x0": np.full(500, np.nan)}, "no column varies"),
        ({}, {}, "too few"),
    ],
    ids=["few rows", "a small reference", "no reference", "constant", "missing", "no column"],
)
def test_without_evidence_there_is_no_pass(current: Columns, reference: Columns | None, says: str) -> None:
    found = judged(current, reference)
    assert {result.verdict.value for result in found.values()} == {"InsufficientData"}
    assert says in found["DomainClassifier"].message


def test_infinities_extremes_missing_values_and_new_categories_are_values_like_others() -> None:
    data, rows = helpers.columns(2_000, 3), 2_000
    data["temp"][:5] = [np.inf, -np.inf, 1e308, -1e308, np.nan]
    data["carrier"][:3] = ["ZZ", None, ""]
    reference = helpers.columns(5_000, 4)
    assert verdicts(data, reference, components(reference)) == ("Passed", "Passed")
    assert Encoding.fit(reference).matrix(data).shape == (rows, Encoding.fit(reference).dimensions)
    assert np.isfinite(Encoding.fit(reference).matrix(data)).all()


def test_a_column_that_is_gone_withholds_the_components_only() -> None:
    current = {name: values for name, values in numbers(1_000, 3).items() if name != "x2"}
    reference = {name: REFERENCE[name] for name in current}
    found = judged(current, reference, PCA)
    assert found["DomainClassifier"].verdict == "Passed"
    assert (found["PCAReconstruction"].verdict, found["PCAReconstruction"].message) == (
        "InsufficientData",
        "the column x2 is missing",
    )


def test_the_same_rows_and_seed_give_the_same_figures() -> None:
    assert judged(moved(900), REFERENCE, PCA) == judged(moved(900), REFERENCE, PCA)


# ---- the file ----


def test_components_survive_the_file_and_hold_no_rare_value() -> None:
    data = helpers.columns(2_000, 3)
    data["carrier"][:5] = "person"
    data["temp"][7] = 12_345.0
    made = components(data)
    assert Components.decode(made.encode()) == made
    assert b"person" not in made.encode()
    assert b"12345" not in made.encode()


@pytest.mark.parametrize(
    "damage", [b"{", b"[]", PCA.encode()[:-2], PCA.encode().replace(b'"directions":[[', b'"directions":[[1,')]
)
def test_what_are_no_components_is_refused(damage: bytes) -> None:
    with pytest.raises(MalformedArtifact, match="components"):
        Components.decode(damage)


def test_what_cannot_be_fitted_is_refused() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0]})
    with pytest.raises(ValueError, match="timestamp"):
        fit_components(frame, [Column(name="x", kind=ColumnKind.NUMERIC)], timestamps=np.array(["2013-01-01"], "datetime64[D]"))
    with pytest.raises(ValueError, match="at least one row"):
        fit_components(frame[:0], [Column(name="x", kind=ColumnKind.NUMERIC)])
    with pytest.raises(ColumnError, match="y"):
        fit_components(frame, [Column(name="y", kind=ColumnKind.NUMERIC)])


def test_wide_tables_are_bounded() -> None:
    wide = {f"x{i}": np.random.default_rng(i).normal(size=300) for i in range(MAX_COLUMNS + 20)}
    assert Encoding.fit(wide).dimensions == MAX_COLUMNS


def test_the_auc_is_that_of_ranks_with_ties_counted_half() -> None:
    labels = np.array([False, False, True, True])
    assert [domain.auc(np.array(s, dtype=float), labels) for s in ([1, 2, 3, 4], [4, 3, 2, 1], [0, 0, 0, 0], [0, 1, 1, 2])] == [
        1.0,
        0.0,
        0.5,
        0.875,
    ]
