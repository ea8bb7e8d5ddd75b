"""How often a healthy model is called drifted, and how small a drift is found: `python -m tests.benchmarks.drift.false_alarms`.

References are samples themselves: the rates are over references and windows. Rows that are drawn independently are in `population`,
days and weather in `traffic`.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from stationkeeper.api.driftpolicy import DistributionCheck, Test
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.statistics import MEASURES
from tests.benchmarks.drift.alarms import ALPHA, Generator, Rate, Share, alarms, drifts, policy
from tests.benchmarks.drift.batch import Batch
from tests.benchmarks.drift.curves import Panel, pictured
from tests.benchmarks.drift.population import ANSWERS, COLUMNS, REFERENCE_ROWS, Numbers, Words, drawn, reference, rowwise
from tests.benchmarks.drift.segmented import segmented
from tests.benchmarks.drift.traffic import SCENARIOS, Rates, Traffic, rates

SIZES: Final = (200, 500, 2_000, 10_000, 100_000, 1_000_000)
ROWWISE: Final = (200, 2_000)  # rows of windows that are drawn row by row, to see that counts tell the same
POWER_SIZES: Final = (500, 5_000, 50_000)
HOURS: Final = (1, 6, 24, 168)
POWER_REFERENCE_ROWS: Final = 100_000
REFERENCES: Final = 500
TESTS: Final[tuple[Test, ...]] = get_args(Test)
DEPENDENT_TESTS: Final[tuple[Test, ...]] = ("PSI", "KolmogorovSmirnov")


Draw = Callable[[Generator, ReferenceProfile, int, int], Batch]


def batches(rows: int, count: int, *, references: int = REFERENCES, draw: Draw = drawn, seed: int = 1) -> list[Batch]:
    """So many healthy windows of so many rows, shared among references that are samples themselves."""
    rng, each = np.random.default_rng((seed, rows)), -(-count // references)
    return [draw(rng, reference(rng, answers=ANSWERS), rows, each) for _ in range(references)]


def alarm_rate(of: Sequence[Batch], test: Test = "PSI", *, alpha: float = ALPHA, least: bool = True) -> Share:
    """The share of windows with any alarm; `least` is whether a difference must be worth one."""
    found = [window.alarm for batch in of for window in batch.said(policy(test, alpha, least=least))]
    return Share(sum(found), len(found), _resemblance(of[0].rows, len(found) / len(of)))


def _resemblance(rows: int, windows: float) -> float:
    """How much less so many windows of one reference tell than as many of references of their own.

    Of the noise in a comparison so much is the reference's as it has fewer rows than the window.
    """
    return 1 + (windows - 1) * rows / (rows + REFERENCE_ROWS)


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
    found = [alarms(w, asked, others=2 * (checks - 1)) > 0 for w in drawn(rng, of, rows, count, moved).profiles()]
    return float(np.mean(found))


# ---- the tables ----


def _row(*cells: object) -> None:
    print("| " + " | ".join(f"{cell:.2%}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True)


def _head(*cells: object) -> None:
    _row(*cells)
    _row(*("---" for _ in cells))


def _independent(count: int, tests: Sequence[Test], sizes: Sequence[int], references: int) -> None:
    print(f"\nHealthy windows of independent rows, {count:,} for each figure (promised: an alarm in at most {ALPHA:.0%})\n")
    _head("judged by", "rows of the window", "drifts a month, of windows of an hour", "any alarm")
    simulated = [test for test in tests if MEASURES[test].chance == "simulated"]
    for rows in sizes:
        of = batches(rows, count, references=references)
        hourly = policy(hours=1)
        said = [batch.said(hourly) for batch in of]
        month = Rate(sum(drifts(windows, hourly) for windows in said), sum(map(len, said)) / 24 / 30)
        _row("PSI, the policy as it is", f"{rows:,}", month, alarm_rate(of))
        for test in (test for test in tests if test not in simulated):
            _row(f"{test}, no least effect", f"{rows:,}", "", alarm_rate(of, test, least=False))
        if rows in ROWWISE:
            by_row = alarm_rate(batches(rows, count // 5, references=references, draw=rowwise), least=False)
            _row("PSI, no least effect, drawn row by row", f"{rows:,}", "", by_row)
        few = batches(rows, count, references=-(-references // 4)) if simulated else []
        for test in simulated:
            _row(f"{test}, no least effect", f"{rows:,}", "", alarm_rate(few, test, least=False))


def _dependent(runs: int, tests: Sequence[Test]) -> None:
    print("\nHealthy windows of days and weather\n")
    _head("traffic", "test", "window", "months", "drifts a month", "windows", "any alarm")
    for scenario in SCENARIOS:
        _rates(scenario.name, rates(scenario, [(t, h) for t in tests for h in HOURS], range(runs)))


def _calibrated(runs: int, tests: Sequence[Test]) -> None:
    print("\nThe same, of a reference without timestamps: after `Calibrating`\n")
    _head("traffic", "test", "window", "months", "drifts a month", "windows", "any alarm")
    for scenario in SCENARIOS:
        _rates(scenario.name, rates(scenario, [(t, h) for t in tests for h in HOURS[:-1]], range(runs), timed=False))


def _segments(runs: int) -> None:
    print("\nHealthy hours, judged in every segment\n")
    _head("traffic", "`falseAlarmRate`, a month", "drifts a month", "any segment")
    for traffic in (Traffic("independent rows"), SCENARIOS[0]):
        for alpha in (0.1, 1.0):
            _row(traffic.name, f"{30 * alpha:g}", *segmented(traffic, range(runs), alpha=alpha))


def _rates(name: str, of: Mapping[tuple[Test, int], Rates]) -> None:
    for (test, hours), found in of.items():
        _row(name, test, f"{hours} h", f"{found.events.months:.0f}", found.events, f"{found.any.of:,}", found.any)


def _moved(runs: int) -> None:
    print("\nThe same traffic, all its values moved: windows in which the features have drifted\n")
    shifts = (0.5, 1.0, 2.0, 3.0)
    _head("traffic", "window", *(f"by {shift:g} sd" for shift in shifts))
    for scenario in SCENARIOS:
        found = [rates(scenario, [("PSI", hours) for hours in HOURS], range(runs), moved=shift) for shift in shifts]
        for hours in HOURS:
            _row(scenario.name, f"{hours} h", *(by["PSI", hours].drifted.value for by in found))


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
        picture.write_text(pictured(panels), encoding="utf-8")
        print(f"\n{picture}: {picture.stat().st_size:,} bytes")


def main() -> None:
    """Print all tables as Markdown, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        choices=["independent", "dependent", "calibrated", "segments", "moved", "power", []],
        help="without any: all",
    )
    parser.add_argument("--windows", type=int, default=10_000, help="healthy windows for each figure")
    parser.add_argument("--references", type=int, default=REFERENCES, help="that windows of independent rows are shared among")
    parser.add_argument("--rows", nargs="+", type=int, default=SIZES, help="sizes of windows of independent rows")
    parser.add_argument(
        "--runs", type=int, default=20, help="times sixty days of dependent traffic: two months of windows of four lengths"
    )
    parser.add_argument(
        "--tests", nargs="+", choices=TESTS, help="without any: all, and of dependent traffic the two that are used most"
    )
    parser.add_argument("--picture", type=Path, help="where the curves of the power are written to, as SVG")
    asked = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "independent": lambda: _independent(asked.windows, asked.tests or TESTS, asked.rows, asked.references),
        "dependent": lambda: _dependent(asked.runs, asked.tests or DEPENDENT_TESTS),
        "calibrated": lambda: _calibrated(asked.runs, asked.tests or DEPENDENT_TESTS),
        "segments": lambda: _segments(max(asked.runs * 2 // 5, 1)),
        "moved": lambda: _moved(max(asked.runs // 8, 1)),
        "power": lambda: _powers(max(asked.windows // 25, 20), asked.picture),
    }
    for name in asked.parts or parts:
        parts[name]()


if __name__ == "__main__":
    main()
