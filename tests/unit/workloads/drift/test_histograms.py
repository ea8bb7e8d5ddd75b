"""What people see of a column: readable borders, the shape of the reference, what is missing or new last."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.api.report import MAX_BARS, Histogram
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.drift.histograms import histogram
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.drift.verdict import judge
from tests.unit.workloads.drift import helpers

RNG = np.random.default_rng(8)


def shown(reference: Any, current: Any) -> Histogram:
    frames = [pl.DataFrame({"x": pl.Series(list(values))}) for values in (reference, current)]
    kind = ColumnKind.NUMERIC if frames[0]["x"].dtype.is_numeric() else ColumnKind.CATEGORICAL
    features = [Column(name="x", kind=kind)]
    profile = Profile.empty(build_reference(frames[0], features, {}))
    profile.update(from_frame(frames[1], features), {})
    return histogram(profile, "features", profile.layout.reference.features[0])


CASES: list[tuple[str, Any, Any, list[str]]] = [
    ("whole numbers", [0, 1, 2] * 100, [1, 1, 1], ["0", "1", "2"]),
    ("years", [1990, 2013] * 100, [1990, 2013], ["1990", "2013"]),
    ("a zero and the rest", [0.0] * 900 + np.linspace(1, 2, 10).tolist(), [0.0], ["0", "1 to 2"]),
    ("a constant", [3.5] * 50, [3.5], ["3.5"]),
    ("below and above", [5.0] * 50, [1.0, 5.0, 9.0, None], ["< 5", "5", "> 5", "missing"]),
    ("all missing", [None, float("nan")], [None, 1.0], ["any value", "missing"]),
    ("infinities alone", [float("inf"), float("-inf")] * 9, [1.0], ["any value"]),
    ("words", ["a", "b", "a"] * 50, ["a", "z", None], ["a", "b", "unseen", "missing"]),
    ("rare words are not named", ["a"] * 50 + ["b"], ["a"], ["a", "other or unseen"]),
]


@pytest.mark.parametrize(("reference", "current", "bins"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_labels(reference: Any, current: Any, bins: list[str]) -> None:
    found = shown(reference, current)
    assert found.bins == bins
    assert sum(found.reference) == pytest.approx(1, abs=1e-4)
    assert sum(found.current) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=20_000),
        RNG.lognormal(20, 3, 20_000),
        RNG.normal(size=20_000) * 1e307,
        RNG.integers(0, 1_440, 20_000) * 1.0,
    ],
    ids=["normal", "heavy tail", "extreme", "minutes"],
)
def test_no_more_bars_than_can_be_read_none_of_which_holds_much(values: Any) -> None:
    found = shown(values, [*values[:50], np.nan, np.max(values) * 1.5])
    assert 12 <= len(found.bins) <= MAX_BARS
    assert len(set(found.bins)) == len(found.bins)
    assert max(found.reference) < 0.15
    assert found.bins[-2].startswith("> ")
    assert found.bins[-1] == "missing"


def test_a_bell_looks_like_one() -> None:
    found = shown(RNG.normal(size=100_000), [0.0])
    borders = np.array([[float(end) for end in label.split(" to ")] for label in found.bins])
    density = found.reference / (borders[:, 1] - borders[:, 0])
    assert density[len(density) // 2] > 4 * max(density[0], density[-1])


def test_of_many_words_the_most_frequent_of_either_sample_are_named() -> None:
    reference = [f"w{i:03}" for i in range(60) for _ in range(100 - i)]
    found = shown(reference, ["w059"] * 90 + ["w000"] * 10)
    assert len(found.bins) <= MAX_BARS
    assert {"w000", "w019", "w059", "39 more"} <= set(found.bins)
    assert found.current[found.bins.index("w059")] == 0.9


def test_every_compared_column_is_in_the_findings() -> None:
    made = helpers.profile(helpers.reference(2_000), 600)
    spec = helpers.policy(features={"columns": [{"name": "temp", "ignore": True}]})
    assert [(h.group, h.name) for h in judge(made, spec).histograms] == [
        *(("features", name) for name in ("distance", "carrier", "holiday")),
        *(("predictions", name) for name in ("label", "probability")),
    ]
