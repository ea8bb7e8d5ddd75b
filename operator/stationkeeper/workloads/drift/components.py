"""What a revision keeps for the checks of all columns together (`pca.json`); no row.

How columns become points (`encoding`), the directions in which the training rows lie, how far rows are from them, and what
contiguous stretches of the training rows gave in both tests of `multivariate`.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import NormalDist
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from stationkeeper.api.base import Tolerant, canonical_json
from stationkeeper.api.manifest import Column
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.drift import domain
from stationkeeper.workloads.drift.encoding import MAX_COLUMNS, Encoding, at, sampled
from stationkeeper.workloads.drift.grid import Floats
from stationkeeper.workloads.drift.variation import MIN_BLOCKS, evenly

Array = NDArray[Any]

MAX_COMPONENTS: Final = 64
SIZES: Final = (500, 2_000)  # rows of a stretch
_WHOLE: Final = 5_000  # rows that stand for all, beside a stretch
_STRETCHES: Final = 24  # of each size
_FIT_ROWS: Final = 20_000
_EXPLAINED: Final = 0.65  # of the variance, by the components: what is left shows when columns no longer go together
_MAX_BYTES: Final = 64 * 2**20
_NEARLY: Final = 1 - 1e-9
_DIGITS: Final = 6


MultivariateTest = Literal["DomainClassifier", "PCAReconstruction"]


class Stretches(Tolerant):
    """Contiguous stretches of one size: what each gave against the whole."""

    size: int
    auc: list[float]
    shift: list[float]  # of the reconstruction error: `Components.shift`

    def tail(self, test: MultivariateTest, alpha: float) -> float:
        """What the next one exceeds with probability `alpha`.

        Squares of a shift are taken for an exponential tail of unknown scale, of which the upper half is a sample (as in
        `calibration`); an AUC is that of two normal variables so many standard deviations apart.
        """
        if test == "PCAReconstruction":
            return math.sqrt(_exceeded(np.square(self.shift), alpha))
        apart = [NormalDist().inv_cdf(min(max(auc, 0.5), _NEARLY)) for auc in self.auc]
        return NormalDist().cdf(math.sqrt(_exceeded(np.square(apart), alpha)))


def _exceeded(values: Floats, alpha: float) -> float:
    ascending, half = np.sort(values), values.size / 2
    median = float(np.median(ascending))
    scale = float(ascending[values.size // 2 :].mean()) - median
    return median + scale * half * (math.pow(2 * alpha, -1 / half) - 1)


class Components(Tolerant):
    """The file `pca.json`."""

    schema_version: Literal[1] = 1
    rows: Annotated[int, Field(ge=0)]  # whose errors were measured: others than those that it was fitted to
    encoding: Encoding
    directions: Annotated[list[list[float]], Field(max_length=MAX_COMPONENTS)]  # unit vectors, the first explains most
    error_mean: float  # distance of a row of the reference from the components
    error_scale: float  # its standard deviation; 0 where all rows lie on them
    stretches: list[Stretches] = []  # empty without timestamps

    def encode(self) -> bytes:
        """The file: canonical JSON."""
        return canonical_json(self.wire())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            MalformedArtifact: when the bytes are no components that this version can read.
        """
        if len(data) > _MAX_BYTES:
            raise MalformedArtifact(f"components of {len(data)} bytes are over the limit of {_MAX_BYTES}")
        try:
            found = cls.model_validate_json(data)
        except ValidationError as error:
            raise MalformedArtifact(f"not components that this version can read: {error}") from error
        if any(len(direction) != found.encoding.dimensions for direction in found.directions):
            raise MalformedArtifact("the components have other dimensions than their encoding")
        return found

    @cached_property
    def _basis(self) -> Floats:
        return np.array(self.directions).reshape(-1, self.encoding.dimensions)

    def errors(self, points: Floats) -> Floats:
        """The distance of each point, shape (rows, dimensions), from the components."""
        explained = points @ self._basis.T
        distances: Floats = np.sqrt(np.maximum((points**2).sum(axis=1) - (explained**2).sum(axis=1), 0.0))
        return distances

    def shift(self, points: Floats) -> float:
        """By how many standard deviations the mean error of the points is off the reference's."""
        return float(self.errors(points).mean() - self.error_mean) / self.error_scale

    def usual(self, test: MultivariateTest, rows: int, alpha: float) -> float:
        """What a stretch of the reference exceeds with probability `alpha`, at the largest size not above `rows`."""
        fitting = [s for s in self.stretches if s.size <= rows] or self.stretches[:1]
        return fitting[-1].tail(test, alpha) if fitting else 0.0


