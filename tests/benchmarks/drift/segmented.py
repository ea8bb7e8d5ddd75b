"""Healthy traffic of a few carriers, judged by the hour in every segment, row by row as a drift check does."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from stationkeeper.api.driftpolicy import DriftPolicySpec, Segment
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.drift.reference import build_reference
from stationkeeper.workloads.drift.rowchecks import judge_rows
from tests.benchmarks.drift.alarms import Rate, Said, Share, drifts, policy
from tests.benchmarks.drift.traffic import Traffic

COLUMNS: Final = 4
CARRIERS: Final = 6
HOURLY: Final = 1_200  # rows
DAYS: Final = 20  # of the reference, and of what follows
SAMPLE: Final = 20_000  # rows that a revision keeps


def segmented(traffic: Traffic, runs: Sequence[int], *, alpha: float, days: int = DAYS) -> tuple[Rate, Share]:
    """How often in a month two of three hours breach in any segment, and the share of hours that do.

    One drifted column makes a segment drifted here, and no difference is too small: it is the rate that is looked at.
    """
    asked = policy(alpha=alpha, least=False, hours=1)
    asked = asked.model_copy(
        update={
            "segments": [Segment(column="carrier", max_values=CARRIERS - 1)],
            "features": asked.features.model_copy(update={"max_drifted_share": 0.01}),
        }
    )
    found = [[Said(bad, features=bad, predictions=False) for bad in _run(traffic, run, asked, days)] for run in runs]
    windows = [window.alarm for run in found for window in run]
    return Rate(sum(drifts(run, asked) for run in found), len(windows) / 24 / 30), Share(sum(windows), len(windows))


def _run(traffic: Traffic, run: int, asked: DriftPolicySpec, days: int) -> Iterator[bool]:
    rng = np.random.default_rng((5, run))
    minute, values = traffic.draw(rng, 2 * days, HOURLY, COLUMNS)
    carrier = rng.choice([f"c{i}" for i in range(CARRIERS)], minute.size)
    rows = pl.DataFrame({"carrier": carrier} | values)
    half = int(np.searchsorted(minute, days * 1_440))
    features = [Column(name="carrier", kind=ColumnKind.CATEGORICAL)]
    features += [Column(name=name, kind=ColumnKind.NUMERIC) for name in values]
    times = minute[:half].astype("datetime64[m]")
    of = build_reference(rows[:half], features, {}, timestamps=times)
    sample = rows[:half].sample(SAMPLE, seed=run)
    borders = np.searchsorted(minute, np.arange(days * 1_440, 2 * days * 1_440 + 1, 60))
    for start, end in pairwise(borders.tolist()):
        found = judge_rows(rows[start:end], of, asked, sample=sample, pca=None, seed=0, features=features)
        yield any(segment.verdict is Verdict.BREACHED for segment in found.segments)
