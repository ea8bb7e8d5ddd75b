"""Columns that look broken beside what the serving revision learned: one never learns from a bug.

The checks are those of the drift engine's schema group, held to the same reference and to what stretches of it vary by, so that
what the world does to a column (a warm June, a new airline) is drift and passes. New rows are looked at day by day and together:
a feed that was broken for a day is one in sixty of the rows. Such a day is left out; where the rest is broken too, nothing is learned.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from stationkeeper.api.data import Data
from stationkeeper.api.driftpolicy import SchemaChecks
from stationkeeper.api.manifest import FILE_REFERENCE, ColumnKind, Manifest
from stationkeeper.api.report import Violation
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift import rowdata, schema
from stationkeeper.workloads.drift.collect import load_reference
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.rowdata import look, typed
from stationkeeper.workloads.training.blocks import Stretch, by_days
from stationkeeper.workloads.training.ending import invalid

log = logging.getLogger(__name__)

MIN_ROWS: Final = 500  # new rows: fewer show nothing
MAX_LEFT_OUT: Final = 0.2  # of the new rows: where more of them are broken, nothing is learned
MAX_DAYS: Final = 400  # that are looked at one by one; more are taken together ...
MAX_CHECKS: Final = 20_000  # ... and so are they where so many columns of all of them would be looked at
_ALPHA: Final = 0.001  # how often chance may refuse a training
_VANISHED: Final = 1e-6  # chance that a class is not drawn
_EXPECTED: Final = 30  # rows that a class would have had
_NAMED: Final = 3
_WHOLE: Final = SchemaChecks()
# Sensors fail for hours: one day of that harms nothing, a day of little else is a bug.
_DAY: Final = SchemaChecks(max_missing_increase=0.3)


@dataclass(frozen=True, slots=True)
class Sound:
    """Rows that may be learned from; how many were left out, and what people should know."""

    rows: pl.DataFrame
    left_out: int = 0
    notes: list[str] = field(default_factory=list)


def check_columns(rows: pl.DataFrame, data: Data, champion: Manifest | None, artifacts: Store) -> Sound:
    """Hold new rows to the serving revision's reference; days that are broken are left out while they are few.

    Args:
        rows: labelled rows of the window.
        data: what columns are for.
        champion: the serving revision; without one nothing is known.
        artifacts: the store with its reference.

    Raises:
        AttemptEnded: InvalidData with BrokenColumn.
        StoreError, ArtifactError: when the reference cannot be read.
    """
    if champion is None or FILE_REFERENCE not in champion.files:
        return Sound(rows)
    new, since = _new(rows, data, champion)
    if new.height < MIN_ROWS:
        return Sound(rows)
    reference = load_reference(artifacts, champion)
    assert reference is not None, "the manifest names one"
    check = _Check(data, champion, _used(reference, data.features, new))
    broken, accepted = check.days(new), data.validation.broken_columns == "Accept"
    lost = sum(day.rows.height for day, _ in broken)
    if accepted or lost > MAX_LEFT_OUT * new.height:
        days = [(f"the rows of {day.name}", violation) for day, violations in broken for violation in violations]
        return Sound(rows, notes=_judged([*check.whole(rows, new, since), *days], champion, accepted=accepted))
    kept, whole = (_without(frame, [day for day, _ in broken], data.timestamp) for frame in (rows, new))
    notes = _judged(check.whole(kept, whole, since), champion, accepted=False)
    return Sound(_numbers(kept, champion) if lost else kept, lost, [*notes, *([_left_out(broken, lost)] if lost else [])])


def _numbers(rows: pl.DataFrame, champion: Manifest) -> pl.DataFrame:
    """Numbers again, where the days that are left out had made text of a column."""
    for feature in champion.features:
        if feature.kind is ColumnKind.NUMERIC and rows.schema.get(feature.name) == pl.String:
            numbers = rows[feature.name].cast(pl.Float64, strict=False)
            if numbers.null_count() == rows[feature.name].null_count():
                rows = rows.with_columns(numbers)
    return rows


def _without(rows: pl.DataFrame, days: Sequence[Stretch], timestamp: str | None) -> pl.DataFrame:
    if timestamp is None or not days:
        return rows
    dates = pl.concat([day.rows[timestamp].dt.date().unique() for day in days])
    return rows.filter(~pl.col(timestamp).dt.date().is_in(dates.implode()))


Found = tuple[str, Violation]  # where, and what


def _judged(found: Sequence[Found], champion: Manifest, *, accepted: bool) -> list[str]:
    """What is to be said of broken columns.

    Raises:
        AttemptEnded: InvalidData with BrokenColumn, where they are not accepted.
    """
    said = f"beside what revision {champion.number} learned: {_told(found)}"
    if found and not accepted:
        raise invalid("BrokenColumn", f"the data looks broken {said}. Mend it, or set data.validation.brokenColumns: Accept")
    return [f"accepted although it looks broken {said}"] if found else []


def _left_out(broken: Sequence[tuple[Stretch, list[Violation]]], lost: int) -> str:
    more = f" and {len(broken) - _NAMED} more days" if len(broken) > _NAMED else ""
    named = ", ".join(day.name for day, _ in broken[:_NAMED])
    found = [(day.name, violation) for day, violations in broken for violation in violations]
    return f"{lost} rows of {named}{more} are left out, broken: {_told(found)}"


def _told(found: Sequence[Found]) -> str:
    """Each type and column once, where it was found first."""
    first: dict[tuple[str, str], Found] = {}
    for where, violation in found:
        first.setdefault((violation.type, violation.column), (where, violation))
    told = [f"{v.column} {v.observed} in {where} ({v.type}; expected {v.expected})" for where, v in list(first.values())[:_NAMED]]
    return "; ".join(told) + (f" and {len(first) - _NAMED} more" if len(first) > _NAMED else "")


def _new(rows: pl.DataFrame, data: Data, champion: Manifest) -> tuple[pl.DataFrame, str]:
    """The rows that the champion does not know, where time tells; and what to call them."""
    through = champion.data.through
    if data.timestamp is None or through is None:
        return rows, "all rows"
    return rows.filter(pl.col(data.timestamp) > through), f"the rows since {through:%Y-%m-%d %H:%M} UTC"


def _used(reference: ReferenceProfile, features: Sequence[str] | None, rows: pl.DataFrame) -> ReferenceProfile:
    """The part of the reference that this training learns; a column that is not there at all is told where features are chosen."""
    wanted = [c for c in reference.features if c.name in rows.columns and (features is None or c.name in features)]
    return reference.model_copy(update={"features": wanted})


@dataclass(frozen=True, slots=True)
class _Check:
    """New rows against one reference."""

    data: Data
    champion: Manifest
    reference: ReferenceProfile

    def days(self, rows: pl.DataFrame) -> list[tuple[Stretch, list[Violation]]]:
        """The days that are broken, each with what is."""
        if self.data.timestamp is None:
            return []
        most = min(MAX_DAYS, MAX_CHECKS // max(len(self.reference.features), 1))
        days = by_days(rows, self.data.timestamp, most)
        seen = [(day, self.violations(day.rows, _DAY, len(days))) for day in days]
        return [(day, violations) for day, violations in seen if violations]

    def whole(self, rows: pl.DataFrame, new: pl.DataFrame, name: str) -> list[Found]:
        """What is broken about all new rows together."""
        return [(name, violation) for violation in [*self.violations(new, _WHOLE), *self.vanished(rows, new)]]

    def violations(self, rows: pl.DataFrame, checks: SchemaChecks, samples: int = 1) -> list[Violation]:
        """What counts and rows show of one of so many samples."""
        alpha = _ALPHA / max(len(self.reference.features) * samples, 1)
        seen, whole = typed(rows, self.reference), frozenset(f.name for f in self.champion.features if f.integer)
        readable = self.reference.model_copy(update={"features": [c for c in self.reference.features if c.name in seen.columns]})
        profile = Profile.empty(readable.model_copy(update={"predictions": []}))
        profile.update(seen.columns, {})
        counted = schema.violations(profile, checks, alpha)
        looked = look(seen, self.reference, whole)
        return schema.united(counted, rowdata.violations(looked, self.reference, checks, alpha, whole))

    def vanished(self, rows: pl.DataFrame, new: pl.DataFrame) -> Iterator[Violation]:
        """Classes that the older rows have and the new ones, beyond chance, have not."""
        target, older = self.data.target, rows.height - new.height
        if older < MIN_ROWS or rows[target].dtype != pl.String or self.champion.target != target:
            return
        before, now = rows[target].value_counts(), set(new[target].unique().to_list())
        for label, count in before.sort(target).iter_rows():
            share = count / older
            if label not in now and share * new.height >= _EXPECTED and (1 - min(share, 1)) ** new.height < _VANISHED:
                observed = f"never is {label!r} in {new.height} rows"
                yield Violation(
                    type="baseline_drift", column=target, observed=observed, expected=f"{share:.1%}, as in the rows before"
                )
