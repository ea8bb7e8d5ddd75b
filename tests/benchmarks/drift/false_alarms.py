"""How often a healthy model is called drifted, and how small a drift is found: `python -m tests.benchmarks.drift.false_alarms`.

A window is drawn as counts from the true shares of the reference's bins, so that a window of a million rows costs no more than
one of 200. References are samples themselves: the rates are over references and windows. What is not drawn independently, days and
weather, is in `traffic`.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import polars as pl
from scipy import stats

from stationkeeper.api.driftpolicy import DistributionCheck, Test
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.drift import grid
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import NumericReference, ReferenceProfile, build_reference
from tests.benchmarks.drift.alarms import ALPHA, Array, Generator, alarms
from tests.benchmarks.drift.curves import Panel, drawn
from tests.benchmarks.drift.traffic import SCENARIOS, rates

SIZES: Final = (200, 500, 2_000, 10_000, 100_000, 1_000_000)
POWER_SIZES: Final = (500, 5_000, 50_000)
HOURS: Final = (1, 6, 24, 168)
REFERENCE_ROWS: Final = 20_000
POWER_REFERENCE_ROWS: Final = 100_000
REFERENCES: Final = 40
TESTS: Final[tuple[Test, ...]] = get_args(Test)
DEPENDENT_TESTS: Final[tuple[Test, ...]] = ("PSI", "KolmogorovSmirnov")


@dataclass(frozen=True)
class Numbers:
    """A numeric column, by its inverse distribution function and `below`: the share of values less than x."""

    inverse: Callable[[Array], Array]
    below: Callable[[Array], Array]
    missing: float = 0.0

    def draw(self, rng: Generator, rows: int) -> Array:
        """Values, NaN for missing."""
        return np.where(rng.random(rows) < self.missing, np.nan, self.inverse(rng.random(rows)))

    def shares(self, column: Any) -> Array:
        """The true share of each bin of a reference."""
        assert isinstance(column, NumericReference)
        z = grid.borders(np.array([*column.edges, column.top + 1]))
        z = z * np.where(z < 0, 1 - 1e-9, 1.0)  # on the left a cell ends with its upper border, on the right before it
        x = column.center + column.scale * z
        x = np.where((z > 0) & (x <= column.center), np.nextafter(column.center, np.inf), x)  # so near that adding rounds it away
        below = self.below(x)
        return np.append(np.diff(below, prepend=0.0, append=1.0) * (1 - self.missing), self.missing)


@dataclass(frozen=True)
class Words:
    """A categorical column, by the share of each word."""

    of: tuple[float, ...]

    def draw(self, rng: Generator, rows: int) -> Array:
        """Words."""
        return rng.choice([f"w{i}" for i in range(len(self.of))], rows, p=self.of).astype(object)

    def shares(self, column: Any) -> Array:
        """The true share of each bin of a reference."""
        p = np.array(self.of)
        named = [float(p[int(name[1:])]) for name in column.categories]
        return np.array([*named, max(1.0 - sum(named), 0.0), 0.0])


def _zipf(words: int) -> tuple[float, ...]:
    weights = 1 / np.arange(1, words + 1)
    return tuple((weights / weights.sum()).tolist())


COLUMNS: Final[dict[str, Numbers | Words]] = {
    "normal": Numbers(stats.norm.ppf, stats.norm.cdf),
    "lognormal": Numbers(stats.lognorm(1.5).ppf, stats.lognorm(1.5).cdf),
    "Cauchy": Numbers(stats.cauchy.ppf, stats.cauchy.cdf),
    "whole numbers": Numbers(stats.poisson(4).ppf, lambda x: stats.poisson(4).cdf(np.ceil(x) - 1)),
    "minutes": Numbers(lambda u: np.floor(u * 1_440), lambda x: np.clip(np.ceil(x) / 1_440, 0, 1)),
    "often zero": Numbers(lambda u: np.maximum(u - 0.7, 0.0), lambda x: np.where(x > 0, np.clip(x + 0.7, 0, 1), 0.0), 0.05),
    "rarely missing": Numbers(stats.norm.ppf, stats.norm.cdf, 0.001),
    "four words": Words((0.4, 0.3, 0.2, 0.1)),
    "a thousand words": Words(_zipf(1_000)),
    "rarely true": Words((0.99, 0.01)),
}


def reference(rng: Generator, columns: Mapping[str, Numbers | Words] = COLUMNS, rows: int = REFERENCE_ROWS) -> ReferenceProfile:
    """A reference of these columns, drawn."""
    kinds = {name: ColumnKind.NUMERIC if isinstance(c, Numbers) else ColumnKind.CATEGORICAL for name, c in columns.items()}
    frame = pl.DataFrame({name: pl.Series(column.draw(rng, rows).tolist()) for name, column in columns.items()})
    return build_reference(frame, [Column(name=name, kind=kind) for name, kind in kinds.items()], {})


def windows(
    rng: Generator, of: ReferenceProfile, rows: int, count: int, columns: Mapping[str, Numbers | Words] = COLUMNS
) -> Iterator[Profile]:
    """Windows of so many rows of these columns."""
    empty = Profile.empty(of)
    drawn = {c.name: rng.multinomial(rows, _whole(columns[c.name].shares(c)), count) for c in of.features}
    for i in range(count):
        window = empty.fresh()
        window.vector[0] = rows
        for name, counts in drawn.items():
            window.counts("features", name)[:] = counts[i]
        yield window


def _whole(shares: Array) -> Array:
    shares = np.clip(shares, 0.0, 1.0)
    return shares / shares.sum()


def alarm_rate(
    test: Test,
    rows: int,
    count: int,
    *,
    alpha: float = 0.01,
    effect: float | None = 0.0,
    references: int = REFERENCES,
    seed: int = 1,
) -> float:
    """The share of healthy windows with any breach; without a least effect unless one is asked for (None: the default)."""
    rng = np.random.default_rng((seed, rows))
    asked = DistributionCheck(test=test, min_effect=effect)
    each = -(-count // references)
    found = [alarms(w, asked, alpha) > 0 for _ in range(references) for w in windows(rng, reference(rng), rows, each)]
    return float(np.mean(found))


# ---- planted effects ----


@dataclass(frozen=True)
class Planted:
    """An effect in one column, and what its size means."""

    title: str
    size: str
    column: str
    plant: Callable[[Any, float], Numbers | Words]
    sizes: tuple[float, ...]


def _rise(column: Numbers, by: float) -> Numbers:
    return replace(column, below=lambda x: column.below(x - by))


def _spread(column: Numbers, by: float) -> Numbers:
    return replace(column, below=lambda x: column.below(x / (1 + by)))


def _lose(column: Numbers, by: float) -> Numbers:
    return replace(column, missing=column.missing + by)


def _swap(column: Words, by: float) -> Words:
    first, *middle, last = column.of
    return Words((first + by, *middle, last - by))


PLANTED: Final = (
    Planted("mean", "standard deviations", "normal", _rise, (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)),
    Planted("spread", "rise of the standard deviation", "normal", _spread, (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)),
    Planted("missing", "further share of rows without a value", "normal", _lose, (0.002, 0.005, 0.01, 0.02, 0.03, 0.05)),
    Planted("category", "share of rows that change from one word to another", "four words", _swap, (0.01, 0.02, 0.04, 0.06, 0.08, 0.1)),
)  # fmt: skip


def power(planted: Planted, size: float, rows: int, count: int, *, test: Test = "PSI", checks: int = 40, seed: int = 2) -> float:
    """How often an effect in one column among so many is found."""
    rng = np.random.default_rng((seed, rows))
    of = reference(rng, {planted.column: COLUMNS[planted.column]}, POWER_REFERENCE_ROWS)
    moved = {planted.column: planted.plant(COLUMNS[planted.column], size)}
    asked = DistributionCheck(test=test)
    found = [alarms(w, asked, others=2 * (checks - 1)) > 0 for w in windows(rng, of, rows, count, moved)]
    return float(np.mean(found))


# ---- the tables ----


def _row(*cells: object) -> None:
    print("| " + " | ".join(f"{cell:.2%}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True)


def _head(*cells: object) -> None:
    _row(*cells)
    _row(*("---" for _ in cells))


def _independent(count: int) -> None:
    print(f"\nWindows of independent rows with any alarm, of {count:,} for each figure (promised: at most {ALPHA:.2%})\n")
    _head("rows of the window", *(f"{rows:,}" for rows in SIZES))
    _row("PSI, policy as it is", *(alarm_rate("PSI", rows, count, effect=None) for rows in SIZES))
    for test in TESTS:
        many = {} if test == "PSI" else {"count": count // 5, "references": REFERENCES // 4}
        _row(f"{test}, no least effect", *(alarm_rate(test, rows, **{"count": count, **many}) for rows in SIZES))


def _dependent(runs: int) -> None:
    print(
        f"\nWindows of days and weather with any alarm among ten columns (promised: at most {ALPHA:.2%}), and drifts told in a month\n"
    )
    _head("traffic", "test", "window", "windows", "any alarm", "features drifted", "drifts a month")
    for scenario in SCENARIOS:
        for (test, hours), found in rates(scenario, [(t, h) for t in DEPENDENT_TESTS for h in HOURS], range(runs)).items():
            told = f"{found.windows:,}", found.any, found.drifted, f"{found.events:.3f}"
            _row(scenario.name, test, f"{hours} h", *told)


def _moved(runs: int) -> None:
    print("\nThe same traffic, all its values moved: windows in which the features have drifted\n")
    shifts = (0.5, 1.0, 2.0, 3.0)
    _head("traffic", "window", *(f"by {shift:g} sd" for shift in shifts))
    for scenario in SCENARIOS:
        found = [rates(scenario, [("PSI", hours) for hours in HOURS], range(runs), moved=shift) for shift in shifts]
        for hours in HOURS:
            _row(scenario.name, f"{hours} h", *(by["PSI", hours].drifted for by in found))


def _powers(count: int, picture: Path | None) -> None:
    print(f"\nDrifts that are found in one column among forty, of {count} windows for each figure\n")
    _head("effect in the column", "size", *(f"{rows:,} rows" for rows in POWER_SIZES))
    panels = []
    for planted in PLANTED:
        found = {rows: [power(planted, size, rows, count) for size in planted.sizes] for rows in POWER_SIZES}
        for i, size in enumerate(planted.sizes):
            _row(f"{planted.title}: {planted.size}", f"{size:g}", *(f"{line[i]:.0%}" for line in found.values()))
        lines = {f"{rows:,} rows": line for rows, line in found.items()}
        panels.append(Panel(planted.title, planted.size, planted.sizes, lines))
    if picture:
        picture.write_text(drawn(panels), encoding="utf-8")
        print(f"\n{picture}: {picture.stat().st_size:,} bytes")


def main() -> None:
    """Print all tables as Markdown, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["independent", "dependent", "moved", "power", []], help="without any: all")
    parser.add_argument("--windows", type=int, default=10_000, help="healthy windows for each figure")
    parser.add_argument("--runs", type=int, default=20, help="times sixty days of dependent traffic: 548 windows of four lengths")
    parser.add_argument("--picture", type=Path, help="where the curves of the power are written to, as SVG")
    asked = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "independent": lambda: _independent(asked.windows),
        "dependent": lambda: _dependent(asked.runs),
        "moved": lambda: _moved(max(asked.runs // 8, 1)),
        "power": lambda: _powers(max(asked.windows // 25, 20), asked.picture),
    }
    for name in asked.parts or parts:
        parts[name]()


if __name__ == "__main__":
    main()
