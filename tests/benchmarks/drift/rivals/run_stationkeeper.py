"""The drift engine: traffic as Parquet against a revision's stored reference: `python run_stationkeeper.py REFERENCE.json CURRENT`."""

import json
import resource
import sys
import time
from pathlib import Path

import polars as pl

import stationkeeper
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.workloads.drift.counting import count_rows
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.verdict import judge

start = time.perf_counter()
reference = ReferenceProfile.decode(Path(sys.argv[1]).read_bytes())
profile = count_rows(pl.scan_parquet(sys.argv[2]), Profile.empty(reference))
findings = judge(profile, DriftPolicySpec())
took = time.perf_counter() - start
found = {result.name for result in findings.columns if result.verdict == "Breached"} | {v.column for v in findings.violations}
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(
    json.dumps(
        {"seconds": took, "bytes": memory, "drifted": sorted(found), "version": getattr(stationkeeper, "__version__", "here")}
    )
)
