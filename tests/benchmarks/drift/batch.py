"""Many windows of one size at once: the verdicts of the drift check, in a hundredth of the time.

Statistics, thresholds and the sharing of the false-alarm rate are the engine's own; what depends on sizes alone is reckoned once for
all windows. `tests/unit/workloads/drift/test_false_alarms.py` holds the verdicts against those of `judge`, window by window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stationkeeper.api.driftpolicy import DriftPolicySpec, Test
from stationkeeper.workloads.drift import schema
from stationkeeper.workloads.drift.calibration import calibrate, level, limit
from stationkeeper.workloads.drift.columns import Check
from stationkeeper.workloads.drift.hysteresis import window_rate
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.statistics import MEASURES, compare, compare_blocks, fitting
from tests.benchmarks.drift.alarms import Array, Said

Key = tuple[str, str]  # group, column


@dataclass(frozen=True)
class Batch:
    """Windows of so many rows, and the reference (without timestamps) that they are compared with."""

    of: ReferenceProfile
    rows: int
    counts: Mapping[Key, Array]  # shape (windows, bins)
    _values: dict[Key, dict[Test, Array]] = field(default_factory=dict)
    _broken: dict[tuple[float, float], Array] = field(default_factory=dict)

    def profiles(self) -> list[Profile]:
        """The windows as the drift check reads them."""
        found = []
        for i in range(len(next(iter(self.counts.values())))):
            window = Profile.empty(self.of)
            window.vector[0] = self.rows
            for (group, name), counts in self.counts.items():
                window.counts(group, name)[:] = counts[i]
            found.append(window)
        return found

    def said(self, asked: DriftPolicySpec) -> list[Said]:
        """What a policy that asks the same of all columns says of each window."""
        checks = [Check("features", c, asked.features.default) for c in self.of.features]
        checks += [Check("predictions", c, asked.predictions) for c in self.of.predictions]
        every = len(checks) + len(self.of.features)
        rate = window_rate(asked)  # such rows know no weather
        over = np.stack([self._over(check, rate / every, len(checks)) for check in checks])
        broken = self._violations(asked, rate / every)
        return [self._of_window(asked, over[:, :, i], rate / every, bool(broken[i])) for i in range(over.shape[2])]

    def _of_window(self, asked: DriftPolicySpec, over: Array, least: float, broken: bool) -> Said:
        """`over` says of each check whether it breaches at one, two … times its least share of the rate."""
        breaches = over.sum(axis=0)
        if not breaches[-1]:
            return Said(broken, features=False, predictions=False)
        found = level(least, 1, lambda alpha: int(breaches[round(alpha / least) - 1]), len(over))
        breached, features = over[:, round(found / least) - 1], len(self.of.features)
        share = breached[:features].mean()
        drifted = bool(share and share >= asked.features.max_drifted_share)
        return Said(broken or bool(breached.any()), drifted, bool(breached[features:].any()))

    def _over(self, check: Check, alpha: float, levels: int) -> Array:
        """Whether the windows breach at so many levels, shape (levels, windows)."""
        key = check.group, check.column.name
        if key not in self._values:
            self._values[key] = compare_blocks(check.column, self.counts[key], check.column.vector[None, :])
        test = fitting(check.asked.test, check.column.kind)
        values, limits = self._values[key][test], np.empty((levels, len(self.counts[key])))
        compared = self.counts[key][:, :-1].sum(axis=1) if MEASURES[test].ordered else np.full(values.size, self.rows)
        effect = check.asked.min_effect if check.fits else None
        for size in np.unique(compared):
            same = compared == size
            one = replace(compare(test, check.column, self.counts[key][int(same.argmax())]), value=0.0)
            for i in range(levels):
                limits[i, same] = limit(calibrate(one, alpha * (i + 1), None, effect))
        found: Array = values > limits
        return found

    def _violations(self, asked: DriftPolicySpec, alpha: float) -> Array:
        least = asked.schema_.max_missing_increase, alpha
        if least not in self._broken:
            self._broken[least] = np.array([bool(schema.violations(w, asked.schema_, alpha)) for w in self.profiles()])
        return self._broken[least]
