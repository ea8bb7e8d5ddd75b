"""What rows show of the data's quality beyond their counts: types, fractions, constants, units, duplicates, unseen values by name.

Each column is looked at alone (`Seen`), part by part, so that all rows of a file are looked at and none is kept; duplicates alone need
whole rows.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
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
from stationkeeper.workloads.drift.grid import Floats, Ints
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.variation import ColumnVariation

MIN_WHOLE: Final = 100  # values that must all be whole before fractions are strange, or their absence
_FRACTIONS: Final = 0.5  # share of the reference's numbers: where most are fractions, whole numbers alone are strange
_NAMED: Final = 3  # examples
_LENGTH: Final = 40  # characters of an example
UNKNOWN: Final = 1_000  # unseen words that are counted: of more, the most frequent
_THINNED: Final = 20_000  # numbers that are kept of a column, half as many at least where there are more

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
            found.columns[column.name] = from_frame(frame, [Column(name=column.name, kind=kind_of(column))])[column.name]
        except ColumnError as error:
            found.unread[column.name] = str(error)
    return found


def kind_of(column: AnyReference) -> ColumnKind:
    """How the values of a reference's column are read."""
    if isinstance(column, NumericReference):
        return ColumnKind.NUMERIC
    # Without any category it is text of which no word is frequent, such as a key.
    named = {*column.categories}
    return ColumnKind.BOOLEAN if named and named <= {"true", "false"} else ColumnKind.CATEGORICAL


