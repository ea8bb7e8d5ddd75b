"""Programs that run in the background, each with a log of its own, and processes known by more than their pid."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.say import ClusterError, tail


@dataclass(frozen=True)
class Identity:
    """A process: pid and start time together, for a pid alone is used again by somebody else."""

    pid: int
    start: str

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """The process that has this pid now."""
        return cls(pid, started_at(pid) or "gone")

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return started_at(self.pid) == self.start

    def end(self, *, gently: float = 0, seconds: float = 30) -> None:
        """End that very process, never another one, and wait until it is gone. `gently`: seconds to end by itself.

        Raises:
            ClusterError: when it does not end.
        """
        if gently and self.alive:
            os.kill(self.pid, signal.SIGTERM)
            self._wait(gently)
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
            if not self._wait(seconds):
                raise ClusterError(f"process {self.pid} does not end")

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def started_at(pid: int) -> str | None:
    """When a process started (clock ticks since boot). None when there is none, or only its exit code is left."""
    state, start = _state(pid)
    return None if state == "Z" else start


def wait_reaped(processes: Iterable[Identity], seconds: float = 3) -> None:
    """Wait until ended processes are out of `ps` too. The machine's first process collects them when it likes; if never, so be it."""
    deadline = time.monotonic() + seconds
    for process in processes:
        while _state(process.pid) == ("Z", process.start) and time.monotonic() < deadline:
            time.sleep(0.05)


def _state(pid: int) -> tuple[str | None, str | None]:
    """State letter and start time of a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None, None
    fields = stat.rsplit(")", 1)[1].split()
    return fields[0], fields[19]


@dataclass
class Component:
    """One running program."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, name: str, program: Path, flags: Sequence[str], logs: Path, *, tied: bool = True) -> "Component":
        """Start a program. `tied`: it dies with the thread that calls this; else it goes on."""
        logs.mkdir(parents=True, exist_ok=True)
        command = [str(program), *flags]
        if tied and (setpriv := shutil.which("setpriv")):
            # Even when we are killed: the kernel ends it. A wrapper, because code between fork and exec (preexec_fn) is unsafe
            # in a process with threads, and Python warns of it.
            command = [setpriv, "--pdeathsig", "KILL", *command]
        log = logs / f"{name}.log"
        return cls(name, command, _spawn(command, log), log)

    def restart(self) -> None:
        """Start it again, after it ended."""
        self.process = _spawn(self.command, self.log)

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


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches us alone, and we end things in their order.
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=log.parent
        )
