"""The reference profile: what a revision's columns and predictions looked like, as counts in bins (`bins`).

Two profiles are in it where a revision learned from a long time: the range and the categories are those of all its rows, the counts
those of the newest stretch, because a whole year looks like no window of it. It belongs to the revision (`reference.json` of its manifest) and holds no row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from stationkeeper.api.base import Tolerant, canonical_json, sha256
from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.drift.bins import AnyReference, CategoricalReference, NumericReference, Reference, column_reference
from stationkeeper.workloads.drift.stability import unstable
from stationkeeper.workloads.drift.variation import Group, Indexed, Variation, variations

__all__ = ["AnyReference", "CategoricalReference", "NumericReference", "ReferenceProfile", "build_reference"]

RECENT_DAYS: Final = 91  # a quarter: its days and weeks are ordinary, its seasons are not
RECENT_ROWS: Final = 20_000
_MAX_BYTES: Final = 64 * 2**20

Array = NDArray[Any]


class ReferenceProfile(Tolerant):
    """The profile of a revision: features of `rows` training rows, predictions of `prediction_rows` holdout rows."""

    schema_version: Literal[1] = 1
    rows: Annotated[int, Field(ge=1)]
    support_rows: Annotated[int | None, Field(ge=1)] = None  # that ranges and categories are those of, where these are more
    prediction_rows: Annotated[int, Field(ge=0)]
    features: Annotated[list[Reference], Field(max_length=10_000)]
    predictions: Annotated[list[Reference], Field(max_length=64)]
    variation: list[Variation] = []  # between contiguous blocks of the reference, by block size; empty without timestamps
    unstable: Annotated[list[str], Field(max_length=10_000)] = []  # features that moved within the reference, beyond variation

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for rows, columns in ((self.rows, self.features), (self.prediction_rows, self.predictions)):
            for column in columns:
                if int(column.vector.sum()) != rows:
                    raise ValueError(f"counts of {column.name!r} do not add up to the {rows} rows")
            if len({column.name for column in columns}) != len(columns):
                raise ValueError("a column appears twice")
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReferenceProfile) and self.encoded == other.encoded

    def __hash__(self) -> int:
        return hash(self.encoded)

    @cached_property
    def encoded(self) -> bytes:
        """What `encode` returns."""
        return canonical_json(self.wire())

    def encode(self) -> bytes:
        """The file `reference.json`: canonical JSON. Its SHA-256 is `digest`."""
        return self.encoded

    @cached_property
    def digest(self) -> str:
        """`sha256:...` of the encoded profile; every profile of traffic carries it."""
        return sha256(self.encoded)

    def knowing(self, variation: Sequence[Variation]) -> "ReferenceProfile":
        """The same rows, with what their windows were found to differ by elsewhere."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return ReferenceProfile(**fields | {"variation": list(variation)})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read `reference.json`.

        Raises:
            MalformedArtifact: when the bytes are not a reference profile that this version can read.
        """
        if len(data) > _MAX_BYTES:
            raise MalformedArtifact(f"a reference profile of {len(data)} bytes is over the limit of {_MAX_BYTES}")
        try:
            profile = cls.model_validate_json(data)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in wrong["loc"])
            why = f"{field}: {wrong['msg']}" if field else wrong["msg"]
            raise MalformedArtifact(f"not a reference profile that this version can read: {why}") from error
        # Bytes of a newer minor version may not encode back to themselves: the digest is that of the bytes.
        profile.__dict__["encoded"] = data
        return profile


def build_reference(
    frame: pl.DataFrame,
    features: Sequence[Column],
    predictions: Mapping[str, Array],
    *,
    timestamps: Array | None = None,
    prediction_timestamps: Array | None = None,
    recent: bool = False,
) -> ReferenceProfile:
    """Profile the rows that a revision learned from, and its predictions on the holdout.

    Args:
        frame: rows of training, one column per feature.
        features: which columns, and how they are treated.
        predictions: one array per output, all of one length that need not be the frame's. Float arrays are numeric
            (`probability`, `prediction`); arrays of strings or objects are categorical (`label`).
        timestamps: datetime64 of the frame's rows. With them the ordinary variation between contiguous blocks of
            rows is measured, and thresholds take it into account.
        prediction_timestamps: the same for the rows of `predictions`.
        recent: where timestamps are known, count the `newest` rows only; ranges and categories are those of all.

    Raises:
        ColumnError: when a feature is missing from the frame or cannot be read as its kind.
        ValueError: when the frame has no rows, or arrays do not have the same length.
    """
    if not frame.height:
        raise ValueError("a reference profile needs at least one row")
    if len({len(values) for values in predictions.values()}) > 1:
        raise ValueError("predictions must have the same length")
    columns = from_frame(frame, features)
    kinds = {feature.name: feature.kind for feature in features}
    inputs = _Group.of(columns, timestamps, kinds, recent=recent)
    outputs = _Group.of(dict(sorted(predictions.items())), prediction_timestamps, {}, recent=recent)
    groups: dict[str, Group] = {}
    for name, group in (("features", inputs), ("predictions", outputs)):
        if group.timestamps is not None:
            groups[name] = group.indexed(), group.timestamps
    variation = variations(groups)
    return ReferenceProfile(
        rows=inputs.rows(frame.height),
        support_rows=None if inputs.chosen is None else frame.height,
        prediction_rows=outputs.rows(len(next(iter(predictions.values()), ()))),
        features=inputs.references,
        predictions=outputs.references,
        variation=variation,
        unstable=unstable(*groups["features"], variation) if "features" in groups else [],
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """Columns with the rows that are counted."""

    columns: Mapping[str, Array]
    timestamps: Array | None
    references: list[AnyReference]
    chosen: NDArray[np.bool_] | None  # of all rows; None for all

    @classmethod
    def of(
        cls, whole: Mapping[str, Array], timestamps: Array | None, kinds: Mapping[str, ColumnKind], *, recent: bool
    ) -> "_Group":
        """The references of columns, of the newest rows only where that is asked for."""
        if timestamps is not None and any(len(values) != len(timestamps) for values in whole.values()):
            raise ValueError("there must be as many timestamps as rows")
        chosen = newest(timestamps) if whole and recent and timestamps is not None else None
        if chosen is None or timestamps is None:
            references = [column_reference(name, values, kinds.get(name)) for name, values in whole.items()]
            return cls(whole, timestamps, references, None)
        counted = {name: values[chosen] for name, values in whole.items()}
        references = [column_reference(name, values, kinds.get(name), whole[name]) for name, values in counted.items()]
        return cls(counted, timestamps[chosen], references, chosen)

    def rows(self, whole: int) -> int:
        """How many of all rows are counted."""
        return whole if self.chosen is None else int(self.chosen.sum())

    def indexed(self) -> list[Indexed]:
        """The bin of each row that is counted."""
        return [(column.name, column, column.index(self.columns[column.name])) for column in self.references]


def newest(timestamps: Array) -> NDArray[np.bool_] | None:
    """Which rows are the newest stretch: of `RECENT_DAYS`, and more where these are fewer than `RECENT_ROWS`; None for all."""
    times = np.asarray(timestamps).astype("datetime64[us]")
    known = np.sort(times[~np.isnat(times)])
    if known.size <= RECENT_ROWS:
        return None
    since = min(known[-1] - np.timedelta64(RECENT_DAYS, "D"), known[-RECENT_ROWS])
    chosen: NDArray[np.bool_] = times >= since
    return None if chosen.all() else chosen
