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


RIVALS: Final = (
    Rival("Evidently", "run_evidently.py", ("evidently==0.7.23", "pyarrow")),
    Rival("NannyML", "run_nannyml.py", ("nannyml==0.13.1", "pyarrow")),
    Rival("scipy", "run_scipy.py", ("scipy", "pandas", "pyarrow")),
)
OURS: Final = Rival("Stationkeeper", "run_stationkeeper.py")


@dataclass(frozen=True)
class Ran:
    """What one run took."""

    seconds: float  # without the start of the interpreter and imports
    bytes: int  # peak of the whole process
    version: str = ""
    drifted: list[str] = field(default_factory=list)


def run(rival: Rival, reference: Path, current: Path) -> Ran:
    """Run a rival in a process of its own.

    Raises:
        RuntimeError: when it fails; with the end of what it said.
    """
    command = [rival.python(), str(HERE / rival.script), str(reference), str(current)]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    if done.returncode:
        raise RuntimeError(f"{rival.name} failed: {done.stderr.strip()[-500:]}")
    return Ran(**json.loads(done.stdout.strip().splitlines()[-1]))
