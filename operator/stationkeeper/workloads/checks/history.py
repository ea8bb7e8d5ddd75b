"""The course of quality, from the reports that are there."""

from collections.abc import Sequence

from stationkeeper.api.report import DriftReport, QualityPoint
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.checks.records import Records
from stationkeeper.workloads.drift.windows import Window


class History:
    """What earlier windows scored: on labels where these have come, else as it was estimated. Each report is read once."""

    def __init__(self, records: Records, windows: Sequence[Window]) -> None:
        self._records = records
        self._windows = windows
        self._known: dict[str, QualityPoint | None] = {}

    def before(self, window: Window) -> list[QualityPoint]:
        """The points of earlier windows, oldest first.

        Raises:
            StoreError: when the store fails.
        """
        points = (self._point(earlier) for earlier in self._windows if earlier.start < window.start)
        return [point for point in points if point is not None]

    def _point(self, window: Window) -> QualityPoint | None:
        keys = (self._records.key(window, quality=True), self._records.key(window))
        key = next((key for key in keys if self._records.has(key)), None)
        if key is None:
            return None
        if key not in self._known:
            self._known[key] = self._read(key)
        return self._known[key]

    def _read(self, key: str) -> QualityPoint | None:
        try:
            report = self._records.read(key)
        except MalformedArtifact:
            return None  # told where its window is told
        return point(report)


def point(report: DriftReport) -> QualityPoint | None:
    """The score of a report's window; None where there is none."""
    whole = next((result for result in report.quality if result.segment is None and result.score), None)
    if whole is None or whole.score is None:
        return None
    return QualityPoint(start=report.start, method=whole.method, score=whole.score, skill=whole.skill)
