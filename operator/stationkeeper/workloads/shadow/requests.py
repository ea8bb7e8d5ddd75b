"""Captured rows as the requests that they came in: Open Inference Protocol v2 over JSON. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
import polars as pl

from stationkeeper.workloads.artifacts.captured import INPUT, OUTPUT

_DATATYPES: Final[dict[type[pl.DataType], str]] = {pl.Float64: "FP64", pl.Boolean: "BOOL"}


@dataclass(frozen=True)
class Asked:
    """One request, and what the stable revision answered to it."""

    request_id: str
    body: bytes
    rows: list[int]  # their positions in the request as it came; a limit of capture may have cut it
    answered: pl.DataFrame  # `label`, `probability` ..., a row for each


def requests(captured: pl.DataFrame) -> Iterator[Asked]:
    """The requests of captured rows (`artifacts.captured`), in the order of their ids."""
    for (request_id,), rows in captured.sort("request_id", "row").group_by("request_id", maintain_order=True):
        tensors = [_tensor(rows[name]) for name in rows.columns if name.startswith(INPUT)]
        outputs = [pl.col(name).alias(name.removeprefix(OUTPUT)) for name in rows.columns if name.startswith(OUTPUT)]
        body = orjson.dumps({"id": str(request_id), "inputs": tensors})
        yield Asked(str(request_id), body, rows["row"].to_list(), rows.select(outputs))


def _tensor(values: pl.Series) -> dict[str, Any]:
    datatype = _DATATYPES.get(type(values.dtype), "BYTES")
    return {"name": values.name.removeprefix(INPUT), "shape": [len(values)], "datatype": datatype, "data": values.to_list()}
