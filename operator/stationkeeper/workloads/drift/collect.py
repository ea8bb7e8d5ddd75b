"""The profiles of a window from the store, merged; and the reference that they were counted with."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Final

from stationkeeper.api.manifest import FILE_REFERENCE, Manifest
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.ahead import get_each
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.store import ObjectInfo, Store
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.windows import Window

log = logging.getLogger(__name__)

MAX_PROFILE_BYTES: Final = 16 * 2**20
MAX_LATE: Final = 1_000  # profiles that are read only to tell how many rows came too late
_NAMED: Final = 3  # damaged files in a message
_TOLERATED: Final = timedelta(seconds=30)  # between two clocks
_WRONG: Final = timedelta(days=1)


class UnreadableProfiles(Exception):  # noqa: N818 - says what was found
    """Some profiles of a window cannot be read; the message names them and says what to do."""


def load_reference(store: Store, manifest: Manifest) -> ReferenceProfile | None:
    """The reference profile of a revision; None of one that was made elsewhere and came without rows.

    Raises:
        MalformedArtifact: when any other manifest names none, or it cannot be read.
        DigestMismatch, NotFound: when the store holds another file, or none.
    """
    ref = manifest.files.get(FILE_REFERENCE)
    if ref is None and manifest.binding is not None:
        return None
    if ref is None:
        raise MalformedArtifact(
            f"revision {manifest.number} has no {FILE_REFERENCE}: there is nothing to compare with; retrain it"
        )
    return ReferenceProfile.decode(get_blob(store, ref))


def ahead(slots: Iterable[tuple[datetime, datetime]]) -> timedelta:
    """By how much a pod's clock, or what happened, is ahead of the store's, from the beginnings of flush intervals and when they were written."""
    gaps = (start - written for start, written in slots)
    return max((gap for gap in gaps if _TOLERATED < gap <= _WRONG), default=timedelta(0))


class Collector:
    """The profiles of one revision. Each day is listed once."""

    def __init__(self, store: Store, revision_digest: str, reference: ReferenceProfile) -> None:
        self._store = store
        self._digest = revision_digest
        self._empty = Profile.empty(reference)
        self._day = lru_cache(maxsize=None)(self._list_day)

    def empty(self) -> Profile:
        """The profile of no rows."""
        return self._empty.fresh()

    def collect(self, window: Window) -> Profile | None:
        """The merged profiles of the flush intervals that begin in the window; None when there are none.

        Raises:
            UnreadableProfiles: when one is damaged or of another revision, with the others' names too.
        """
        found = [info for _, info in self._slots(window)]
        return self._merged(found) if found else None

    def first(self, window: Window, rows: int) -> tuple[Profile, datetime]:
        """The first flush intervals of a window that hold so many rows together, and when the next one begins.

        All of the window when it holds fewer.

        Raises:
            UnreadableProfiles: when one of them is damaged.
        """
        total = self.empty()
        for start, slot in groupby(self._slots(window), key=itemgetter(0)):
            if total.rows >= rows:
                return total, start
            total = total.merge(self._merged([info for _, info in slot]))
        return total, window.end

    def came_after(self, window: Window, moment: datetime) -> int:
        """Rows of a window that were written after a moment by the store's clock, refused ones too, as far as they can be read."""
        late = [info for _, info in self._slots(window) if info.modified > moment]
        total, _ = self._empty.total(self._readable(late[:MAX_LATE]))
        return total.rows + total.refused_rows

    def _readable(self, found: Sequence[ObjectInfo]) -> Iterator[bytes]:
        for _, got in get_each(self._store, found, max_bytes=MAX_PROFILE_BYTES):
            with suppress(MalformedArtifact, NotFound):
                yield got.result()

    def ahead(self, window: Window) -> timedelta:
        """By how much the clocks of pods that wrote for the window are ahead of the store's; nothing where they are not.

        Flush intervals are written after they end. More than a day is no clock but a replay.
        """
        return ahead((start, info.modified) for start, info in self._slots(window))

    def _slots(self, window: Window) -> Iterator[tuple[datetime, ObjectInfo]]:
        for day in window.days():
            yield from (slot for slot in self._day(day) if slot[0] in window)

    def _merged(self, found: Sequence[ObjectInfo]) -> Profile:
        damaged: list[str] = []
        read: list[str] = []

        def refused(key: str, error: Exception) -> None:
            log.warning("cannot use %s: %s", self._store.uri(key), error)
            damaged.append(f"{self._store.uri(key)} ({error})")

        def contents() -> Iterator[bytes]:
            for info, got in get_each(self._store, found, max_bytes=MAX_PROFILE_BYTES):
                try:
                    data = got.result()
                except (MalformedArtifact, NotFound) as error:
                    refused(info.key, error)
                else:
                    read.append(info.key)
                    yield data

        total, wrong = self._empty.total(contents())
        for place, error in wrong.items():
            refused(read[place], error)
        if damaged:
            more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
            raise UnreadableProfiles(
                f"{len(damaged)} of {len(found)} profiles cannot be read: {', '.join(damaged[:_NAMED])}{more}; "
                "restore or remove them, and the report, to judge the window again"
            )
        return total

    def _list_day(self, day: datetime) -> list[tuple[datetime, ObjectInfo]]:
        entries = []
        for info in self._store.list(keys.profile_day(self._digest, day)):
            try:
                entries.append((keys.slot_start(info.key), info))
            except ValueError:
                log.warning("%s is not named like a profile; it is ignored", self._store.uri(info.key))
        return sorted(entries, key=lambda entry: (entry[0], entry[1].key))