@dataclass(frozen=True, slots=True)
class Thinned:
    """Every so many of the finite numbers of a column, in their order."""

    values: Floats
    every: int = 1  # a power of two, so that parts can be thinned alike

    @classmethod
    def of(cls, values: Floats) -> "Thinned":
        """As many of these as are kept."""
        every = 1
        while values.size > _THINNED * every:
            every *= 2
        kept = values[::every]
        return cls(kept[np.isfinite(kept)], every)

    def __add__(self, other: "Thinned") -> "Thinned":
        if not self.values.size:
            return other
        every = max(self.every, other.every)
        values = np.concatenate([part.values[:: every // part.every] for part in (self, other)])
        while values.size > _THINNED:
            values, every = values[::2], every * 2
        return Thinned(values, every)


@dataclass(frozen=True, slots=True)
class Seen:
    """What some rows show of one column of a reference. Two of them add up to that of all their rows."""

    counts: Ints  # in the bins of the reference
    misread: int = 0  # texts that are no numbers
    fractions: int = 0  # numbers that are not whole ...
    fraction: float | None = None  # ... and the first of them
    infinite: int = 0  # numbers beyond the reference's range that are infinite
    numbers: Thinned = field(default_factory=lambda: Thinned(np.empty(0)))
    unknown: Mapping[str, int] = field(default_factory=dict)  # rows of the words that the reference does not name
    value: float | str | None = None  # the first that is not missing ...
    varies: bool = False  # ... and whether another was met

    @classmethod
    def of_numbers(cls, column: NumericReference, values: Floats, *, misread: int = 0, whole: bool = False) -> "Seen":
        """Look at numbers, NaN for missing; at their fractions only where the reference is `whole`."""
        counts = column.count(values)
        fractions, fraction = _fractions(values) if whole else (0, None)
        infinite = int(np.isinf(values).sum()) if counts[0] or counts[-2] else 0
        value, varies = _only(values, counts)
        return cls(counts, misread, fractions, fraction, infinite, Thinned.of(values), value=value, varies=varies)

    @classmethod
    def of_words(cls, column: CategoricalReference, tally: Mapping[Any, int], rest: int = 0) -> "Seen":
        """Look at words.

        Args:
            column: the reference.
            tally: how many rows have each, None for missing.
            rest: rows with words that are not in the tally, none of which the reference names.
        """
        words = [word for word in tally if word is not None]
        unknown = {word: tally[word] for word in words if word not in column.lookup}
        first = words[0] if words else None
        counts = column.count(tally)
        counts[-2] += rest
        return cls(counts, unknown=_frequent(unknown, column), value=first, varies=len(words) > 1)

    def __add__(self, other: "Seen") -> "Seen":
        known = [seen.value for seen in (self, other) if seen.value is not None]
        unknown = Counter(self.unknown)
        unknown.update(other.unknown)
        return Seen(
            counts=self.counts + other.counts,
            misread=self.misread + other.misread,
            fractions=self.fractions + other.fractions,
            fraction=other.fraction if self.fraction is None else self.fraction,
            infinite=self.infinite + other.infinite,
            numbers=self.numbers + other.numbers,
            unknown=unknown,
            value=known[0] if known else None,
            varies=self.varies or other.varies or (len(known) > 1 and known[0] != known[1]),
        )


def _fractions(values: Floats) -> tuple[int, float | None]:
    broken = values[np.isfinite(values) & (values != np.floor(values))]
    return int(broken.size), float(broken[0]) if broken.size else None


def _only(values: Floats, counts: Ints) -> tuple[float | None, bool]:
    """A number, and whether there is another: values of several bins are several."""
    met = np.count_nonzero(counts[:-1])
    if not met:
        return None, False
    if met > 1:
        return 0.0, True
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    return low, low != high


def _frequent(unknown: Mapping[str, int], column: CategoricalReference) -> Mapping[str, int]:
    if len(unknown) <= UNKNOWN:
        return unknown
    written = written_as_floats(column)
    kept = {*_most(unknown, UNKNOWN)} | (unknown.keys() & written.keys())
    return {word: rows for word, rows in unknown.items() if word in kept}


def _most(tally: Mapping[str, int], count: int) -> list[str]:
    """The most frequent words, the same ones in whatever order their rows came."""
    return sorted(tally, key=lambda word: (-tally[word], word))[:count]


def written_as_floats(column: CategoricalReference) -> dict[str, str]:
    """Whole numbers among the categories, by what they look like with a needless fraction."""
    return {f"{name}.0": name for name in column.categories if name.lstrip("-").isdigit()}


@dataclass(frozen=True, slots=True)
class Looked:
    """Rows, looked at column by column; features that cannot be read by name, with the reason."""

    rows: int
    seen: Mapping[str, Seen]
    unread: Mapping[str, str] = field(default_factory=dict)


def look(rows: Typed, reference: ReferenceProfile, whole: frozenset[str]) -> Looked:
    """Look at rows that are in memory; `whole` as in `violations`."""
    seen: dict[str, Seen] = {}
    for column in reference.features:
        if (values := rows.columns.get(column.name)) is None:
            continue
        if isinstance(column, NumericReference):
            misread = rows.misread.get(column.name, 0)
            seen[column.name] = Seen.of_numbers(column, values, misread=misread, whole=column.name in whole)
        else:
            seen[column.name] = Seen.of_words(column, Counter(values.tolist()))
    return Looked(rows.rows, seen, rows.unread)


def violations(
    rows: Looked, reference: ReferenceProfile, checks: SchemaChecks, alpha: float, whole: frozenset[str]
) -> list[Violation]:
    """Everything that breaks schema and quality in the columns of these rows, features in the reference's order.

    Args:
        rows: of the window; at least one.
        reference: what they are compared with.
        checks: what the policy asks for.
        alpha: how often chance alone may bring a violation of each type, for one column.
        whole: the numeric features of which only whole numbers are known.
    """
    found: list[Violation] = []
    for column in reference.features:
        if column.name not in rows.seen:
            found += _unread(rows, column, checks)
            continue
        seen = rows.seen[column.name]
        variation = ordinary(reference.variation, "features", column.name, rows.rows)
        values = list(_values(column, seen, checks, alpha, variation))
        if checks.type_mismatch == "Breach":
            found += _types(rows.rows, column, seen, fractions=column.name in whole)
            scaled = any(violation.type == "unit_change" for violation in values)  # what was tenths is whole then, too
            found += _rounded(column, seen, alpha) if isinstance(column, NumericReference) and not scaled else []
        found += values
    return found


def whole_numbers(sample: Typed) -> frozenset[str]:
    """The numeric columns of a sample of the reference that hold whole numbers only."""
    return frozenset(name for name, values in sample.columns.items() if values.dtype.kind == "f" and _is_whole(values))


def _is_whole(values: Array) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size >= MIN_WHOLE and (finite == np.floor(finite)).all())


def _unread(rows: Looked, column: AnyReference, checks: SchemaChecks) -> Iterator[Violation]:
    why = rows.unread[column.name].partition(": ")[2]
    if why == "is missing":
        if checks.missing_columns == "Breach":
            yield Violation(type="missing_column", column=column.name, observed="absent from all rows", expected="in every row")
    elif checks.type_mismatch == "Breach":
        yield Violation(type="data_type", column=column.name, observed=why, expected=column.kind)


def _types(rows: int, column: AnyReference, seen: Seen, *, fractions: bool) -> Iterator[Violation]:
    if schema.matters(seen.misread, rows):
        observed = f"text that is no number in {seen.misread} of {rows} rows"
        yield Violation(type="data_type", column=column.name, observed=observed, expected="numbers")
    if schema.matters(seen.infinite, rows):
        observed = f"infinite in {seen.infinite} of {rows} rows"
        yield Violation(type="data_type", column=column.name, observed=observed, expected="finite numbers")
    if fractions:
        if schema.matters(seen.fractions, rows):
            observed = f"fractions in {seen.fractions} of {rows} rows, for example {seen.fraction:.6g}"
            yield Violation(type="data_type", column=column.name, observed=observed, expected="whole numbers")
    elif isinstance(column, CategoricalReference):
        known = written_as_floats(column)
        floats = Counter({word: times for word, times in seen.unknown.items() if word in known})
        if schema.matters(floats.total(), rows):
            (first,) = _most(floats, 1)
            observed = f"{first!r} for {known[first]!r}, and such like, in {floats.total()} of {rows} rows"
            yield Violation(type="data_type", column=column.name, observed=observed, expected="categories of whole numbers")


def _rounded(column: NumericReference, seen: Seen, alpha: float) -> Iterator[Violation]:
    """Numbers that lost their fractions, where that is beyond chance. A column that stands still says nothing of them."""
    values, usual = seen.numbers.values, column.fractions or 0.0
    if usual >= _FRACTIONS and seen.varies and _is_whole(values) and (1 - usual) ** values.size < alpha:
        expected = f"fractions, as in {usual:.0%} of the reference's numbers"
        yield Violation(type="data_type", column=column.name, observed="whole numbers in every row", expected=expected)


def _values(
    column: AnyReference, seen: Seen, checks: SchemaChecks, alpha: float, variation: ColumnVariation | None
) -> Iterator[Violation]:
    examples = [word[:_LENGTH] for word in _most(seen.unknown, _NAMED)]
    yield from schema.unexpected(column, seen.counts, checks, alpha, examples)
    single = None if seen.value is None or seen.varies else _shown(seen.value)
    if checks.constant_columns == "Breach" and single and schema.varies(column, seen.counts, alpha, variation):
        yield schema.constant(column, single)
    if checks.unit_change == "Breach" and isinstance(column, NumericReference):
        power = units.power_of_values(column, seen.numbers.values, units.Ordinary(alpha, variation))
        if power is not None:
            yield units.violation(column, power)


def _shown(value: float | str) -> str:
    return repr(value[:_LENGTH]) if isinstance(value, str) else f"{value:.6g}"


def duplicates(rows: Typed, checks: SchemaChecks) -> Iterator[Violation]:
    """Rows that repeat another one, where the policy allows only so many."""
    if checks.max_duplicate_share is None or rows.unread or not rows.columns:
        return  # without every column rows look more alike than they are
    columns = [
        pl.Series(name, values) if values.dtype.kind == "f" else pl.Series(name, values.tolist(), dtype=pl.String)
        for name, values in rows.columns.items()
    ]
    share = 1 - pl.DataFrame(columns).n_unique() / rows.rows
    if share > checks.max_duplicate_share:
        expected = f"at most {checks.max_duplicate_share:.1%}"
        yield Violation(type="duplicate_rows", column="*", observed=f"{share:.1%} of rows repeat another", expected=expected)
