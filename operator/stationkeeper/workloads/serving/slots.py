"""Rows of traffic gathered into slots of the wall clock, and slots into objects for the store. One thread, no I/O."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import polars as pl

from stationkeeper.api.base import parse_duration
from stationkeeper.api.serving import Capture
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.captured import is_sampled
from stationkeeper.workloads.artifacts.columns import Columns
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.serving import rows
from stationkeeper.workloads.serving.buffer import Answered, Entry, Refused
from stationkeeper.workloads.serving.metrics import Kind, Metrics
from stationkeeper.workloads.serving.state import Served

log = logging.getLogger(__name__)

LATE_SECONDS: Final = 0.5  # a request that arrives at the end of a slot is answered a little later
PART_BYTES: Final = 16 * 2**20  # of rows in memory; more of one slot go into several files
MAX_OPEN: Final = 64  # slots; only a clock that jumps could open more


@dataclass(frozen=True, slots=True)
class Object:
    """An object to be written once, under a name that nothing else has."""

    kind: Kind
    key: str
    data: bytes
    rows: int


@dataclass(slots=True)
class _Slot:
    profile: Profile | None  # None: the revision has no bins to count in
    frames: list[pl.DataFrame] = field(default_factory=list)
    bytes: int = 0


class Names:
    """Keys of one process: its random number tells its objects from those of a pod or container of the same name."""

    def __init__(self, digest: str, pod: str, nonce: int) -> None:
        self._digest = digest
        self._pod = pod
        self._next = nonce * 1_000_000

    def key(self, kind: Kind, slot: int) -> str:
        """A key that was not given before."""
        self._next += 1
        start = datetime.fromtimestamp(slot, UTC)
        make = keys.capture if kind is Kind.ROWS else keys.profile
        return make(self._digest, start, self._pod, self._next)


class Collector:
    """Gathers entries. `due` and `everything` hand out the objects of slots that have ended."""

    def __init__(self, served: Served, policy: Capture, names: Names, metrics: Metrics) -> None:
        self._served = served
        self._policy = policy
        self._names = names
        self._metrics = metrics
        self._seconds = int(parse_duration(policy.flush_interval).total_seconds())
        self._blank = Profile.empty(served.reference) if served.reference else None
        self._slots: dict[int, _Slot] = {}
        self._minute, self._stored = 0, 0

    def collect(self, entries: Iterable[Entry]) -> list[Object]:
        """Count entries into the slots of their arrival. Returns files of rows that became too large to wait."""
        groups: defaultdict[int, list[Entry]] = defaultdict(list)
        for entry in entries:
            groups[self._slot_of(entry.arrived)].append(entry)
        made: list[Object] = []
        for start, group in sorted(groups.items()):
            slot = self._slots.setdefault(start, _Slot(self._blank.fresh() if self._blank else None))
            for refused in (e for e in group if isinstance(e, Refused)):
                if slot.profile is not None:
                    slot.profile.refused(refused.missing, refused.mismatched, rows=refused.rows)
            if answered := [e for e in group if isinstance(e, Answered)]:
                self._count(slot, answered)
            if slot.bytes > PART_BYTES:
                made += self._rows(start, slot)
        return made

    def due(self, now: float) -> list[Object]:
        """Objects of the slots that ended before `now` (Unix time)."""
        ended = [start for start in sorted(self._slots) if start + self._seconds + LATE_SECONDS <= now]
        ended += sorted(self._slots)[len(ended) : max(len(ended), len(self._slots) - MAX_OPEN)]
        return [made for start in ended for made in self._close(start)]

    def everything(self) -> list[Object]:
        """Objects of all slots, ended or not."""
        return [made for start in sorted(self._slots) for made in self._close(start)]

    def next_end(self) -> float | None:
        """When the next slot is due; None when no slot is open."""
        return min(self._slots) + self._seconds + LATE_SECONDS if self._slots else None

    def _slot_of(self, arrived: float) -> int:
        return int(arrived // self._seconds) * self._seconds

    def _count(self, slot: _Slot, entries: Sequence[Answered]) -> None:
        """Rows of one slot into its profile and, those that are sampled, into its frames; either may fail by itself."""
        columns = rows.concatenated([e.columns for e in entries])
        outputs = rows.concatenated([e.outputs for e in entries])
        kept = [self._admitted(entry) for entry in entries]
        if slot.profile is not None:
            with self._counting_failure(Kind.PROFILE, sum(entry.rows for entry in entries)):
                self._profile(slot.profile, entries, columns, outputs)
        if any(kept):
            with self._counting_failure(Kind.ROWS, sum(kept)):
                served, rate = self._served, self._policy.sample_rate
                made = rows.frame(entries, columns, outputs, kept, served.manifest, served.digest, rate)
                slot.frames.append(made)
                slot.bytes += int(made.estimated_size())

    def _profile(self, profile: Profile, entries: Sequence[Answered], columns: Columns, outputs: Columns) -> None:
        profile.update(columns, outputs)
        for entry in entries:
            if entry.extra:
                profile.extra(entry.extra, entry.rows)  # noqa: S610 - nobody's SQL

    @contextmanager
    def _counting_failure(self, kind: Kind, count: int) -> Iterator[None]:
        """Capture may lose rows, and counts them; a failure of one part must not cost another."""
        try:
            yield
        except Exception:
            log.exception("capture lost %d rows of its %s", count, kind)
            self._metrics.of(kind).labels("failed").inc(count)

    def _admitted(self, entry: Answered) -> int:
        """How many rows of this entry are stored."""
        if not is_sampled(entry.request_id, self._policy.sample_rate):
            self._metrics.captured.labels("sampled_out").inc(entry.rows)
            return 0
        minute = int(entry.arrived // 60)
        if minute > self._minute:
            self._minute, self._stored = minute, 0
        admitted = max(0, min(entry.rows, self._policy.max_rows_per_minute - self._stored))
        self._stored += admitted
        if admitted < entry.rows:
            self._metrics.captured.labels("limited").inc(entry.rows - admitted)
        return admitted

    def _close(self, start: int) -> list[Object]:
        slot = self._slots.pop(start)
        made = self._rows(start, slot)
        if slot.profile is None:
            return made
        counted = slot.profile.rows + slot.profile.refused_rows
        with self._counting_failure(Kind.PROFILE, counted):
            made.append(Object(Kind.PROFILE, self._names.key(Kind.PROFILE, start), slot.profile.encode(), counted))
        return made

    def _rows(self, start: int, slot: _Slot) -> list[Object]:
        frames, slot.frames, slot.bytes = slot.frames, [], 0
        made: list[Object] = []
        if frames:
            count = sum(part.height for part in frames)
            with self._counting_failure(Kind.ROWS, count):
                made.append(Object(Kind.ROWS, self._names.key(Kind.ROWS, start), rows.parquet(frames), count))
        return made
