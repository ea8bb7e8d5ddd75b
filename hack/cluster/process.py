"""Programs that run in the background, each with a log of its own."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.say import ClusterError, tail

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Component:
    """One running program."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, name: str, program: Path, flags: Sequence[str], logs: Path, *, tied: bool = True) -> "Component":
        """Start a program. `tied`: it dies with this process; else it goes on in a session of its own."""
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(program), *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent if tied else None,
                start_new_session=not tied,
                cwd=logs,
            )
        return cls(name, process, log)

    def check(self) -> None:
        """Raise when it has ended.

        Raises:
            ClusterError: with the end of its log.
        """
        if self.process.poll() is not None:
            raise ClusterError(
                f"{self.name} ended with exit code {self.process.returncode}; the end of {self.log}:\n{tail(self.log)}"
            )

    def stop(self, seconds: float = 10) -> None:
        """Ask it to end, and end it when it does not."""
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def started_at(pid: int) -> str | None:
    """When a process started (clock ticks since boot): with the pid, its identity. None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] == "Z" else fields[19]


def kill(pid: int, start: str, seconds: float = 20) -> None:
    """Kill the process that has this pid and start, never another one, and wait for its end."""
    if started_at(pid) != start:
        return
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    while started_at(pid) == start:
        if time.monotonic() > deadline:
            raise ClusterError(f"process {pid} does not end")
        time.sleep(0.05)
