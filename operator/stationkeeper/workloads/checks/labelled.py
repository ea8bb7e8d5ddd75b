"""Windows of traffic and the labels that came for them later, read once in a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import polars as pl

from stationkeeper.api.base import parse_duration
from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.model import Labels
from stationkeeper.workloads.artifacts.captured import read_captured
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.checks.records import Records
from stationkeeper.workloads.checks.revision import Revision
from stationkeeper.workloads.checks.tiling import Tiling
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.quality.labels import Found, Joined, join, read_labels
from stationkeeper.workloads.quality.reading import keys_of

MAX_ROWS: Final = 100_000  # captured rows of a window whose labels are looked for
_KEYS: Final[dict[str, pl.DataType]] = {"request_id": pl.String(), "row": pl.Int64()}


@dataclass(frozen=True)
class Labelled:
    """The windows of a revision whose labels have matured, and those labels.

    A window is due once `lag` and grace have passed since its end, however early its labels came.
    """

    config: CheckConfig
    labels: Labels
    revision: Revision
    records: Records
    tiling: Tiling
    store: Store  # opened at `labels.uri`
    now: datetime

    @cached_property
    def due(self) -> list[Window]:
        """The newest windows whose labels have matured, oldest first."""
        try:
            matured = self.now - parse_duration(self.labels.lag)
        except OverflowError:  # a lag of millennia: nothing matures
            return []
        return self.tiling.closed(matured)

    @cached_property
    def pending(self) -> list[Window]:
        """Those that have no report on their labels."""
        return [window for window in self.due if not self.records.has(self.records.key(window, quality=True))]

    def captured(self, window: Window) -> pl.DataFrame | None:
        """The rows that were captured in a window.

        Raises:
            StoreError, MalformedArtifact: when they cannot be read.
        """
        return read_captured(self.revision.store, self.revision.digest, window.start, window.end, max_rows=MAX_ROWS)

    def joined(self, window: Window) -> Joined | None:
        """Captured rows with their labels; None when none were captured.

        Raises:
            MalformedLabels: when labels cannot be read as what the Model says of them.
            StoreError, MalformedArtifact: when something cannot be read.
        """
        rows = self.captured(window)
        return None if rows is None else join(rows, self._found, self.labels, as_of=self.now)

    @cached_property
    def newest(self) -> Joined | None:
        """The newest window that has enough labels, else the newest that has any: what estimates are held to.

        Raises:
            As `joined`.
        """
        check, few = self.config.policy_spec.quality, None
        self.read()
        for window in reversed(self._wanted):
            try:
                joined = self.joined(window)
            except MalformedArtifact:
                continue  # told where this window is judged
            if joined is None or not joined.counts.joined:
                continue
            if check is None or joined.counts.joined >= check.min_labels:
                return joined
            few = few or joined
        return few

    @cached_property
    def _wanted(self) -> list[Window]:
        """What labels are read for: windows without a report, and the newest with one."""
        open_ = self.pending
        judged = [window for window in self.due if window not in open_]
        return sorted([*open_, *judged[-1:]])

    def read(self) -> None:
        """Read the labels, so that what is wrong with them shows once.

        Raises:
            As `joined`.
        """
        assert self._found is not None

    @cached_property
    def _found(self) -> Found:
        """The labels of all those windows, in one pass: there are more objects of labels than windows."""
        wanted = self._wanted
        asked = pl.concat([pl.DataFrame(schema=_KEYS), *self._requests(wanted)])
        start = min((window.start for window in wanted), default=self.now)
        own = self.revision.store.uri("")
        return read_labels(self.store, self.labels, self.revision.manifest, asked, start, own)

    def _requests(self, windows: list[Window]) -> Iterator[pl.DataFrame]:
        for window in windows:
            try:
                rows = self.captured(window)
            except MalformedArtifact:
                continue  # told where this window is judged; the others go on
            if rows is not None:
                yield keys_of(rows)
