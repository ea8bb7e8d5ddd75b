"""The drift engine side by side with Evidently, NannyML and scipy: `python -m tests.benchmarks.drift [--only PART ...]`.

Everything is measured in one run on one machine: this project by the command that people run, each library in a process of its own.
Figures are Markdown on stdout. Where other programs run beside, look at the processor seconds.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from stationkeeper.api.base import sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.ahead import REQUESTS
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.checks.sources import Server, open_current
from stationkeeper.workloads.drift.collect import Collector
from stationkeeper.workloads.drift.counting import count_rows
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from stationkeeper.workloads.drift.table import FrameTable
from stationkeeper.workloads.drift.verdict import judge
from stationkeeper.workloads.drift.windows import Window
from tests.benchmarks.drift import data
from tests.benchmarks.drift.rivals import OURS, RIVALS, WHERE, Ran, Rival, run
from tests.support.memory_store import MemoryStore

ROWS: Final = 1_000_000
PROFILES: Final = 1_000  # of the long window
PARTS: Final = 10  # files of the long window, of `ROWS` rows
MINUTE: Final = 5_000  # rows of a minute
LATENCY: Final = 0.01  # seconds that a store far away takes to answer
RIVAL_NAMES: Final = tuple(rival.name.lower() for rival in RIVALS)


@dataclass(frozen=True)
class Took:
    """What some work takes: the middle of some runs by the clock, the least of them by the processor."""

    seconds: float
    cpu: float  # of all threads; others on the machine can only add to it


def took(work: Callable[[], object], times: int = 5) -> Took:
    """Do it some times."""
    clock, processor = [], []
    for _ in range(times):
        start, used = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        work()
        clock.append(time.perf_counter() - start)
        processor.append(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - used)
    return Took(statistics.median(clock), min(processor))


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


def reference_rows() -> Path:
    """The rows of the reference."""
    return made(WHERE / "reference.parquet", lambda path: data.write(path, ROWS, 1, drifted=False))


def stored_reference() -> Path:
    """The `reference.json` of these rows, as a revision keeps it."""
    return made(WHERE / "reference.json", lambda path: path.write_bytes(_reference(pl.read_parquet(reference_rows())).encode()))


def _reference(frame: pl.DataFrame) -> ReferenceProfile:
    return build_reference(frame, data.FEATURES, {})


def side_by_side(rivals: list[Rival], times: int) -> None:
    """A window of a million rows and 40 columns, from Parquet, by `stationkeeper check`."""
    current = made(WHERE / "current.parquet", lambda path: data.write(path, ROWS, 2, drifted=True))
    print(f"\n{ROWS:,} rows × {len(data.FEATURES)} columns from Parquet, drift planted in {len(data.DRIFTED)}\n")
    head(
        "",
        "seconds",
        "processor seconds",
        "peak memory",
        "found",
        "false",
        "times slower",
        "times the processor",
        "times the memory",
    )
    stored = _ours(stored_reference(), current, times)
    _compared(f"{OURS.name}, a window against a stored reference", stored, stored)
    _compared(f"{OURS.name}, rows against rows", _ours(reference_rows(), current, times), stored)
    for rival in rivals:
        try:
            _compared(rival.name, run(rival, reference_rows(), current), stored)
        except RuntimeError as error:
            row(rival.name, str(error).replace("\n", " ")[:200], *[""] * 7)


def _ours(reference: Path, current: Path, times: int) -> Ran:
    runs = [run(OURS, reference, current) for _ in range(times + 1)][1:]  # the first one finds nothing in the file cache
    return Ran(
        seconds=statistics.median(r.seconds for r in runs),
        cpu=min(r.cpu for r in runs),
        bytes=max(r.bytes for r in runs),
        version=runs[0].version,
        drifted=runs[0].drifted,
    )


def _compared(name: str, ran: Ran, ours: Ran) -> None:
    found = set(ran.drifted)
    right, wrong = found & set(data.DRIFTED), found - set(data.DRIFTED)
    times = f"{ran.seconds / ours.seconds:,.1f}", f"{ran.cpu / ours.cpu:,.1f}", f"{ran.bytes / ours.bytes:.1f}"
    memory = f"{ran.bytes / 2**20:,.0f} MiB"
    figures = f"{ran.seconds:.2f}", f"{ran.cpu:.2f}", memory
    row(f"{name} ({ran.version})", *figures, f"{len(right)} of {len(data.DRIFTED)}", len(wrong), *times)


def long_window(times: int) -> None:
    """Ten million rows: their profiles, read, merged and judged, against scans of the rows by Polars that count as much, or less."""
    folder = WHERE / "long"
    paths = [made(folder / f"{i}.parquet", lambda p, i=i: data.write(p, ROWS, 10 + i, drifted=False)) for i in range(PARTS)]  # type: ignore[misc]
    reference = ReferenceProfile.decode(stored_reference().read_bytes())
    none = Profile.empty(reference)
    for number in range(PROFILES):
        made(folder / f"{number}.profile", lambda p, i=number: p.write_bytes(_part(paths, none, i)))  # type: ignore[misc]
    day = made_folder(folder / "day", sorted(folder.glob("*.profile")))

    def merge() -> None:
        total = open_current(str(day), Server(), reference, folder).rows
        assert isinstance(total, Profile)
        assert total.rows == PARTS * ROWS
        judge(total, DriftPolicySpec())

    held = [path.read_bytes() for path in sorted(day.iterdir())]

    def merge_held() -> None:
        total, _ = none.total(held)
        judge(total, DriftPolicySpec())

    few, same = took(lambda: scan(paths, _deciles(reference)), min(times, 3)), took(lambda: scan(paths, _bins(reference)), 1)
    merged, alone = took(merge, 3 * times), took(merge_held, 3 * times)
    print(f"\n{PARTS * ROWS:,} rows × {len(data.FEATURES)} columns\n")
    head("", "seconds", "processor seconds", "times slower than from files", "times the processor")
    for name, part in (
        ("Polars, streaming: what each bin of the reference holds, no verdict", same),
        ("Polars, streaming: ten counts a column, no verdict", few),
        (f"{PROFILES:,} profiles, their files read, merged and judged", merged),
        ("the same, in memory already", alone),
    ):
        ratios = f"{part.seconds / merged.seconds:,.1f}", f"{part.cpu / merged.cpu:,.1f}"
        row(name, f"{part.seconds:.4f}", f"{part.cpu:.4f}", *ratios)


def far_store(times: int) -> None:
    """The profiles of a window from a store that answers after a while, as a check of a Model reads them."""
    reference = ReferenceProfile.decode(stored_reference().read_bytes())
    start, digest = datetime(2026, 3, 1, tzinfo=UTC), sha256(b"a revision")
    minute = Profile.empty(reference).encode()
    slots = [start + timedelta(minutes=i) for i in range(PROFILES)]
    store = MemoryStore({keys.profile(digest, slot, "pod", 0): minute for slot in slots})
    store.before = lambda _operation, _key: time.sleep(LATENCY)
    window = Window(start, start + timedelta(days=1))
    in_turn = took(lambda: [store.get(key) for key in list(store.objects)], 1)
    fetched = took(lambda: Collector(store, digest, reference).collect(window), min(times, 3))
    print(f"\n{PROFILES:,} profiles from a store that answers after {1000 * LATENCY:.0f} ms\n")
    head("", "seconds", "processor seconds")
    row("fetched in turn", f"{in_turn.seconds:.2f}", f"{in_turn.cpu:.2f}")
    row(f"listed, fetched {REQUESTS} at a time and merged", f"{fetched.seconds:.2f}", f"{fetched.cpu:.2f}")


def made_folder(path: Path, files: list[Path]) -> Path:
    """A folder of these files alone."""
    path.mkdir(exist_ok=True)
    for file in files:
        if not (path / file.name).exists():
            (path / file.name).hardlink_to(file)
    return path


def _part(paths: list[Path], none: Profile, number: int) -> bytes:
    file, part = divmod(number, PROFILES // PARTS)
    rows = PARTS * ROWS // PROFILES
    frame = pl.scan_parquet(paths[file]).slice(part * rows, rows).collect()
    return count_rows(FrameTable(frame), none.layout.reference).profile(none).encode()


def scan(paths: list[Path], questions: Iterable[pl.Expr]) -> None:
    """Answer them all in one streaming query."""
    pl.scan_parquet(paths).select(questions).collect(engine="streaming")


def _bins(reference: ReferenceProfile) -> Iterator[pl.Expr]:
    """What the profiles answer: how many values lie in each bin of a number, and how often each word is met."""
    for column in reference.features:
        name = column.name
        yield pl.col(name).null_count().alias(f"{name} missing")
        if column.kind == "numeric":
            yield pl.col(name).hist(bins=sorted(set(column.cuts[np.isfinite(column.cuts)].tolist()))).implode()
        else:
            yield pl.col(name).value_counts().implode()


def _deciles(reference: ReferenceProfile) -> Iterator[pl.Expr]:
    """The least that says anything of drift: how many numbers lie below each decile, and the counts of the ten most frequent words."""
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
    """Counting arrays in memory against the least that anybody could do with them."""
    frame = data.frame(200_000, 3, drifted=False)
    none = Profile.empty(_reference(frame))
    numbers = {name: values for name, values in from_frame(frame, data.FEATURES).items() if values.dtype.kind == "f"}
    smallest = took(lambda: [(np.nanmin(v), np.nanmax(v)) for v in numbers.values()], 3 * times)
    plain = took(lambda: [(v.min(), v.max()) for v in numbers.values()], 3 * times)
    counted = took(lambda: none.layout.numeric["features"].count(numbers, frame.height), 3 * times)
    print(f"\nProfiles of {len(numbers)} numeric columns in memory\n")
    head("", "ns a value", "processor ns a value", "times a min/max pass")
    per = 1e9 / frame.height / len(numbers)
    for name, part in (
        ("numpy min and max", plain),
        ("numpy min and max that leave NaN out", smallest),
        ("bins counted", counted),
    ):
        row(name, f"{part.seconds * per:.2f}", f"{part.cpu * per:.2f}", f"{part.cpu / plain.cpu:.1f}")


def minute_size(times: int) -> None:
    """The bytes of a minute."""
    columns: dict[str, Any] = from_frame(data.frame(MINUTE, 3, drifted=False), data.FEATURES)
    minute = Profile.empty(_reference(data.frame(200_000, 3, drifted=False)))
    minute.update(columns, {})
    print(f"\nA minute of {MINUTE:,} rows × {len(data.FEATURES)} columns: a profile of {len(minute.encode()):,} bytes")


def main() -> None:
    """Measure everything, or what is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {"profiles": long_window, "store": far_store, "build": profile_build, "size": minute_size}
    names = ["ours", *RIVAL_NAMES, *parts]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="what to measure; without it, everything")
    parser.add_argument("--times", type=int, default=5, help="runs of this project for each figure")
    asked = parser.parse_args()
    rivals = [rival for rival in RIVALS if rival.name.lower() in asked.only]
    if rivals or "ours" in asked.only:
        side_by_side(rivals, asked.times)
    for name in (name for name in parts if name in asked.only):
        parts[name](asked.times)


if __name__ == "__main__":
    main()