def fit_components(
    frame: pl.DataFrame, features: Sequence[Column], *, timestamps: Array | None = None, seed: int = 0
) -> Components:
    """The components of the rows that a revision learned from.

    Args:
        frame: rows, one column per feature.
        features: which columns, and how they are treated; the first `MAX_COLUMNS` count.
        timestamps: datetime64 of the rows. With them it is measured what contiguous stretches give, and thresholds heed it.
        seed: chooses rows where there are more than are needed.

    Raises:
        ColumnError: when a feature is missing from the frame or cannot be read as its kind.
        ValueError: when the frame has no rows, or not as many as timestamps.
    """
    if not frame.height or (timestamps is not None and len(timestamps) != frame.height):
        raise ValueError("components need at least one row, and a timestamp for each row or none")
    columns = from_frame(frame, features[:MAX_COLUMNS])
    chosen = sampled(columns, _FIT_ROWS, np.random.default_rng(seed))
    # Rows lie nearer to components that were fitted to them: the errors are those of other rows.
    fitted, measured = ({name: values[half::2] for name, values in chosen.items()} for half in (0, 1))
    encoding = Encoding.fit(fitted)
    points = encoding.matrix(measured)
    found = Components(
        rows=len(points), encoding=encoding, directions=_directions(encoding.matrix(fitted)), error_mean=0.0, error_scale=0.0
    )
    if not points.size:
        return found
    errors = found.errors(points)
    found = found.model_copy(update={"error_mean": _rounded(errors.mean()), "error_scale": _rounded(errors.std())})
    blocks = [] if timestamps is None else _blocks(timestamps)
    return found.model_copy(update={"stretches": [_stretches(found, columns, rows, points, seed) for rows in blocks]})


def _directions(points: Floats) -> list[list[float]]:
    if not points.shape[1]:
        return []
    variances, vectors = np.linalg.eigh(points.T @ points / len(points))
    shares = np.cumsum(variances[::-1]) / max(variances.sum(), 1e-12)
    count = min(int(np.searchsorted(shares, _EXPLAINED)) + 1, points.shape[1], MAX_COMPONENTS)
    return [[_rounded(x) for x in vector] for vector in vectors.T[::-1][:count]]


def _blocks(timestamps: Array) -> list[list[Array]]:
    """Rows of contiguous stretches, evenly spread, for each size of which there are enough."""
    order = np.argsort(np.asarray(timestamps).astype("datetime64[us]"), kind="stable")
    found = []
    for size in SIZES:
        count = order.size // size
        if count >= MIN_BLOCKS:
            found.append([order[b * size : (b + 1) * size] for b in evenly(count, _STRETCHES)])
    return found


def _stretches(found: Components, columns: Mapping[str, Array], blocks: Sequence[Array], whole: Floats, seed: int) -> Stretches:
    points = [found.encoding.matrix(at(columns, rows)) for rows in blocks]
    whole = whole[:: max(len(whole) // _WHOLE, 1)]
    return Stretches(
        size=len(blocks[0]),
        auc=[_rounded(domain.separability(whole, block, seed)) for block in points],
        shift=[_rounded(found.shift(block)) if found.error_scale else 0.0 for block in points],
    )


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)
