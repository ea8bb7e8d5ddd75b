"""A LightGBM file is first loaded in a process of its own: on a damaged one the library may abort it, without any word.

`python -m stationkeeper.workloads.imports.probe < FILE` ends with 0 when the file was loaded, or was refused in good order.
"""

import subprocess
import sys
from typing import Final

from stationkeeper.api.source import Source
from stationkeeper.workloads.artifacts.boosters import load_lightgbm
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.imports.signature import unusable

SECONDS: Final = 900


def survives(source: Source, data: bytes) -> None:
    """Load a file elsewhere, before it is loaded here.

    Raises:
        AttemptEnded: InvalidData with InvalidModel, when the process does not survive it.
    """
    command = [sys.executable, "-m", __name__]
    try:
        code = subprocess.run(command, input=data, capture_output=True, timeout=SECONDS, check=False).returncode  # noqa: S603  our own module
    except subprocess.TimeoutExpired as error:
        raise unusable(f"{source.uri} is not loaded within {SECONDS} seconds") from error
    if code < 0:  # ended by a signal; any other failure is told better when it is loaded here
        raise unusable(f"{source.uri} makes LightGBM abort (signal {-code}): it is damaged")


if __name__ == "__main__":
    try:
        load_lightgbm(sys.stdin.buffer.read())
    except MalformedArtifact as refused:
        sys.stderr.write(f"{refused}\n")
