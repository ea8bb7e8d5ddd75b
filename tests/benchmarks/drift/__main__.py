"""The drift engine side by side with Evidently, NannyML and scipy: `python -m tests.benchmarks.drift`.

Everything is measured in one run on one machine, each library in a process of its own. Figures are Markdown on stdout.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.drift.counting import count_rows
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from stationkeeper.workloads.drift.verdict import judge
from tests.benchmarks.drift import data
from tests.benchmarks.drift.rivals import OURS, RIVALS, WHERE, Ran, run

ROWS: Final = 1_000_000
PROFILES: Final = 1_000  # of the long window
PARTS: Final = 10  # files of the long window, of `ROWS` rows
MINUTE: Final = 5_000  # rows of a minute


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """The median of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def made(path: Path, make: Callable[[Path], object]) -> Path:
    """A file of the cache; made under another name first, so that half a file is never taken for one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"writing {path.name} (once) …", file=sys.stderr)
        make(path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    return path


def row(*cells: object) -> None:
    """A row of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*cells: object) -> None:
    """The head of a Markdown table."""
    row(*cells)
    row(*("---" for _ in cells))


def side_by_side(times: int) -> None:
    """A window of a million rows and 40 columns, from Parquet."""
    reference = made(WHERE / "reference.parquet", lambda path: data.write(path, ROWS, 1, drifted=False))
    current = made(WHERE / "current.parquet", lambda path: data.write(path, ROWS, 2, drifted=True))
    stored = made(WHERE / "reference.json", lambda path: path.write_bytes(_reference(pl.read_parquet(reference)).encode()))
    print(f"\n{ROWS:,} rows × {len(data.FEATURES)} columns from Parquet, drift planted in {len(data.DRIFTED)}\n")
    head("", "seconds", "peak memory", "found", "false", "times slower", "times the memory")
    runs = [run(OURS, stored, current) for _ in range(times + 1)][1:]  # the first one finds nothing in the file cache
    ours = Ran(statistics.median(r.seconds for r in runs), max(r.bytes for r in runs), runs[0].version, runs[0].drifted)
    _compared(OURS.name, ours, ours)
    for rival in RIVALS:
        try:
            _compared(rival.name, run(rival, reference, current), ours)
        except RuntimeError as error:
            row(rival.name, str(error).replace("\n", " ")[:200], *[""] * 5)


def _reference(frame: pl.DataFrame) -> ReferenceProfile:
    return build_reference(frame, data.FEATURES, {})


def _compared(name: str, ran: Ran, ours: Ran) -> None:
    found = set(ran.drifted)
    right, wrong = found & set(data.DRIFTED), found - set(data.DRIFTED)
    times = f"{ran.seconds / ours.seconds:,.0f}", f"{ran.bytes / ours.bytes:.1f}"
    memory = f"{ran.bytes / 2**20:,.0f} MiB"
    row(f"{name} {ran.version}", f"{ran.seconds:.2f}", memory, f"{len(right)} of {len(data.DRIFTED)}", len(wrong), *times)


def long_window(times: int) -> None:
    """Ten million rows: their profiles, merged and judged, against a scan of the rows by Polars."""
    folder = WHERE / "long"
    paths = [made(folder / f"{i}.parquet", lambda p, i=i: data.write(p, ROWS, 10 + i, drifted=False)) for i in range(PARTS)]  # type: ignore[misc]
    reference = ReferenceProfile.decode((WHERE / "reference.json").read_bytes())
    none = Profile.empty(reference)
    profiles = [made(folder / f"{i}.profile", lambda p, i=i: p.write_bytes(_part(paths, none, i))) for i in range(PROFILES)]  # type: ignore[misc]

    def merge() -> None:
        total, damaged = none.total(path.read_bytes() for path in profiles)
        assert total.rows == PARTS * ROWS
        assert not damaged
        judge(total, DriftPolicySpec())

    scanned, merged = seconds(lambda: scan(paths, reference), min(times, 3)), seconds(merge, times)
    print(f"\n{PARTS * ROWS:,} rows × {len(data.FEATURES)} columns\n")
    head("", "seconds", "times slower")
    row(f"{PROFILES:,} profiles read, merged and judged", f"{merged:.3f}", 1)
    row("Polars, streaming: ten counts a column, no verdict", f"{scanned:.2f}", f"{scanned / merged:,.0f}")


def _part(paths: list[Path], none: Profile, number: int) -> bytes:
    file, part = divmod(number, PROFILES // PARTS)
    rows = PARTS * ROWS // PROFILES
    return count_rows(pl.scan_parquet(paths[file]).slice(part * rows, rows), none).encode()


def scan(paths: list[Path], reference: ReferenceProfile) -> None:
    """Decile counts of numbers and the counts of the ten most frequent words, as one streaming query."""
    pl.scan_parquet(paths).select(_questions(reference)).collect(engine="streaming")


def _questions(reference: ReferenceProfile) -> Iterator[pl.Expr]:
    for column in reference.features:
        name = column.name
        yield pl.col(name).null_count().alias(f"{name} missing")
        if column.kind == "numeric":
            mass = np.cumsum(column.vector[1:-2]) / max(int(column.vector[1:-2].sum()), 1)
            deciles = column.cuts[1:][np.searchsorted(mass, np.arange(1, 10) / 10)]
            yield from ((pl.col(name) < cut).sum().alias(f"{name} {i}") for i, cut in enumerate(deciles.tolist()))
        else:
            yield from ((pl.col(name) == word).sum().alias(f"{name} {word}") for word in column.categories[:10])


def profile_build(times: int) -> None:
    """Counting arrays in memory against the least that anybody could do with them; and the bytes of a minute."""
    frame = data.frame(200_000, 3, drifted=False)
    reference = _reference(frame)
    none = Profile.empty(reference)
    columns: dict[str, Any] = from_frame(frame, data.FEATURES)
    numbers = {name: values for name, values in columns.items() if values.dtype.kind == "f"}
    smallest = seconds(lambda: [(np.nanmin(v), np.nanmax(v)) for v in numbers.values()], times)
    plain = seconds(lambda: [(v.min(), v.max()) for v in numbers.values()], times)
    counted = seconds(lambda: none.layout.numeric["features"].count(numbers, frame.height), times)
    minute = none.fresh()
    minute.update({name: values[:MINUTE] for name, values in columns.items()}, {})
    print(f"\nProfiles of {len(numbers)} numeric columns in memory\n")
    head("", "ns a value", "times a min/max pass")
    per = 1e9 / frame.height / len(numbers)
    row("numpy min and max", f"{plain * per:.2f}", 1)
    row("numpy min and max that leave NaN out", f"{smallest * per:.2f}", f"{smallest / plain:.1f}")
    row("bins counted", f"{counted * per:.2f}", f"{counted / plain:.1f}")
    print(f"\nA minute of {MINUTE:,} rows × {len(data.FEATURES)} columns: a profile of {len(minute.encode()):,} bytes")


def main() -> None:
    """Measure everything, or what is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {"side-by-side": side_by_side, "long-window": long_window, "profile-build": profile_build}
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="what to measure; without any, everything")
    parser.add_argument("--times", type=int, default=5, help="runs of this project for each figure; the median counts")
    asked = parser.parse_args()
    for name in asked.parts or parts:
        parts[name](asked.times)


if __name__ == "__main__":
    main()
