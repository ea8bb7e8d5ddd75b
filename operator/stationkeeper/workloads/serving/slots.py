"""Rows of traffic gathered into slots of the wall clock, and slots into objects for the store. One thread, no I/O.

A slot holds what arrived in it and is written when it has ended, under its own name. Where requests say when their rows happened
(`capture.eventTime`), it is written in parts, each under the minute that its rows happened in: windows are whole minutes.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

import numpy as np
import polars as pl

from stationkeeper.api.base import parse_duration
from stationkeeper.api.serving import Capture
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.captured import is_sampled
from stationkeeper.workloads.artifacts.columns import Array, Columns
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.serving import rows
from stationkeeper.workloads.serving.buffer import Answered, Entry, Refused
from stationkeeper.workloads.serving.metrics import Kind, Metrics
from stationkeeper.workloads.serving.moments import SOURCES, Ints, Moments, moments
from stationkeeper.workloads.serving.state import Served

log = logging.getLogger(__name__)

EntryT = TypeVar("EntryT", Answered, Refused)

LATE_SECONDS: Final = 0.5  # a request that arrives at the end of a slot is answered a little later
PART_BYTES: Final = 16 * 2**20  # of rows in memory; more of one slot go into several files
MAX_OPEN: Final = 64  # slots; only a clock that jumps could open more
MAX_OPEN_PARTED: Final = 4  # of those that are written in parts
MINUTES_BYTES: Final = 16 * 2**20  # of the profiles of one slot, one for each minute that its rows happened in
MIN_MINUTES, MAX_MINUTES = 64, 1536  # of one slot, whatever a profile takes; a day has 1,440


@dataclass(frozen=True, slots=True)
class Object:
    """An object to be written once, under a name that nothing else has."""

    kind: Kind
    key: str
    data: bytes
    rows: int


@dataclass(slots=True)
class _Slot:
    """What arrived in an interval."""

    profiles: dict[int, Profile] = field(default_factory=dict)  # by the name that they are written under
    frames: list[pl.DataFrame] = field(default_factory=list)
    bytes: int = 0
    names: set[int] = field(default_factory=set)


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
        self._most = _most_minutes(self._blank)
        if policy.event_time is not None:
            for source in SOURCES:
                metrics.event_times.labels(source.value)

    def collect(self, entries: Iterable[Entry]) -> list[Object]:
        """Count entries into the slots of their arrival. Returns files of rows that became too large to wait."""
        groups: defaultdict[int, list[Entry]] = defaultdict(list)
        for entry in entries:
            groups[self._slot_of(entry.arrived)].append(entry)
        made: list[Object] = []
        for start, group in sorted(groups.items()):
            slot = self._slots.setdefault(start, _Slot())
            if refused := [e for e in group if isinstance(e, Refused)]:
                self._refuse(start, slot, refused)
            if answered := [e for e in group if isinstance(e, Answered)]:
                self._count(start, slot, answered)
            if slot.bytes > PART_BYTES:
                made += self._rows(start, slot)
        return made

    def due(self, now: float) -> list[Object]:
        """Objects of the slots that ended before `now` (Unix time)."""
        ended = [start for start in sorted(self._slots) if start + self._seconds + LATE_SECONDS <= now]
        most = MAX_OPEN if self._policy.event_time is None else MAX_OPEN_PARTED
        ended += sorted(self._slots)[len(ended) : max(len(ended), len(self._slots) - most)]
        return [made for start in ended for made in self._close(start)]

    def everything(self) -> list[Object]:
        """Objects of all slots, ended or not."""
        return [made for start in sorted(self._slots) for made in self._close(start)]

    def next_end(self) -> float | None:
        """When the next slot is due; None when no slot is open."""
        return min(self._slots) + self._seconds + LATE_SECONDS if self._slots else None

    def _slot_of(self, arrived: float) -> int:
        return int(arrived // self._seconds) * self._seconds

    def _refuse(self, start: int, slot: _Slot, entries: Sequence[Refused]) -> None:
        if self._blank is None:
            return
        times = self._moments(slot, entries)
        for entry, span in _spans(entries):
            for name, count in [(start, entry.rows)] if times is None else times.tally(span):
                self._profile(slot, name).refused(entry.missing, entry.mismatched, rows=count)

    def _count(self, start: int, slot: _Slot, entries: Sequence[Answered]) -> None:
        """Rows of one slot into its profiles and, those that are sampled, into its frames; either may fail by itself."""
        columns = rows.concatenated([e.columns for e in entries])
        outputs = rows.concatenated([e.outputs for e in entries])
        kept = [self._admitted(entry) for entry in entries]
        times = self._moments(slot, entries)
        if self._blank is not None:
            self._profiled(start, slot, entries, columns, outputs, times)
        if any(kept):
            with self._counting_failure(Kind.ROWS, sum(kept)):
                served, rate = self._served, self._policy.sample_rate
                made = rows.frame(entries, columns, outputs, kept, served.manifest, served.digest, rate, times)
                slot.frames.append(made)
                slot.bytes += int(made.estimated_size())

    def _moments(self, slot: _Slot, entries: Sequence[Entry]) -> Moments | None:
        """When rows happened, and in no more minutes than one slot may hold; None where nobody asked."""
        if self._policy.event_time is None:
            return None
        counts = [entry.rows for entry in entries]
        arrived = np.repeat(np.array([round(entry.arrived * 1e6) for entry in entries], dtype=np.int64), counts)
        found = moments([entry.told for entry in entries], counts, arrived)
        new = [(count, minute) for minute, count in found.tally() if minute not in slot.names]
        if len(slot.names) + len(new) > self._most:
            new = sorted(new, reverse=True)[: max(0, self._most - len(slot.names))]  # those with the most rows
            allowed = [*slot.names, *(minute for _, minute in new)]
            found = found.by_arrival(~np.isin(found.minutes, allowed), arrived)
        slot.names.update(np.unique(found.minutes).tolist())
        for source, count in found.told().items():
            self._metrics.event_times.labels(source.value).inc(count)
        return found

    def _profiled(
        self, start: int, slot: _Slot, entries: Sequence[Answered], columns: Columns, outputs: Columns, times: Moments | None
    ) -> None:
        count = sum(entry.rows for entry in entries)
        for name, chosen in [(start, None)] if times is None else times.parts():
            with self._counting_failure(Kind.PROFILE, count if chosen is None else len(chosen)):
                self._profile(slot, name).update(_taken(columns, chosen), _taken(outputs, chosen))
        for entry, span in _spans(entries):
            if entry.extra:
                for name, number in [(start, entry.rows)] if times is None else times.tally(span):
                    self._profile(slot, name).extra(entry.extra, number)  # noqa: S610 - nobody's SQL

    def _profile(self, slot: _Slot, name: int) -> Profile:
        assert self._blank is not None
        if name not in slot.profiles:
            slot.profiles[name] = self._blank.fresh()
        return slot.profiles[name]

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
        for name, profile in sorted(slot.profiles.items()):
            counted = profile.rows + profile.refused_rows
            with self._counting_failure(Kind.PROFILE, counted):
                made.append(Object(Kind.PROFILE, self._names.key(Kind.PROFILE, name), profile.encode(), counted))
        return made

    def _rows(self, start: int, slot: _Slot) -> list[Object]:
        frames, slot.frames, slot.bytes = slot.frames, [], 0
        made: list[Object] = []
        parts: list[tuple[int, pl.DataFrame]] = []
        if frames:
            with self._counting_failure(Kind.ROWS, sum(part.height for part in frames)):
                whole = pl.concat(frames, rechunk=True)
                parts += rows.minutes(whole) if self._policy.event_time else [(start, whole)]
        for name, part in parts:
            with self._counting_failure(Kind.ROWS, part.height):
                made.append(Object(Kind.ROWS, self._names.key(Kind.ROWS, name), rows.parquet(part), part.height))
        return made


def _most_minutes(blank: Profile | None) -> int:
    held = MAX_MINUTES if blank is None else MINUTES_BYTES // max(1, blank.vector.nbytes)
    return min(MAX_MINUTES, max(MIN_MINUTES, held))


def _spans(entries: Iterable[EntryT]) -> Iterator[tuple[EntryT, slice]]:
    """Each entry, and where its rows are among those of all."""
    at = 0
    for entry in entries:
        yield entry, slice(at, at + entry.rows)
        at += entry.rows


def _taken(columns: Columns, chosen: Ints | None) -> Mapping[str, Array]:
    return columns if chosen is None else {name: values[chosen] for name, values in columns.items()}
