"""Columns that look broken beside what the serving revision learned: one never learns from a bug.

The checks are those of the drift engine's schema group, held to the same reference and to what stretches of it vary by, so that
what the world does to a column (a warm June, a new airline) is drift and passes. New rows are looked at together and day by day:
a feed that was broken for a day is one in sixty of the rows.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from stationkeeper.api.driftpolicy import SchemaChecks
from stationkeeper.api.manifest import FILE_REFERENCE, Manifest
from stationkeeper.api.report import Violation
from stationkeeper.api.training import Data
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift import rowdata, schema
from stationkeeper.workloads.drift.collect import load_reference
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.rowdata import Typed, look, typed
from stationkeeper.workloads.training.ending import invalid

log = logging.getLogger(__name__)

MIN_ROWS: Final = 500  # of new rows, or of a day: fewer show nothing
MAX_DAYS: Final = 400  # that are looked at one by one: the newest ...
MAX_CHECKS: Final = 20_000  # ... and so many columns of all of them together
_ALPHA: Final = 0.001  # how often chance may refuse a training
_VANISHED: Final = 1e-6  # chance that a class is not drawn
_EXPECTED: Final = 30  # rows that a class would have had
_NAMED: Final = 3
_WHOLE: Final = SchemaChecks()
_DAY: Final = SchemaChecks(
    max_missing_increase=0.5
)  # sensors fail for hours: one day of that harms nothing, a day of nothing is a bug


def check_columns(rows: pl.DataFrame, data: Data, champion: Manifest | None, artifacts: Store) -> list[str]:
    """Hold new rows to the serving revision's reference.

    Args:
        rows: labelled rows of the window.
        data: what columns are for.
        champion: the serving revision; without one nothing is known.
        artifacts: the store with its reference.

    Returns:
        What people should know, where the spec accepts it.

    Raises:
        AttemptEnded: InvalidData with BrokenColumn.
        StoreError, ArtifactError: when the reference cannot be read.
    """
    if champion is None or FILE_REFERENCE not in champion.files:
        return []
    new, since = _new(rows, data, champion)
    if new.height < MIN_ROWS:
        return []
    reference = _used(load_reference(artifacts, champion), data.features, new)
    most = min(MAX_DAYS, MAX_CHECKS // max(len(reference.features), 1))
    samples = [(since, new, _WHOLE), *((name, day, _DAY) for name, day in _days(new, data.timestamp, most))]
    alpha = _ALPHA / max(len(reference.features) * len(samples), 1)
    whole = frozenset(feature.name for feature in champion.features if feature.integer)
    found: dict[tuple[str, str], tuple[str, Violation]] = {}
    for name, sample, checks in samples:
        for violation in _violations(sample, reference, checks, alpha, whole):
            found.setdefault((violation.type, violation.column), (name, violation))
    if champion.target == data.target:
        for violation in _vanished(rows, new, data.target):
            found.setdefault((violation.type, violation.column), (since, violation))
    return _answer(list(found.values()), champion, data) if found else []


def _answer(found: Sequence[tuple[str, Violation]], champion: Manifest, data: Data) -> list[str]:
    told = [f"{v.column} {v.observed} in {where} ({v.type}; expected {v.expected})" for where, v in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    said = f"beside what revision {champion.number} learned: {'; '.join(told)}{more}"
    if data.validation.broken_columns == "Accept":
        return [f"accepted although it looks broken {said}"]
    raise invalid("BrokenColumn", f"the data looks broken {said}. Mend it, or set data.validation.brokenColumns: Accept")


def _new(rows: pl.DataFrame, data: Data, champion: Manifest) -> tuple[pl.DataFrame, str]:
    """The rows that the champion does not know, where time tells; and what to call them."""
    through = champion.data.through
    if data.timestamp is None or through is None:
        return rows, "all rows"
    return rows.filter(pl.col(data.timestamp) > through), f"the rows since {through:%Y-%m-%d %H:%M} UTC"


def _days(rows: pl.DataFrame, timestamp: str | None, most: int) -> Iterator[tuple[str, pl.DataFrame]]:
    if timestamp is None:
        return
    days = rows.with_columns(pl.col(timestamp).dt.date().alias("_day")).partition_by("_day", maintain_order=True)
    for day in days[-most:]:
        if day.height >= MIN_ROWS:
            yield f"the rows of {day['_day'][0]}", day


def _used(reference: ReferenceProfile, features: Sequence[str] | None, rows: pl.DataFrame) -> ReferenceProfile:
    """The part of the reference that this training learns; a column that is not there at all is told where features are chosen."""
    wanted = [c for c in reference.features if c.name in rows.columns and (features is None or c.name in features)]
    return reference.model_copy(update={"features": wanted})


def _violations(
    rows: pl.DataFrame, reference: ReferenceProfile, checks: SchemaChecks, alpha: float, whole: frozenset[str]
) -> list[Violation]:
    """What counts and rows show of a sample."""
    seen = typed(rows, reference)
    readable = reference.model_copy(update={"features": [c for c in reference.features if c.name in seen.columns]})
    counted = schema.violations(_counts(seen, readable), checks, alpha)
    return schema.united(counted, rowdata.violations(look(seen, reference, whole), reference, checks, alpha, whole))


def _counts(rows: Typed, reference: ReferenceProfile) -> Profile:
    none = Profile.empty(reference.model_copy(update={"predictions": []}))
    profile = none.fresh()
    profile.update(rows.columns, {})
    return profile


def _vanished(rows: pl.DataFrame, new: pl.DataFrame, target: str) -> Iterator[Violation]:
    """Classes that the older rows have and the new ones, beyond chance, have not."""
    older = rows.height - new.height
    if older < MIN_ROWS or rows[target].dtype != pl.String:
        return
    before, now = rows[target].value_counts(), set(new[target].unique().to_list())
    for label, count in before.sort(target).iter_rows():
        share = count / older
        if label not in now and share * new.height >= _EXPECTED and (1 - min(share, 1)) ** new.height < _VANISHED:
            observed = f"never is {label!r} in {new.height} rows"
            yield Violation(
                type="baseline_drift", column=target, observed=observed, expected=f"{share:.1%}, as in the rows before"
            )
