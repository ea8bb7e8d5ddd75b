"""The libraries that the drift engine is measured against, each in an environment of its own in the cache."""

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hack.cluster.paths import cache

HERE: Final = Path(__file__).parent
WHERE: Final = cache() / "bench"
_ONE: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # for all alike


@dataclass(frozen=True)
class Rival:
    """A library, and what pip installs for it; nothing for this project itself."""

    name: str
    script: str
    packages: tuple[str, ...] = ()

    def python(self) -> str:
        """The interpreter of its environment, which is made where it is not there."""
        if not self.packages:
            return sys.executable
        folder = WHERE / f"env-{self.name.lower()}"
        ready = folder / ".ready"
        if not ready.exists() or ready.read_text() != " ".join(self.packages):
            print(f"creating the environment of {self.name} (once) …", file=sys.stderr)
            venv.create(folder, with_pip=True, clear=True)
            subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *self.packages], check=True)
            ready.write_text(" ".join(self.packages))
        return str(folder / "bin" / "python")


# Neither names what it does not stand beside: both break with pandas 3, and NannyML imports statsmodels without asking for it.
RIVALS: Final = (
    Rival("Evidently", "run_evidently.py", ("evidently==0.7.23", "pandas==2.3.3", "pyarrow==26.0.1")),
    Rival("NannyML", "run_nannyml.py", ("nannyml==0.13.1", "pandas==2.3.3", "pyarrow==26.0.1", "statsmodels==0.15.0")),
    Rival("scipy", "run_scipy.py", ("scipy==1.17.1", "pandas==2.3.3", "pyarrow==26.0.1")),
)
OURS: Final = Rival("Stationkeeper", "run_stationkeeper.py")


@dataclass(frozen=True)
class Ran:
    """What one run took."""

    seconds: float  # without the start of the interpreter and imports
    cpu: float  # processor seconds of all threads, without the same
    bytes: int  # peak of the whole process
    version: str = ""
    drifted: list[str] = field(default_factory=list)


def run(rival: Rival, reference: Path, current: Path) -> Ran:
    """Run a rival in a process of its own.

    Raises:
        RuntimeError: when it fails; with the end of what it said.
    """
    command = [rival.python(), str(HERE / rival.script), str(reference), str(current)]
    quiet = {**os.environ, **_ONE, "PYTHONWARNINGS": "ignore", "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    if done.returncode:
        raise RuntimeError(f"{rival.name} failed: {done.stderr.strip()[-500:]}")
    return Ran(**json.loads(done.stdout.strip().splitlines()[-1]))
