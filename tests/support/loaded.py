"""What a fresh interpreter has loaded after some work: start and memory of a pod, or of a command, are those of its imports."""

import subprocess
import sys
from collections.abc import Sequence


def loaded(code: str, among: Sequence[str]) -> list[str]:
    """The modules of `among` that are loaded once `code` has ended, by SystemExit(0) too; their output is not looked at.

    Raises:
        CalledProcessError: when the code fails.
    """
    told = (
        f"import atexit, sys\natexit.register(lambda: print(*(m for m in {tuple(among)} if m in sys.modules), file=sys.stderr))\n"
    )
    done = subprocess.run([sys.executable, "-c", told + code], capture_output=True, text=True, check=True, timeout=60)
    return done.stderr.splitlines()[-1].split()  # the line of `told` is the last one, and there always
