"""NannyML's univariate drift, defaults, the current sample as one chunk: `python run_nannyml.py REFERENCE CURRENT`."""

import json
import resource
import sys
import time
from pathlib import Path

import nannyml as nml
import pandas as pd

imported = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
start = time.perf_counter()
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
columns = list(reference.columns)
calculator = nml.UnivariateDriftCalculator(
    column_names=columns,
    treat_as_categorical=[name for name in columns if name.startswith("c")],
    chunk_number=10,
)
result = calculator.fit(reference).calculate(current).filter(period="analysis").to_df()
alerts = {name for name in columns for method in result[name].columns.levels[0] if (name, method, "alert") in result.columns
          and result[(name, method, "alert")].mean() > 0.5}  # fmt: skip
took = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_SELF)
cpu = usage.ru_utime + usage.ru_stime - imported
memory = 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])  # the peak of this process alone
print(json.dumps({"seconds": took, "cpu": cpu, "bytes": memory, "drifted": sorted(alerts), "version": nml.__version__}))
