"""The data of the benchmarks: a reference and a current sample of 40 columns, drift planted in six of them."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from stationkeeper.api.manifest import Column, ColumnKind

NUMBERS: Final = tuple(f"x{i:02}" for i in range(30))
WORDS: Final = tuple(f"c{i:02}" for i in range(10))
DRIFTED: Final = ("x00", "x01", "x02", "x03", "c00", "c01")
FEATURES: Final = [Column(name=name, kind=ColumnKind.NUMERIC, nullable=True) for name in NUMBERS] + [
    Column(name=name, kind=ColumnKind.CATEGORICAL) for name in WORDS
]
_VOCABULARY: Final = np.array([f"word {i}" for i in range(30)])
_CHUNK: Final = 250_000


def frame(rows: int, seed: int, *, drifted: bool) -> pl.DataFrame:
    """So many rows. Drift: a shift by .2, a spread of 1.2, a fifth of values gone, a heavier tail; two words change places."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: _numbers(rng, rows, i) for i, name in enumerate(NUMBERS)}
    weights = 1 / np.arange(1, _VOCABULARY.size + 1)
    for i, name in enumerate(WORDS):
        p = np.roll(weights, 1) if drifted and i < 2 else weights
        columns[name] = pl.Series(_VOCABULARY)[rng.choice(_VOCABULARY.size, rows, p=p / p.sum())]
    if drifted:
        columns["x00"] = columns["x00"] + 0.2
        columns["x01"] = columns["x01"] * 1.2
        columns["x02"] = np.where(rng.random(rows) < 0.2, np.nan, columns["x02"])
        columns["x03"] = np.where(rng.random(rows) < 0.1, 3 * columns["x03"], columns["x03"])
    return pl.DataFrame(columns).with_columns(pl.col(NUMBERS).fill_nan(None))


def _numbers(rng: np.random.Generator, rows: int, number: int) -> Any:
    shapes = (rng.standard_normal, rng.standard_exponential, lambda n: rng.lognormal(size=n), lambda n: rng.poisson(20, n) * 1.0)
    return rng.standard_normal(rows) if number < 4 else shapes[number % len(shapes)](rows)


def write(path: Path, rows: int, seed: int, *, drifted: bool) -> Path:
    """The same as Parquet."""
    frame(rows, seed, drifted=drifted).write_parquet(path, row_group_size=_CHUNK, compression="zstd", compression_level=1)
    return path
