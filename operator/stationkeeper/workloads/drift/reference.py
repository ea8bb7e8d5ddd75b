"""The reference profile: what a revision's columns and predictions looked like, as counts in bins.

It belongs to the revision (`reference.json` of its manifest) and holds no row: numeric columns are counted in about 64 bins of
equal mass, categorical ones by their most frequent values. Values in fewer than `RARE` rows are not named in it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
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
from stationkeeper.workloads.drift import grid
from stationkeeper.workloads.drift.grid import Ints
from stationkeeper.workloads.drift.variation import Group, Indexed, Variation, variations

BINS: Final = 64
MAX_CATEGORIES: Final = 254
MAX_CATEGORY_LENGTH: Final = 128
RARE: Final = 20  # rows; a rarer value could name a person, and the profile is never deleted
_MAX_BYTES: Final = 64 * 2**20

Array = NDArray[Any]
Count = Annotated[int, Field(ge=0, le=2**53)]


class NumericReference(Tolerant):
    """A numeric column or output. Bins in the order of `vector`: below, the bins, above, missing."""

    kind: Literal["numeric"] = "numeric"
    name: str
    center: float
    scale: Annotated[float, Field(gt=0)]
    edges: Annotated[list[Annotated[int, Field(ge=0, lt=grid.CELLS + 1)]], Field(max_length=2 * BINS)]  # ranks, ascending
    top: int  # rank of the highest value
    counts: list[Count]
    missing: Count
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.counts) != len(self.edges):
            raise ValueError("as many counts as bins are needed")
        if any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)) or (self.edges and self.top < self.edges[-1]):
            raise ValueError("edges must ascend")
        return self

    @property
    def bins(self) -> int:
        """Length of `vector`."""
        return len(self.edges) + 3

    @cached_property
    def vector(self) -> Ints:
        """The counts of the reference in the layout of a profile."""
        return np.array([0, *self.counts, 0, self.missing], dtype=np.int64)

    @cached_property
    def table(self) -> NDArray[np.uint8]:
        """Bin of each cell of the grid."""
        return grid.table(np.array(self.edges, dtype=np.int64), self.top)

    def index(self, values: Array) -> Ints:
        """Bin of each value; numbers, NaN for missing."""
        return self.table.take(grid.codes(np.asarray(values, dtype=np.float64), self.center, 1 / self.scale)).astype(np.int64)


class CategoricalReference(Tolerant):
    """A categorical or boolean column or output. Bins in the order of `vector`: the categories, any other, missing."""

    kind: Literal["categorical"] = "categorical"
    name: str
    categories: Annotated[list[str], Field(max_length=4096)]
    counts: list[Count]
    other: Count = 0
    missing: Count = 0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.counts) != len(self.categories) or len(set(self.categories)) != len(self.categories):
            raise ValueError("each category needs one count")
        return self

    @property
    def bins(self) -> int:
        """Length of `vector`."""
        return len(self.categories) + 2

    @cached_property
    def vector(self) -> Ints:
        """The counts of the reference in the layout of a profile."""
        return np.array([*self.counts, self.other, self.missing], dtype=np.int64)

    @cached_property
    def lookup(self) -> dict[Any, int]:
        """Bin of each known value, None included."""
        return {**{name: i for i, name in enumerate(self.categories)}, None: len(self.categories) + 1}

    def index(self, values: Array) -> Ints:
        """Bin of each value; strings, None for missing."""
        lookup, other = self.lookup, len(self.categories)
        return np.fromiter((lookup.get(v, other) for v in values.tolist()), dtype=np.int64, count=len(values))


AnyReference = NumericReference | CategoricalReference
Reference = Annotated[AnyReference, Field(discriminator="kind")]


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
            raise MalformedArtifact(f"not a reference profile that this version can read: {error}") from error
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
    inputs = [_reference(name, values, kinds[name]) for name, values in columns.items()]
    outputs = [_reference(name, values, None) for name, values in sorted(predictions.items())]
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
    return [(column.name, column.kind, column.vector, column.index(values[column.name])) for column in group]


def _reference(name: str, values: Array, kind: ColumnKind | None) -> AnyReference:
    if kind is ColumnKind.NUMERIC or (kind is None and np.asarray(values).dtype.kind in "fiu"):
        return _numeric(name, np.asarray(values, dtype=np.float64))
    # Booleans and class labels name no person, however rare.
    return _categorical(name, np.asarray(values, dtype=object), RARE if kind is ColumnKind.CATEGORICAL else 1)


def _numeric(name: str, values: NDArray[np.float64]) -> NumericReference:
    present = values[~np.isnan(values)]
    finite = present[np.isfinite(present)]
    center, scale = _fitting_grid(finite)
    edges, top = grid.edges(grid.RANK[grid.codes(present, center, 1 / scale)], BINS)
    table = grid.table(edges, top)
    counts = np.bincount(table.take(grid.codes(present, center, 1 / scale)), minlength=len(edges) + 3)
    return NumericReference(
        name=name,
        center=center,
        scale=scale,
        edges=edges.tolist(),
        top=top,
        counts=counts[1 : len(edges) + 1].tolist(),
        missing=int(values.size - present.size),
        minimum=float(finite.min()) if finite.size else None,
        maximum=float(finite.max()) if finite.size else None,
    )


def _fitting_grid(finite: NDArray[np.float64]) -> tuple[float, float]:
    """Centre and scale for which the bins hold what they should; two far clusters need the grid centred on one of them."""
    best = grid.center_and_scale(finite)
    if not finite.size:
        return best
    share, crowded = grid.coarseness(finite, grid.RANK[grid.codes(finite, best[0], 1 / best[1])], BINS)
    if share:
        other = grid.center_and_scale(crowded)
        if grid.coarseness(finite, grid.RANK[grid.codes(finite, other[0], 1 / other[1])], BINS)[0] < share:
            return other
    return best


def _categorical(name: str, values: Array, rare: int) -> CategoricalReference:
    tally: Counter[Any] = Counter(values.tolist())
    missing = tally.pop(None, 0)
    named = [(str(v), n) for v, n in tally.items() if n >= rare and len(str(v)) <= MAX_CATEGORY_LENGTH]
    kept = sorted(named, key=lambda item: (-item[1], item[0]))[:MAX_CATEGORIES]
    return CategoricalReference(
        name=name,
        categories=[name for name, _ in kept],
        counts=[count for _, count in kept],
        other=len(values) - missing - sum(count for _, count in kept),
        missing=missing,
    )
