"""What it costs to profile traffic and to check many profiles: `python tests/benchmarks/drift/bench_profile.py`."""

import time
from collections.abc import Callable

import numpy as np
import polars as pl

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.drift.verdict import judge

ROWS, NUMERIC, TEXT = 200_000, 30, 10


def best(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    rng = np.random.default_rng(0)
    numbers = {f"x{i}": rng.normal(size=ROWS) for i in range(NUMERIC)}
    texts = {f"c{i}": rng.choice([f"v{j}" for j in range(30)], ROWS).astype(object) for i in range(TEXT)}
    frame = pl.DataFrame({**numbers, **{k: pl.Series(v.tolist()) for k, v in texts.items()}})
    features = [Column(name=n, kind=ColumnKind.NUMERIC) for n in numbers] + [
        Column(name=n, kind=ColumnKind.CATEGORICAL) for n in texts
    ]
    start = time.perf_counter()
    reference = build_reference(
        frame, features, {"prediction": rng.random(ROWS)}, timestamps=np.arange(ROWS).astype("datetime64[s]")
    )
    print(
        f"reference of {ROWS} rows x {len(features)} columns with variation: {time.perf_counter() - start:.2f} s, {len(reference.encode())} bytes"
    )
    empty = Profile.empty(reference)
    scan = best(lambda: [(v.min(), v.max()) for v in numbers.values()])
    count = best(lambda: empty.layout.numeric["features"].count(numbers, ROWS))
    print(f"numeric: {count / ROWS / NUMERIC * 1e9:.1f} ns a value, {count / scan:.1f} times a numpy min/max pass")
    for rows in (1, 100, 1_000, ROWS):
        batch = {k: v[:rows] for k, v in {**numbers, **texts}.items()}
        answer = {"prediction": rng.random(rows)}
        print(f"update of {rows} rows: {best(lambda b=batch, a=answer: empty.fresh().update(b, a)) * 1e6:.0f} us")  # type: ignore[misc]
    minute = empty.fresh()
    minute.update({k: v[:5_000] for k, v in {**numbers, **texts}.items()}, {"prediction": rng.random(5_000)})
    data = minute.encode()

    def check() -> None:
        total = empty.fresh()
        for _ in range(1_000):
            total = total.merge(empty.read(data))
        judge(total, DriftPolicySpec.model_validate({"modelRef": {"name": "m"}}))

    print(f"a profile of 5,000 rows: {len(data)} bytes; 1,000 of them read, merged and judged: {best(check, 2) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
