"""How often a healthy model is called drifted, and how small a drift is found: `python -m tests.benchmarks.drift.false_alarms`.

A window is drawn as counts from the true shares of the reference's bins, so that a window of a million rows costs no more than
one of 200. References are samples themselves: the rates are over references and windows.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
import polars as pl
from scipy import stats

from stationkeeper.api.driftpolicy import DistributionCheck, Test
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.api.status import Verdict
from stationkeeper.workloads.drift import grid
from stationkeeper.workloads.drift.columns import Check, judge_columns
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import NumericReference, ReferenceProfile, build_reference
from stationkeeper.workloads.drift.statistics import MEASURES

SIZES: Final = (200, 500, 2_000, 10_000, 100_000, 1_000_000)
REFERENCE_ROWS: Final = 20_000
REFERENCES: Final = 40
TESTS: Final[tuple[Test, ...]] = get_args(Test)

Array = np.ndarray[Any, Any]
Generator = np.random.Generator


@dataclass(frozen=True)
class Numbers:
    """A numeric column, by its inverse distribution function and `below`: the share of values less than x."""

    inverse: Callable[[Array], Array]
    below: Callable[[Array], Array]
    missing: float = 0.0

    def draw(self, rng: Generator, rows: int) -> Array:
        """Values, NaN for missing."""
        return np.where(rng.random(rows) < self.missing, np.nan, self.inverse(rng.random(rows)))

    def shares(self, column: Any, shift: float = 0.0) -> Array:
        """The true share of each bin of a reference, when all values rise by `shift`."""
        assert isinstance(column, NumericReference)
        z = grid.borders(np.array([*column.edges, column.top + 1]))
        z = z * np.where(z < 0, 1 - 1e-9, 1.0)  # on the left a cell ends with its upper border, on the right before it
        x = column.center + column.scale * z
        x = np.where((z > 0) & (x <= column.center), np.nextafter(column.center, np.inf), x)  # so near that adding rounds it away
        below = self.below(x - shift)
        return np.append(np.diff(below, prepend=0.0, append=1.0) * (1 - self.missing), self.missing)


@dataclass(frozen=True)
class Words:
    """A categorical column, by the share of each word."""

    of: tuple[float, ...]

    def draw(self, rng: Generator, rows: int) -> Array:
        """Words."""
        return rng.choice([f"w{i}" for i in range(len(self.of))], rows, p=self.of).astype(object)

    def shares(self, column: Any, shift: float = 0.0) -> Array:
        """The true share of each bin of a reference, when `shift` of the rows of the last word become the first."""
        p = np.array(self.of)
        p[0], p[-1] = p[0] + shift * p[-1], p[-1] * (1 - shift)
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


def reference(rng: Generator, columns: dict[str, Numbers | Words] = COLUMNS, rows: int = REFERENCE_ROWS) -> ReferenceProfile:
    """A reference of these columns, drawn."""
    kinds = {name: ColumnKind.NUMERIC if isinstance(c, Numbers) else ColumnKind.CATEGORICAL for name, c in columns.items()}
    frame = pl.DataFrame({name: pl.Series(column.draw(rng, rows).tolist()) for name, column in columns.items()})
    return build_reference(frame, [Column(name=name, kind=kind) for name, kind in kinds.items()], {})


def windows(
    rng: Generator, of: ReferenceProfile, rows: int, count: int, shift: float = 0.0, columns: dict[str, Numbers | Words] = COLUMNS
) -> Iterator[Profile]:
    """Healthy windows of so many rows, or with every column shifted."""
    empty = Profile.empty(of)
    drawn = {c.name: rng.multinomial(rows, _whole(columns[c.name].shares(c, shift)), count) for c in of.features}
    for i in range(count):
        window = empty.fresh()
        window.vector[0] = rows
        for name, counts in drawn.items():
            window.counts("features", name)[:] = counts[i]
        yield window


def _whole(shares: Array) -> Array:
    shares = np.clip(shares, 0.0, 1.0)
    return shares / shares.sum()


def alarms(window: Profile, asked: DistributionCheck, alpha: float, others: int = 0) -> int:
    """Distributions of features that breach; completeness shares `alpha` with them, as it does in a policy."""
    features = window.layout.reference.features
    checks = [Check("features", column, asked) for column in features]
    results = judge_columns(window, checks, alpha, len(features) + others, {})
    return sum(result.verdict is Verdict.BREACHED for result in results)


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


def power(
    test: Test, name: str, rows: int, shift: float, count: int, alpha: float = 0.01, checks: int = 40, seed: int = 2
) -> float:
    """How often a shift of one column among `checks` healthy ones is found."""
    rng = np.random.default_rng((seed, rows))
    of = reference(rng, {name: COLUMNS[name]})
    asked = DistributionCheck(test=test)
    return float(np.mean([alarms(w, asked, alpha, 2 * checks) > 0 for w in windows(rng, of, rows, count, shift)]))


# ---- traffic that is not drawn independently ----


def daily(rng: Generator, days: int, rows_a_day: int, columns: int, level: float = 0.0) -> dict[str, Array]:
    """Traffic of whole days: each column has a daily cycle, weather that stays for days, and noise; and `at`, in minutes."""
    minute = np.sort(rng.integers(0, days * 1_440, days * rows_a_day))
    found = {"at": minute.astype("datetime64[m]")}
    for i in range(columns):
        weather = np.zeros(days)
        for day in range(1, days):
            weather[day] = 0.7 * weather[day - 1] + rng.normal(0, 0.4)
        cycle = 0.5 * np.sin(2 * np.pi * (minute / 1_440 + i / columns))
        found[f"x{i}"] = level + cycle + weather[minute // 1_440] + rng.normal(size=minute.size)
    return found


def daily_alarm_rate(
    hours: int, *, columns: int = 10, days: int = 60, runs: int = 20, test: Test = "PSI", level: float = 0.0
) -> float:
    """The share of windows of healthy daily traffic (500 rows an hour) with any breach, against the weeks before."""
    found = []
    for run in range(runs):
        rng = np.random.default_rng((3, run))
        traffic = daily(rng, 2 * days, 24 * 500, columns)
        half = days * 24 * 500
        names = [name for name in traffic if name != "at"]
        frame = pl.DataFrame({name: traffic[name][:half] for name in names})
        of = build_reference(
            frame, [Column(name=name, kind=ColumnKind.NUMERIC) for name in names], {}, timestamps=traffic["at"][:half]
        )
        found += list(_judged(of, traffic, names, half, hours * 500, test, level))
    return float(np.mean(found))


def _judged(
    of: ReferenceProfile, traffic: dict[str, Array], names: Sequence[str], start: int, rows: int, test: Test, level: float
) -> Iterator[bool]:
    empty, asked = Profile.empty(of), DistributionCheck(test=test, min_effect=0.0)
    for at in range(start, len(traffic["at"]) - rows + 1, rows):
        window = empty.fresh()
        window.update({name: traffic[name][at : at + rows] + level for name in names}, {})
        yield alarms(window, asked, 0.01) > 0


# ---- the tables ----


def _row(*cells: object) -> None:
    print("| " + " | ".join(f"{cell:.2%}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True)


def _head(*cells: object) -> None:
    _row(*cells)
    _row(*("---" for _ in cells))


def _alarm_table(count: int) -> None:
    print(f"\nHealthy windows with any alarm, of {count} for each figure (promised: at most 1.00%)\n")
    _head("rows of the window", *(f"{rows:,}" for rows in SIZES))
    _row("PSI, policy as it is", *(alarm_rate("PSI", rows, count, effect=None) for rows in SIZES))
    for test in TESTS:
        many = {} if test == "PSI" else {"count": count // 5, "references": REFERENCES // 4}
        _row(f"{test}, no least effect", *(alarm_rate(test, rows, **{"count": count, **many}) for rows in SIZES))


def _power_table(count: int) -> None:
    print("\nDrifts that are found in one column among forty, by rows of the window\n")
    _head("test", "column", "shift", *(f"{rows:,}" for rows in SIZES))
    for test in TESTS:
        name = "normal" if "numeric" in MEASURES[test].kinds else "four words"
        for shift in (0.1, 0.2, 0.3, 0.5, 1.0):
            _row(test, name, shift, *(power(test, name, rows, shift, count) for rows in SIZES))


def _daily_table(runs: int) -> None:
    print("\nDaily traffic with weather: windows with any alarm of ten columns, healthy and shifted by two standard deviations\n")
    _head("test", "window", "healthy", "shifted")
    for test in ("PSI", "KolmogorovSmirnov"):
        for hours in (1, 6, 24):
            shifted = daily_alarm_rate(hours, runs=max(runs // 5, 1), test=test, level=2.0)
            _row(test, f"{hours} h", daily_alarm_rate(hours, runs=runs, test=test), shifted)


def main() -> None:
    """Print all tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=10_000, help="healthy windows for each figure")
    parser.add_argument("--runs", type=int, default=20, help="half years of daily traffic")
    asked = parser.parse_args()
    _alarm_table(asked.windows)
    _power_table(max(asked.windows // 50, 20))
    _daily_table(asked.runs)


if __name__ == "__main__":
    main()
