"""A Model that took a prefix over judges on rows that its champion has not learned: they are split as by the first owner."""

from pathlib import Path
from typing import Any

import polars as pl

from stationkeeper.workloads.jobs import train as job
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod


def holdout(tmp: Path, **changes: Any) -> pl.DataFrame:
    """The holdout that `prepare` keeps of rows without a time."""
    plain = {"timestamp": None, "asOf": "Now", "features": ["x", "count", "colour", "member"]}
    source = MemoryStore({"a.parquet": pod.parquet(pod.rows(40))}, "s3://lake/rows")
    made = pod.Pod(tmp, MemoryStore(), source)
    summary, code = job.step_prepare(pod.config(data=plain, **changes), made.paths, made.open)
    assert (summary, code) == (None, 0)
    return pl.read_parquet(made.paths.holdout).select("x", "count", "colour", "member", "y")


def test_rows_are_split_as_by_the_first_owner(tmp_path: Path) -> None:
    first = holdout(tmp_path / "first")
    other = {"namespace": "default", "name": "test", "uid": "uid-of-another-cluster"}
    assert holdout(tmp_path / "heir", model=other, lineage=pod.MODEL_UID).equals(first)
    assert not holdout(tmp_path / "stranger", model=other).equals(first)
