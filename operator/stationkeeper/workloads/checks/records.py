"""Reports in the store: as JSON, written once, and as pages for people beside them.

The page is written after the JSON, from the JSON: what a run that died left out the next one makes good.
"""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from stationkeeper.api.base import canonical_json, format_time
from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.report.page import page

log = logging.getLogger(__name__)

MAX_BYTES: Final = 32 * 2**20
_QUALITY: Final = "quality/"
_EXTENTS: Final = "extents/"


def page_key(key: str) -> str:
    """The page beside a report."""
    return f"{key.removesuffix('.json')}.html"


class Records:
    """The reports of one policy, as it reads now, on one revision."""

    def __init__(self, store: Store, policy_uid: str, policy_digest: str, revision_digest: str) -> None:
        self._store = store
        self._of = (policy_uid, policy_digest, revision_digest)
        found = {info.key: info.modified for info in store.list(keys.checks(*self._of))}
        self._known, self._written = set(found), found

    def key(self, window: Window, *, quality: bool = False) -> str:
        """Where the report of a window is; with `quality` the one on its labels."""
        key = keys.check(*self._of, window.start, window.end)
        folder, _, name = key.rpartition("/")
        return f"{folder}/{_QUALITY}{name}" if quality else key

    def settle(self, window: Window) -> Window:
        """Decide once where the window ends that begins there; the end that stands is that of the first run that asked.

        Raises:
            MalformedArtifact: when what another run decided cannot be read.
        """
        key = keys.extent(*self._of, window.start)
        new = self._store.create(key, format_time(window.end).encode())
        self._known.add(key)
        return window if new else self._extent(key)

    def settled(self) -> list[Window]:
        """The windows whose ends were decided, or of which there are reports, oldest first.

        Raises:
            MalformedArtifact: when one cannot be read.
        """
        reported = {window.start: window for window in self.reported()}
        open_ = [key for key in self._known if f"/{_EXTENTS}" in key and keys.slot_start(key) not in reported]
        return sorted([*reported.values(), *map(self._extent, open_)])

    def judged(self) -> dict[Window, datetime]:
        """The windows that had a report when this run began, and when that was written by the store's clock."""
        return {window: self._written[self.key(window)] for window in self._reported() if self.key(window) in self._written}

    def reported(self) -> list[Window]:
        """The windows of which there are reports, oldest first."""
        return sorted(self._reported())

    def variation_key(self, survey: int) -> str:
        """Where it is kept what these windows differ by, as this survey found."""
        return keys.variation(*self._of, survey)

    def surveyed(self, most: int) -> int | None:
        """The newest survey of these windows, of so many at most; None where there was none."""
        return next((n for n in reversed(range(most)) if self.variation_key(n) in self._known), None)

    def variation(self, survey: int) -> bytes:
        """What a survey that is there found."""
        return self._store.get(self.variation_key(survey), max_bytes=MAX_BYTES)

    def keep_variation(self, survey: int, data: bytes) -> bytes:
        """Keep it once; what stands is that of the first run that wrote."""
        return data if self._store.create(self.variation_key(survey), data) else self.variation(survey)

    def _reported(self) -> Iterator[Window]:
        for key in self._known:
            if key.endswith(".json") and f"/{_QUALITY}" not in key:
                try:
                    yield Window(*keys.check_window(key))
                except ValueError:
                    log.warning("%s is not named like a report; it is ignored", self._store.uri(key))

    def _extent(self, key: str) -> Window:
        text = self._store.get(key, max_bytes=64).decode(errors="replace")
        try:
            window = Window(keys.slot_start(key), datetime.fromisoformat(text))
            if window.start < window.end:
                return window
        except (ValueError, TypeError):  # no time, or one without a zone
            pass
        raise MalformedArtifact(f"{self._store.uri(key)} says no time after its window's start but {text!r}; remove it")

    def has(self, key: str) -> bool:
        """Whether a report is there: it was when this run began, or has been written since."""
        return key in self._known

    def write(self, key: str, report: DriftReport) -> DriftReport:
        """Write a report and its page. When another run was first, what it wrote stands and is returned.

        Raises:
            MalformedArtifact: when that cannot be read.
        """
        if not self._store.create(key, canonical_json(report.model_dump(mode="json", by_alias=True))):
            report = self.read(key)
        self._known.add(key)
        self._draw(key, report)
        return report

    def read(self, key: str) -> DriftReport:
        """A report that is there; its page is drawn where it is missing.

        Raises:
            MalformedArtifact: when it is no report.
        """
        try:
            report = DriftReport.model_validate_json(self._store.get(key, max_bytes=MAX_BYTES))
        except ValidationError as error:
            raise MalformedArtifact(f"{self._store.uri(key)} is no report that this version can read: {error}") from error
        if page_key(key) not in self._known:
            self._draw(key, report)
        return report

    def uri(self, key: str) -> str:
        """The full address of a report or page."""
        return self._store.uri(key)

    def _draw(self, key: str, report: DriftReport) -> None:
        try:
            html = page(report).encode()
        except Exception:  # a page is for people: no verdict waits for it
            log.exception("the page of %s cannot be drawn", self._store.uri(key))
            return
        self._store.put(page_key(key), html)
        self._known.add(page_key(key))
