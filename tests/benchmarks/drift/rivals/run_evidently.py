"""Evidently's default preset on two Parquet files. Runs in an environment of its own: `python run_evidently.py REFERENCE CURRENT`."""

import json
import resource
import sys
import time
from pathlib import Path

import evidently
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

imported = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
start = time.perf_counter()
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
snapshot = Report([DataDriftPreset()]).run(current, reference)
found = []
for metric in snapshot.dict()["metrics"]:
    config = metric.get("config", {})
    if not str(config.get("type", "")).endswith("ValueDrift"):
        continue
    value, threshold, p_value = float(metric["value"]), config["threshold"], "p_value" in str(config["method"])
    if (value < threshold) if p_value else (value >= threshold):
        found.append(config["column"])
took = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_SELF)
cpu = usage.ru_utime + usage.ru_stime - imported
memory = 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])  # the peak of this process alone
print(json.dumps({"seconds": took, "cpu": cpu, "bytes": memory, "drifted": found, "version": evidently.__version__}))
