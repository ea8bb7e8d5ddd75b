"""Which windows of a revision there are to judge: the tiles of time, or, of a model with little traffic, several taken together."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Protocol

from stationkeeper.api.base import parse_duration
from stationkeeper.api.jobs import CheckConfig, ConfigurationError
from stationkeeper.workloads.checks.records import Records
from stationkeeper.workloads.drift.collect import UnreadableProfiles
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.windows import MAX_BACK, Stretch, Window, closed, gathered


class Traffic(Protocol):
    """What a revision was asked, counted: by the pods that served it, or from the rows that they captured."""

    def collect(self, window: Window) -> Profile | None:
        """The counts of a window; None when nothing was captured of it."""
        ...

    def came_after(self, window: Window, moment: datetime) -> int:
        """Rows of a window that were written after a moment by the store's clock, as far as they can be read."""
        ...

    def ahead(self, window: Window) -> timedelta:
        """By how much the clocks of pods that wrote for the window are ahead of the store's."""
        ...


@dataclass
class Tiling:
    """The windows of one revision by one policy. A tile's profiles are read once in a run."""

    config: CheckConfig
    records: Records
    traffic: Traffic
    gathers: bool = True  # False: there is nothing yet that rows could be counted in, so no window may be settled
    _counted: dict[Window, Profile | None] = field(default_factory=dict)

    @property
    def most(self) -> timedelta | None:
        """How long a window may become; None where tiles are not taken together."""
        most = self.config.policy_spec.max_window if self.gathers else None
        return parse_duration(most) if most else None

    def stretches(self, now: datetime) -> list[Stretch]:
        """The newest windows whose grace is over, oldest first. Those that have got their rows are settled: they stay as they are.

        Raises:
            ConfigurationError: when the policy's window is no length.
            StoreError, MalformedArtifact: when the store fails, or holds what nobody wrote.
        """
        tiles = self._tiles(now)
        if self.most is None:
            return [Stretch(tile) for tile in tiles]
        enough, settled = self.config.policy_spec.min_samples, self.records.settled()
        found = list(gathered(tiles, settled, self._rows, enough, self.most))
        if found and found[-1].rows and self.config.until and found[-1].window.end >= self.config.until:
            found[-1] = replace(found[-1], whole=True)  # no more will come
        for stretch in found:
            if stretch.whole and stretch.window not in settled and self.records.settle(stretch.window) != stretch.window:
                return self.stretches(now)  # another run was first, and has seen other files
        return found

    def closed(self, at: datetime) -> list[Window]:
        """The newest windows whose grace was over at a time, as far as they are settled."""
        tiles = self._tiles(at)
        if self.most is None or not tiles:
            return tiles
        return [window for window in self.records.settled() if tiles[0].start < window.end <= tiles[-1].end]

    def collect(self, window: Window) -> Profile | None:
        """The traffic of a window; None when there is none.

        Raises:
            UnreadableProfiles: when some of it is damaged.
        """
        parts = [part for tile, part in self._counted.items() if window.start <= tile.start and tile.end <= window.end]
        if not parts or len(parts) * self._length != window.end - window.start:
            return self.traffic.collect(window)
        found = [part for part in parts if part]
        return reduce(Profile.merge, found) if found else None

    @property
    def _length(self) -> timedelta:
        return parse_duration(self.config.policy_spec.window)

    def _tiles(self, at: datetime) -> list[Window]:
        config, policy = self.config, self.config.policy_spec
        try:
            back = max(MAX_BACK, 2 * (self.most // self._length)) if self.most else MAX_BACK
            return closed(config.since, at, self._length, parse_duration(policy.grace), until=config.until, limit=back)
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            raise ConfigurationError(f"policy {config.policy}: window {policy.window!r}: {error}") from error

    def _rows(self, tile: Window) -> int:
        """Rows that a tile holds, refused ones too: they are evidence. One that cannot be read ends its window, which is refused."""
        try:
            found = self._counted[tile] = self.traffic.collect(tile)
        except UnreadableProfiles:
            return self.config.policy_spec.min_samples
        return found.rows + found.refused_rows if found else 0
