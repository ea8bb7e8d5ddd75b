"""What a person would write with pandas and scipy: Kolmogorov-Smirnov and chi-square, p < .05: `python run_scipy.py REFERENCE CURRENT`."""

import json
import resource
import sys
import time
from pathlib import Path

import pandas as pd
import scipy
from scipy import stats

imported = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
start = time.perf_counter()
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
found = []
for name in reference.columns:
    if reference[name].dtype.kind == "f":
        p = stats.ks_2samp(reference[name].dropna(), current[name].dropna()).pvalue
    else:
        both = pd.concat((reference[name].value_counts(), current[name].value_counts()), axis=1).fillna(0)
        p = stats.chi2_contingency(both.to_numpy().T).pvalue
    if p < 0.05:
        found.append(name)
took = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_SELF)
cpu = usage.ru_utime + usage.ru_stime - imported
memory = 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])  # the peak of this process alone
print(json.dumps({"seconds": took, "cpu": cpu, "bytes": memory, "drifted": found, "version": scipy.__version__}))
