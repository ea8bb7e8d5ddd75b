"""The reference profile: what a revision's columns and predictions looked like, as counts in bins (`bins`).

It belongs to the revision (`reference.json` of its manifest) and holds no row.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

import polars as pl
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from stationkeeper.api.base import Tolerant, canonical_json, sha256
from stationkeeper.api.manifest import Column
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.drift.bins import AnyReference, CategoricalReference, NumericReference, Reference, column_reference
from stationkeeper.workloads.drift.variation import Group, Indexed, Variation, variations

__all__ = ["AnyReference", "CategoricalReference", "NumericReference", "ReferenceProfile", "build_reference"]

_MAX_BYTES: Final = 64 * 2**20

Array = NDArray[Any]


class ReferenceProfile(Tolerant):
    """The profile of a revision: features of `rows` training rows, predictions of `prediction_rows` holdout rows."""

    schema_version: Literal[1] = 1
    rows: Annotated[int, Field(ge=1)]
    prediction_rows: Annotated[int, Field(ge=0)]
    features: Annotated[list[Reference], Field(max_length=10_000)]
    predictions: Annotated[list[Reference], Field(max_length=64)]
    variation: list[Variation] = []  # between contiguous blocks of the reference, by block size; empty without timestamps

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

    Raises:
        ColumnError: when a feature is missing from the frame or cannot be read as its kind.
        ValueError: when the frame has no rows, or arrays do not have the same length.
    """
    if not frame.height:
        raise ValueError("a reference profile needs at least one row")
    columns = from_frame(frame, features)
    kinds = {feature.name: feature.kind for feature in features}
    inputs = [column_reference(name, values, kinds[name]) for name, values in columns.items()]
    outputs = [column_reference(name, values, None) for name, values in sorted(predictions.items())]
    if len({len(values) for values in predictions.values()}) > 1:
        raise ValueError("predictions must have the same length")
    variation: dict[str, Group] = {}
    if timestamps is not None:
        variation["features"] = _indexed(inputs, columns), timestamps
    if prediction_timestamps is not None:
        variation["predictions"] = _indexed(outputs, predictions), prediction_timestamps
    return ReferenceProfile(
        rows=frame.height,
        prediction_rows=len(next(iter(predictions.values()), ())),
        features=inputs,
        predictions=outputs,
        variation=variations(variation),
    )


def _indexed(group: Sequence[AnyReference], values: Mapping[str, Array]) -> list[Indexed]:
    return [(column.name, column, column.index(values[column.name])) for column in group]
