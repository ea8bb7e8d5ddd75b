"""What rows show of the data's quality beyond their counts: types, fractions, constants, units, duplicates, unseen values by name."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.driftpolicy import SchemaChecks
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.api.report import Violation
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.drift import schema, units
from stationkeeper.workloads.drift.bins import AnyReference, CategoricalReference, NumericReference
from stationkeeper.workloads.drift.calibration import ordinary
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.variation import ColumnVariation

MIN_WHOLE: Final = 100  # values of the reference that must all be whole before fractions are strange
_NAMED: Final = 3  # examples
_LENGTH: Final = 40  # characters of an example

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Typed:
    """Rows as columns (`artifacts.columns`), as far as they can be read; the others by name, with the reason."""

    rows: int
    columns: dict[str, Array] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    misread: dict[str, int] = field(default_factory=dict)  # values of a column that came as text and are no numbers


def typed(rows: pl.DataFrame, reference: ReferenceProfile) -> Typed:
    """Read every feature of the reference as its kind; one that cannot be read does not hold up the others."""
    found = Typed(rows.height)
    for column in reference.features:
        frame = rows
        if column.kind == "numeric" and rows.schema.get(column.name) == pl.String:
            numbers = rows[column.name].cast(pl.Float64, strict=False)
            found.misread[column.name] = numbers.null_count() - rows[column.name].null_count()
            frame = numbers.to_frame()
        try:
            found.columns[column.name] = from_frame(frame, [Column(name=column.name, kind=_kind(column))])[column.name]
        except ColumnError as error:
            found.unread[column.name] = str(error)
    return found


def _kind(column: AnyReference) -> ColumnKind:
    if isinstance(column, NumericReference):
        return ColumnKind.NUMERIC
    return ColumnKind.BOOLEAN if {*column.categories} <= {"true", "false"} else ColumnKind.CATEGORICAL


def violations(
    rows: Typed, reference: ReferenceProfile, checks: SchemaChecks, alpha: float, whole: frozenset[str]
) -> list[Violation]:
    """Everything that breaks schema and quality in these rows, features in the reference's order.

    Args:
        rows: of the window; at least one.
        reference: what they are compared with.
        checks: what the policy asks for.
        alpha: how often chance alone may bring a violation of each type, for one column.
        whole: the numeric features of which only whole numbers are known.
    """
    found: list[Violation] = []
    for column in reference.features:
        if column.name not in rows.columns:
            found += _unread(rows, column, checks)
            continue
        values = rows.columns[column.name]
        variation = ordinary(reference.variation, "features", column.name, rows.rows)
        if checks.type_mismatch == "Breach":
            found += _types(rows, column, values, fractions=column.name in whole)
        found += _values(column, values, checks, alpha, variation)
    return found + list(_duplicates(rows, checks))


def whole_numbers(sample: Typed) -> frozenset[str]:
    """The numeric columns of a sample of the reference that hold whole numbers only."""
    return frozenset(name for name, values in sample.columns.items() if values.dtype.kind == "f" and _is_whole(values))


def _is_whole(values: Array) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size >= MIN_WHOLE and (finite == np.floor(finite)).all())


def _unread(rows: Typed, column: AnyReference, checks: SchemaChecks) -> Iterator[Violation]:
    why = rows.unread[column.name].partition(": ")[2]
    if why == "is missing":
        if checks.missing_columns == "Breach":
            yield Violation(type="missing_column", column=column.name, observed="absent from all rows", expected="in every row")
    elif checks.type_mismatch == "Breach":
        yield Violation(type="data_type", column=column.name, observed=why, expected=column.kind)


def _types(rows: Typed, column: AnyReference, values: Array, *, fractions: bool) -> Iterator[Violation]:
    misread = rows.misread.get(column.name, 0)
    if schema.matters(misread, rows.rows):
        observed = f"text that is no number in {misread} of {rows.rows} rows"
        yield Violation(type="data_type", column=column.name, observed=observed, expected="numbers")
    if fractions:
        broken = values[np.isfinite(values) & (values != np.floor(values))]
        if schema.matters(broken.size, rows.rows):
            observed = f"fractions in {broken.size} of {rows.rows} rows, for example {broken[0]:.6g}"
            yield Violation(type="data_type", column=column.name, observed=observed, expected="whole numbers")
    elif isinstance(column, CategoricalReference):
        known = {f"{name}.0": name for name in column.categories if name.lstrip("-").isdigit()}
        floats = Counter(v for v in values.tolist() if v in known and v not in column.lookup)
        if schema.matters(floats.total(), rows.rows):
            first = floats.most_common(1)[0][0]
            observed = f"{first!r} for {known[first]!r}, and such like, in {floats.total()} of {rows.rows} rows"
            yield Violation(type="data_type", column=column.name, observed=observed, expected="categories of whole numbers")


def _values(
    column: AnyReference, values: Array, checks: SchemaChecks, alpha: float, variation: ColumnVariation | None
) -> Iterator[Violation]:
    counts = np.bincount(column.index(values), minlength=column.bins)
    yield from schema.unexpected(column, counts, checks, alpha, _unseen(column, values))
    if checks.constant_columns == "Breach" and (value := _only(values)) and schema.varies(column, counts, alpha, variation):
        yield schema.constant(column, value)
    if checks.unit_change == "Breach" and isinstance(column, NumericReference):
        power = units.power_of_values(column, values, units.Ordinary(alpha, variation))
        if power is not None:
            yield units.violation(column, power)


def _unseen(column: AnyReference, values: Array) -> list[str]:
    """The most frequent categories that the reference does not name."""
    if isinstance(column, NumericReference):
        return []
    unknown = Counter(value for value in values.tolist() if value not in column.lookup)
    return [value[:_LENGTH] for value, _ in unknown.most_common(_NAMED)]


def _only(values: Array) -> str | None:
    """The one value of a column that is not missing, in words; None when there are none or several."""
    if values.dtype.kind == "f":
        known = np.unique(values[~np.isnan(values)])
        return f"{known[0]:.6g}" if known.size == 1 else None
    named = {value for value in values.tolist() if value is not None}
    return repr(named.pop()[:_LENGTH]) if len(named) == 1 else None


def _duplicates(rows: Typed, checks: SchemaChecks) -> Iterator[Violation]:
    if checks.max_duplicate_share is None or rows.unread or not rows.columns:
        return  # without every column rows look more alike than they are
    types = {name: pl.Float64 if values.dtype.kind == "f" else pl.String for name, values in rows.columns.items()}
    share = 1 - pl.DataFrame(dict(rows.columns), schema=types).n_unique() / rows.rows
    if share > checks.max_duplicate_share:
        expected = f"at most {checks.max_duplicate_share:.1%}"
        yield Violation(type="duplicate_rows", column="*", observed=f"{share:.1%} of rows repeat another", expected=expected)
