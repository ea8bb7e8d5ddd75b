"""Skew: traffic that never matched what the revision had just learned (SEMANTICS §8.11).

Drift is a world that moved after the training. Where traffic of the same days as the newest training rows differs from the first
judged window on, training and serving make their columns differently, or the training window holds other times: a retraining on the
same data would differ again. Whether it is that is decided once, by the window that makes M of N; from then on only what a group
shows after it has matched counts as drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stationkeeper.api.base import parse_duration
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import Cause
from stationkeeper.api.verdicts import CheckStatus, Verdict, WindowVerdict

Drifting = Literal["features", "predictions"]
GROUPS: tuple[Drifting, ...] = ("features", "predictions")


@dataclass(frozen=True)
class Origin:
    """What the serving revision had learned, and what else than skew explains a mismatch from its start."""

    through: datetime | None = None  # time of its newest training row
    moved: bool = False  # it answers a drift, or has served before: the world had moved when it began
    same_code: bool = False  # as the revision before: where that had matched, training and serving make columns alike


UNKNOWN = Origin()


def origin_of(record: ModelRevisionSpec | None, before: ModelRevisionSpec | None) -> Origin:
    """Where a serving revision comes from; `before` is the record of the one that served before it."""
    if record is None:
        return UNKNOWN
    again = before is not None and before.number > record.number
    moved = again or record.cause in (Cause.DRIFT, Cause.QUALITY)
    return Origin(record.data_through, moved, before is not None and before.template_digest == record.template_digest)


def healthy(check: CheckStatus) -> list[WindowVerdict]:
    """Windows whose data is not broken: what broke the others is neither drift nor skew."""
    return [window for window in check.windows if window.data != Verdict.BREACHED]


def counts(window: WindowVerdict, group: Drifting) -> bool:
    """Whether what a group showed counts: what breached while its thresholds were `Calibrating` is observed only."""
    return group not in window.calibrating


def marked(check: CheckStatus, spec: DriftPolicySpec, origin: Origin) -> CheckStatus:
    """The memory with what it shows of skew, which outlives the windows that showed it."""
    matched = {group: _first_match(check, group) for group in GROUPS}
    skewed = [g for g in GROUPS if g in check.skewed or (matched[g] is None and _is_skewed(check, spec, origin, g))]
    marks = {"features_matched": matched["features"], "predictions_matched": matched["predictions"], "skewed": skewed}
    return check.model_copy(update=marks)


def _first_match(check: CheckStatus, group: Drifting) -> datetime | None:
    passed = [window.start for window in healthy(check) if getattr(window, group) == Verdict.PASSED]
    known = matched_at(check, group)
    return min([*passed, *([known] if known else [])], default=None)


def _is_skewed(check: CheckStatus, spec: DriftPolicySpec, origin: Origin, group: Drifting) -> bool:
    breached = [window for window in healthy(check) if getattr(window, group) == Verdict.BREACHED and counts(window, group)]
    if origin.moved or check.drifted_before or (origin.same_code and group in check.matched_before):
        return False  # the world has moved
    if origin.through is None or len(breached) < spec.breach.windows:
        return False
    return breached[spec.breach.windows - 1].end - origin.through <= parse_duration(spec.skew_within)


def matched_at(check: CheckStatus, group: Drifting) -> datetime | None:
    """Start of the first window of the group that was as in the reference."""
    return check.features_matched if group == "features" else check.predictions_matched


def may_drift(check: CheckStatus, group: Drifting, windows: Sequence[WindowVerdict]) -> list[WindowVerdict]:
    """The windows that say something of drift: of a skewed group those since it matched."""
    since = matched_at(check, group)
    if group not in check.skewed:
        return list(windows)
    return [window for window in windows if since and window.start >= since]
