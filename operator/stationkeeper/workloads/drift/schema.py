"""Schema and data quality as a profile shows them: broken data, from which nobody should learn.

Rows that serving refused count here: a feed that lost a column shows nothing else than refusals. What only rows can show
(fractions, duplicates, units where the counts cannot tell) is in `rowchecks`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from stationkeeper.api.driftpolicy import SchemaChecks
from stationkeeper.api.report import Violation
from stationkeeper.workloads.drift import units
from stationkeeper.workloads.drift.calibration import calibrate, limit, ordinary
from stationkeeper.workloads.drift.grid import Ints
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import AnyReference, CategoricalReference, NumericReference
from stationkeeper.workloads.drift.statistics import compare
from stationkeeper.workloads.drift.variation import ColumnVariation

# Of the window's rows: a client that gets one request in a thousand wrong does not break the data of all others.
MIN_SHARE: Final = 0.01
MIN_VALUES: Final = 30  # fewer show no constant
_DOMINANT: Final = 0.8  # share of one value in the reference
_NAMED: Final = 5  # violations in a sentence
# What explains the others comes first: text where numbers were leaves nothing but missing values.
_CAUSES: Final = ("missing_column", "data_type", "unit_change")


def violations(profile: Profile, checks: SchemaChecks, alpha: float) -> list[Violation]:
    """Everything that breaks the schema in a window, features in the reference's order.

    `alpha` is how often chance alone may bring a violation of each type, for one column.
    """
    total = profile.rows + profile.refused_rows
    found: list[Violation] = []
    for column in profile.layout.reference.features:
        found += _refusals(profile, column, checks, total)
        if profile.rows:
            found += _values(profile, column, checks, alpha)
    if checks.extra_columns == "Breach":
        found += _extra(profile, total)
    return found


def united(counted: Sequence[Violation], rows: Sequence[Violation]) -> list[Violation]:
    """What counts and rows showed, each once: of one column and type the rows know more, they hold the values."""
    known = {(v.type, v.column): v for v in rows}
    first = [known.pop((v.type, v.column), v) for v in counted]
    return [*first, *known.values()]


def broken(found: Sequence[Violation]) -> str:
    """What broke the data, in one sentence; of each column the cause before what follows from it."""
    first = sorted(found, key=lambda v: v.type not in _CAUSES)
    named = ", ".join(f"{v.column} {v.observed} ({v.type})".removeprefix("* ") for v in first[:_NAMED])
    return f"broken data: {named}" + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")


def matters(rows: int, total: int) -> bool:
    """Whether so many wrong rows are more than the carelessness of single clients."""
    return rows > 0 and rows >= MIN_SHARE * total


def _refusals(profile: Profile, column: AnyReference, checks: SchemaChecks, total: int) -> Iterator[Violation]:
    missing, mismatched = profile.refused_of(column.name)
    if checks.missing_columns == "Breach" and matters(missing, total):
        observed = f"absent from {missing} of {total} rows"
        yield Violation(type="missing_column", column=column.name, observed=observed, expected="in every row")
    if checks.type_mismatch == "Breach" and matters(mismatched, total):
        observed = f"of another type in {mismatched} of {total} rows"
        yield Violation(type="data_type", column=column.name, observed=observed, expected=column.kind)


def _values(profile: Profile, column: AnyReference, checks: SchemaChecks, alpha: float) -> Iterator[Violation]:
    counts = profile.counts("features", column.name)
    variation = ordinary(profile.layout.reference.variation, "features", column.name, profile.rows)
    yield from _incomplete(column, counts, checks.max_missing_increase, alpha, variation)
    yield from unexpected(column, counts, checks, alpha)
    value = _only_value(column, counts)
    if checks.constant_columns == "Breach" and value is not None and varies(column, counts, alpha, variation):
        yield constant(column, value)
    if checks.unit_change == "Breach" and isinstance(column, NumericReference):
        power = units.power_of_counts(column, counts, units.Ordinary(alpha, variation))
        if power is not None:
            yield units.violation(column, power)


def _incomplete(
    column: AnyReference, counts: Ints, tolerance: float, alpha: float, variation: ColumnVariation | None
) -> Iterator[Violation]:
    # Sensors fail for hours: stretches of the reference itself may lack more than its average.
    tolerance = max(tolerance, variation.missing_rise if variation else 0.0)
    seen = _share(column, counts, [-1])
    if seen.rise > tolerance and seen.chance() < alpha:
        expected = f"at most {seen.usual + tolerance:.1%}, which is the reference's {seen.usual:.1%} and {tolerance:.1%}"
        yield Violation(type="completeness", column=column.name, observed=f"missing in {seen.now:.1%} of rows", expected=expected)


def unexpected(
    column: AnyReference, counts: Ints, checks: SchemaChecks, alpha: float, examples: Sequence[str] = ()
) -> Iterator[Violation]:
    """Values outside the range of all training rows, and categories that the reference does not name.

    Args:
        column: the reference.
        counts: of the window, in its bins; at least one row.
        checks: how large a share the policy allows beyond that of the reference.
        alpha: how often chance may bring as much.
        examples: unseen categories, where they are known.
    """
    if isinstance(column, NumericReference):
        seen, allowed = _share(column, counts, [0, -2]), checks.max_out_of_range_share
        if allowed is not None and seen.rise > allowed and seen.chance() < alpha:
            span = f"{column.minimum:.6g} to {column.maximum:.6g}" if column.cuts.size else "no value at all"
            observed, expected = f"outside the range in {seen.now:.1%} of rows", f"{span} in all but {allowed:.1%}"
            yield Violation(type="out_of_range", column=column.name, observed=observed, expected=expected)
        return
    seen, allowed = _share(column, counts, [-2]), checks.max_unseen_share
    if allowed is not None and seen.rise > allowed and seen.chance() < alpha:
        named = f", for example {', '.join(map(repr, examples))}" if examples else ""
        observed = f"of no category that the reference names in {seen.now:.1%} of rows{named}"
        expected = f"at most {seen.usual + allowed:.1%} beside its {len(column.categories)} categories"
        yield Violation(type="unseen_category", column=column.name, observed=observed, expected=expected)


def varies(column: AnyReference, counts: Ints, alpha: float, variation: ColumnVariation | None) -> bool:
    """Whether a column that holds one value only here would hold more in any stretch of the reference of this size.

    Seasons hold columns still: a month, a holiday. So a constant must be beyond chance and beyond the reference's own stretches,
    and is reckoned as one at the most usual value, from which it differs the least. A value that most rows have anyway is no fault.
    """
    seen, present = compare("TotalVariation", column, counts), int(counts[:-1].sum())
    *shares, missing = seen.shares or (1.0, 0.0)
    # Of the values that are there: one and the same value, or none, is no more than one value.
    most = max(shares) / (1 - missing) if missing < 1 else 1.0
    if present < MIN_VALUES or most > _DOMINANT:
        return False
    by_chance = most ** (present - 1)
    return by_chance < alpha and 1 - most > limit(calibrate(seen, alpha, variation))


def constant(column: AnyReference, value: str) -> Violation:
    """A column that holds one value only, in words."""
    kind = "varying numbers" if column.kind == "numeric" else "varying categories"
    return Violation(type="constant_column", column=column.name, observed=f"{value} in every row", expected=kind)


def _only_value(column: AnyReference, counts: Ints) -> str | None:
    """The one value that a column holds, as far as its bins can tell: most bins of numbers hold many."""
    met = np.flatnonzero(counts[:-1])
    if met.size != 1:
        return None
    at = int(met[0])
    if isinstance(column, CategoricalReference):
        return repr(column.categories[at]) if at < len(column.categories) else None
    borders = [*column.edges, column.top + 1]
    if not column.cuts.size or not 0 < at < len(borders) or borders[at] - borders[at - 1] > 1:
        return None
    return f"about {(column.cuts[at - 1] + column.cuts[at]) / 2:.3g}"


@dataclass(frozen=True, slots=True)
class Share:
    """Rows in some bins of a column, in the window and in the reference, with all rows of each."""

    counted: tuple[int, int]
    reference: tuple[int, int]

    @property
    def now(self) -> float:
        """The window's share."""
        return self.counted[0] / self.counted[1]

    @property
    def usual(self) -> float:
        """The reference's share."""
        return self.reference[0] / self.reference[1]

    @property
    def rise(self) -> float:
        """How much larger the window's is."""
        return self.now - self.usual

    def chance(self) -> float:
        """How often as many of the rows, or more, fall to the window by chance: Fisher's exact test, one-sided.

        Exact, because so few are the rule: the next window of any column holds a new maximum once in a while.
        """
        (b, m), (a, n) = self.counted, self.reference
        # The hypergeometric weight of b, and its ratio to the next: b is above the mean, so they fall.
        weight = math.exp(_ln_choose(m, b) + _ln_choose(n, a) - _ln_choose(m + n, a + b))
        total = 0.0
        while weight > total * 1e-9:
            total += weight
            weight *= (m - b) * a / ((b + 1) * (n - a + 1))
            a, b = a - 1, b + 1
        return total


def _ln_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _share(column: AnyReference, counts: Ints, bins: list[int]) -> Share:
    now, before = ((sum(int(sample[at]) for at in bins), int(sample.sum())) for sample in (counts, column.vector))
    return Share(now, before)


def _extra(profile: Profile, total: int) -> Iterator[Violation]:
    for name, rows in sorted(profile.extra_rows.items()):
        if matters(rows, total):
            observed = f"in {rows} of {total} rows"
            yield Violation(type="extra_column", column=name, observed=observed, expected="not a feature of the model")
    if matters(profile.unnamed_extra_rows, total):
        observed = f"too many to name, in up to {profile.unnamed_extra_rows} rows"
        yield Violation(type="extra_column", column="*", observed=observed, expected="not features of the model")
