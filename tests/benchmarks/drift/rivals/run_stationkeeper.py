"""`stationkeeper check` on files, as a person runs it: `python run_stationkeeper.py REFERENCE CURRENT`, rows or a `reference.json`."""

import contextlib
import io
import json
import resource
import sys
import time
from pathlib import Path

import stationkeeper
import stationkeeper.workloads.checks.frames  # the command imports them when it runs: as with the others, that does not count
import stationkeeper.workloads.checks.sources
from stationkeeper.cli.main import app


def spent() -> float:
    """Processor seconds of all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


start, used, out = time.perf_counter(), spent(), io.StringIO()
with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
    app(["check", "-r", sys.argv[1], "-c", sys.argv[2], "-o", "json"], standalone_mode=False)
took, cpu = time.perf_counter() - start, spent() - used
report = json.loads(out.getvalue())
found = {column["name"] for column in report["columns"] if column["verdict"] == "Breached"}
found |= {violation["column"] for violation in report["violations"]}
memory = 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])  # the peak of this process alone
said = {"seconds": took, "cpu": cpu, "bytes": memory, "drifted": sorted(found), "version": stationkeeper.__version__}
print(json.dumps(said))
