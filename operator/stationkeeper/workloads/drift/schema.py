"""Schema and completeness: broken data, from which nobody should learn.

Rows that serving refused count here: a feed that lost a column shows nothing else than refusals.
"""

from collections.abc import Iterator
from typing import Final

from stationkeeper.api.driftpolicy import SchemaChecks
from stationkeeper.api.report import Violation
from stationkeeper.workloads.drift.calibration import ordinary, share_increase_noise
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import AnyReference

# Of the window's rows: a client that gets one request in a thousand wrong does not break the data of all others.
MIN_SHARE: Final = 0.01


def violations(profile: Profile, checks: SchemaChecks, alpha: float) -> list[Violation]:
    """Everything that breaks the schema in a window, features in the reference's order.

    `alpha` is how often chance alone may bring a violation of completeness, for one column.
    """
    total = profile.rows + profile.refused_rows
    found: list[Violation] = []
    for column in profile.layout.reference.features:
        found += _refusals(profile, column, checks, total)
        found += _incomplete(profile, column, checks.max_missing_increase, alpha)
    if checks.extra_columns == "Breach":
        found += _extra(profile, total)
    return found


def _refusals(profile: Profile, column: AnyReference, checks: SchemaChecks, total: int) -> Iterator[Violation]:
    missing, mismatched = profile.refused_of(column.name)
    if checks.missing_columns == "Breach" and _matters(missing, total):
        observed = f"absent from {missing} of {total} rows"
        yield Violation(type="missing_column", column=column.name, observed=observed, expected="in every row")
    if checks.type_mismatch == "Breach" and _matters(mismatched, total):
        observed = f"of another type in {mismatched} of {total} rows"
        yield Violation(type="data_type", column=column.name, observed=observed, expected=column.kind)


def _incomplete(profile: Profile, column: AnyReference, tolerance: float, alpha: float) -> Iterator[Violation]:
    if not profile.rows:
        return
    counts, reference = profile.counts("features", column.name), column.vector
    now, before = (int(counts[-1]), profile.rows), (int(reference[-1]), int(reference.sum()))
    variation = ordinary(profile.layout.reference.variation, "features", column.name, profile.rows)
    # Sensors fail for hours: stretches of the reference itself may lack more than its average.
    tolerance = max(tolerance, variation.missing_rise if variation else 0.0)
    rise = now[0] / now[1] - before[0] / before[1]
    if rise > max(tolerance, share_increase_noise(before, now, alpha)):
        yield Violation(
            type="completeness",
            column=column.name,
            observed=f"missing in {now[0] / now[1]:.1%} of rows",
            expected=f"at most {before[0] / before[1] + tolerance:.1%}, which is the reference's {before[0] / before[1]:.1%} and {tolerance:.1%}",
        )


def _extra(profile: Profile, total: int) -> Iterator[Violation]:
    for name, rows in sorted(profile.extra_rows.items()):
        if _matters(rows, total):
            observed = f"in {rows} of {total} rows"
            yield Violation(type="extra_column", column=name, observed=observed, expected="not a feature of the model")
    if _matters(profile.unnamed_extra_rows, total):
        observed = f"too many to name, in up to {profile.unnamed_extra_rows} rows"
        yield Violation(type="extra_column", column="*", observed=observed, expected="not features of the model")


def _matters(rows: int, total: int) -> bool:
    return rows > 0 and rows >= MIN_SHARE * total
