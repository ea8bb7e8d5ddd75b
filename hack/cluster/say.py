"""What the tool tells: one line per step, a moving line while something takes long, plain when piped."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self


def say(text: str) -> None:
    """Print one line at once, to stderr, so that stdout stays for results."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """A line that shows the seconds a long step takes: rewritten on a terminal, every 30 s when piped."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.started = time.monotonic()
        self._last = 0.0
        self._terminal = sys.stderr.isatty()

    def tick(self, detail: str = "") -> None:
        """Show that it still goes on."""
        elapsed = time.monotonic() - self.started
        text = f"{self.what} … {elapsed:.0f} s{f' ({detail})' if detail else ''}"
        if self._terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif elapsed - self._last >= 30:
            self._last = elapsed
            say(text)

    def __enter__(self) -> Self:
        if not self._terminal:
            say(f"{self.what} …")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        elapsed = time.monotonic() - self.started
        end = "failed" if kind else "done"
        print(
            f"{chr(13) + chr(27) + '[K' if self._terminal else ''}{self.what}: {end} in {elapsed:.0f} s",
            file=sys.stderr,
            flush=True,
        )


class ClusterError(Exception):
    """The cluster cannot be had; the message says what to do."""


def tail(path: Path, lines: int = 30) -> str:
    """The end of a log."""
    if not path.exists():
        return f"(no log at {path})"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def wait(
    what: str,
    ready: Callable[[], bool | str],
    seconds: float,
    *,
    check: Callable[[], None] = lambda: None,
    log: Path | None = None,
) -> None:
    """Wait until `ready` returns True; a string it returns is shown as what it waits for.

    Raises:
        ClusterError: when the time is over, with the end of `log`, or when `check` raises it.
    """
    deadline = time.monotonic() + seconds
    state = ready()
    if state is True:  # a repeated call need not tell what was so already
        return
    with Progress(what) as progress:
        while state is not True:
            check()
            if time.monotonic() > deadline:
                end = f"; the end of {log}:\n{tail(log)}" if log else ""
                raise ClusterError(f"{what}: not after {seconds:.0f} s{f': {state}' if state else ''}{end}")
            progress.tick(state if isinstance(state, str) else "")
            time.sleep(0.1)
            state = ready()
