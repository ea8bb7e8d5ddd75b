"""Capture: what was asked and answered, remembered off the request path.

    event loop --O(1)--> Buffer --thread--> Collector (profiles, rows) --slot ends--> Uploads --thread--> store

Slots are aligned to the wall clock and a row is written with the slot of its arrival, under the minute that it happened in where
requests say so (`capture.eventTime`). A pod that is killed loses the slot it was
filling, and at the most what the store has not taken; one that is told to end loses nothing that the store takes in time.
Every row that is lost while the process lives is counted in the metrics and told in the log.
"""

import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from stationkeeper.api.serving import Capture
from stationkeeper.workloads.artifacts.columns import Columns
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.serving.buffer import Answered, Buffer, Entry, Refused
from stationkeeper.workloads.serving.metrics import Metrics
from stationkeeper.workloads.serving.moments import Told
from stationkeeper.workloads.serving.slots import Collector, Names, Object
from stationkeeper.workloads.serving.state import Served
from stationkeeper.workloads.serving.uploads import Uploads

log = logging.getLogger(__name__)

BUFFER_BYTES: Final = 32 * 2**20
MAX_EXTRA: Final = 64  # unknown columns remembered of one request
_TOLD_BYTES: Final = 96  # of one time, as a string of Python's
_TICK: Final = 1.0


class Recording:
    """The `Recorder` of a serving pod: two threads, one that counts and one that writes."""

    def __init__(
        self,
        served: Served,
        policy: Capture,
        store: Store,
        metrics: Metrics,
        *,
        pod: str | None = None,
        clock: Callable[[], float] = time.time,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        names = Names(served.digest, pod_name() if pod is None else pod, secrets.randbits(32))
        self._collector = Collector(served, policy, names, metrics)
        self._uploads = Uploads(store, metrics)
        self._buffer = Buffer(buffer_bytes)
        self._metrics = metrics
        self._clock = clock
        self._ending = False
        self._unsaid = 0  # rows dropped since the log last said so
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Start both threads."""
        self._uploads.start()
        self._thread.start()

    def answered(
        self,
        request_id: str,
        arrived: float,
        columns: Columns,
        outputs: Columns,
        extra: Sequence[str],
        size: int,
        told: Told | None = None,
    ) -> None:
        """See `Recorder.answered`."""
        rows = len(next(iter(columns.values()), ()))
        # Arrays of one value cost more than the value: about a hundred bytes of header each.
        held = 512 + size + (128 + 16 * rows) * (len(columns) + len(outputs))
        held += 0 if told is None else _TOLD_BYTES * rows
        self._add(Answered(request_id, arrived, columns, outputs, tuple(extra[:MAX_EXTRA]), rows, held, told))

    def refused(
        self, arrived: float, missing: Sequence[str], mismatched: Sequence[str], rows: int, told: Told | None = None
    ) -> None:
        """See `Recorder.refused`."""
        held = 512 + 64 * (len(missing) + len(mismatched)) + (0 if told is None else _TOLD_BYTES * rows)
        self._add(Refused(arrived, tuple(missing), tuple(mismatched), rows, held, told))

    def close(self, seconds: float) -> bool:
        """Count and write what is left, within the time. True when no row was lost by it."""
        deadline = time.monotonic() + seconds
        self._ending = True
        self._buffer.wake()
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.error("capture did not finish counting within %.1f s", seconds)
        late = self._buffer.take()  # nobody counts any more
        self._drop(late, "dropped")
        return self._uploads.finish(max(0.0, deadline - time.monotonic())) and not late

    def _add(self, entry: Entry) -> None:
        if not self._buffer.add(entry):
            self._drop([entry], "dropped")
            self._unsaid += entry.rows

    def _run(self) -> None:
        while not self._ending:
            self._buffer.wait(self._patience())
            self._step()
        self._step()
        self._safely(self._collector.everything)

    def _patience(self) -> float:
        end = self._collector.next_end()
        return _TICK if end is None else min(_TICK, max(0.01, end - self._clock()))

    def _step(self) -> None:
        entries = self._buffer.take()
        self._metrics.buffered.set(sum(entry.size for entry in entries))
        if entries and not self._safely(lambda: self._collector.collect(entries)):
            self._drop(entries, "failed")
        self._safely(lambda: self._collector.due(self._clock()))
        if self._unsaid:
            lost, self._unsaid = self._unsaid, 0
            log.error("capture dropped %d rows: they arrive faster than they can be counted", lost)

    def _safely(self, work: Callable[[], list[Object]]) -> bool:
        try:
            self._uploads.add(work())
        except Exception:  # capture may lose rows, and counts them; it must not end while the pod serves
            log.exception("capture failed")
            return False
        return True

    def _drop(self, entries: Sequence[Entry], outcome: str) -> None:
        for entry in entries:
            self._metrics.profiled.labels(outcome).inc(entry.rows)
            if isinstance(entry, Answered):
                self._metrics.captured.labels(outcome).inc(entry.rows)


def pod_name() -> str:
    """The name of this pod, fit for a key."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", os.environ.get("HOSTNAME", ""))[:63] or "pod"
