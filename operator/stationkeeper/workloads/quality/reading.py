"""Reading labels, one object at a time: of each only the rows stay whose request was captured.

Every column is read as text, so that `1`, `1.0` and `"1"` are the same label in Parquet, CSV and NDJSON, and leading zeros of a
request id survive.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from stationkeeper.api.manifest import Manifest
from stationkeeper.api.model import Labels
from stationkeeper.workloads.artifacts.errors import BucketMissing
from stationkeeper.workloads.artifacts.store import ObjectInfo, Store
from stationkeeper.workloads.quality.truth import WHOLE, MalformedLabels, refuse, truth_of
from stationkeeper.workloads.training.reading import NULLS

log = logging.getLogger(__name__)

TRUTH: Final = "truth"
KEY: Final = ["request_id", "row"]
MAX_OBJECTS: Final = 100_000
MAX_OLDER: Final = 1_000  # objects from before the requests that are looked into
MAX_FILE_BYTES: Final = 2 * 2**30
_SKEW: Final = timedelta(days=1)  # by which clocks, and a label before its request, may be early
_NAMED: Final = 5  # columns in a message
_LOOSE: Final = 100_000  # rows that are kept as they came before they are counted together
_ALIKE: Final = 3  # different labels of one row that are kept: none, and two that disagree

SCHEMA: Final[dict[str, pl.DataType]] = {
    "request_id": pl.String(),
    "row": pl.Int64(),
    TRUTH: pl.String(),
    "seen": pl.Boolean(),
    "written": pl.Datetime("us", "UTC"),
    "times": pl.Int64(),
}


@dataclass(frozen=True, slots=True)
class Found:
    """Labels that were read.

    rows: `request_id`, `row`, `truth` (a class as the manifest names it, or a number; null where the label says nothing yet), `seen`
        (false where the outcome could not be seen), `written` (when an object with it was first written, the store's clock), `times` (that it
        came). Of labels of one row that disagree some are kept.
    unknown: labels of rows that are not among the captured ones.
    objects: how many were read.
    """

    rows: pl.DataFrame
    unknown: int = 0
    objects: int = 0


def read_labels(
    store: Store, config: Labels, manifest: Manifest, captured: pl.DataFrame, since: datetime, own: str = ""
) -> Found:
    """The labels of captured rows.

    Objects that were last written more than a day before the first request are read only when no newer one holds a label: then
    labels were known before they were asked for, as in a replay of the past. Of them the newest 1,000 are read.

    Args:
        store: opened at `labels.uri`.
        config: of the Model.
        manifest: of the revision; what its labels look like.
        captured: rows with `request_id` and `row`.
        since: time of the first request.
        own: address of the Model's own storage, which holds no labels.

    Raises:
        MalformedLabels: when an object cannot be read, lacks a column, or holds what is no label of this model.
        StoreError: when the store fails.
    """
    wanted = keys_of(captured)
    objects = list_labels(store, config, own)
    newer, older = ([o for o in objects if (o.modified >= since - _SKEW) is recent] for recent in (True, False))
    found = _read_all(store, config, manifest, newer, wanted)
    if found.rows.is_empty() and older and not wanted.is_empty():
        few = sorted(older, key=lambda item: item.modified)[-MAX_OLDER:]
        log.info("no label in %d objects: looking into %d of %d older ones", len(newer), len(few), len(older))
        earlier = _read_all(store, config, manifest, few, wanted)
        return Found(earlier.rows, found.unknown + earlier.unknown, found.objects + earlier.objects)
    return found


def keys_of(captured: pl.DataFrame) -> pl.DataFrame:
    """What labels name captured rows by, each once."""
    return captured.select(pl.col("request_id").cast(pl.String), pl.col("row").cast(pl.Int64)).unique()


def list_labels(store: Store, config: Labels, own: str) -> list[ObjectInfo]:
    """The objects that hold labels.

    Raises:
        MalformedLabels: when there are too many, or no bucket.
        StoreError: when the store fails.
    """
    objects: list[ObjectInfo] = []
    try:
        for item in store.list(""):
            if item.key.endswith(f".{config.format}") and not (own and store.uri(item.key).startswith(own)):
                objects.append(item)
            if len(objects) > MAX_OBJECTS:
                raise MalformedLabels(f"more than {MAX_OBJECTS} objects under {config.uri}; compact them")
    except BucketMissing as error:
        raise MalformedLabels(f"labels.uri {config.uri}: the bucket does not exist; create it or correct labels.uri") from error
    return objects


def _read_all(store: Store, config: Labels, manifest: Manifest, objects: Sequence[ObjectInfo], wanted: pl.DataFrame) -> Found:
    kept, loose, unknown = pl.DataFrame(schema=SCHEMA), [pl.DataFrame(schema=SCHEMA)], 0
    requests = wanted.select("request_id").unique().lazy()
    for item, path in _fetched(store, objects):
        name = store.uri(item.key)
        rows, others = _read(path, name, config, manifest.target, requests)
        named = _typed(rows, name, config, manifest, item.modified)
        loose.append(named.join(wanted, on=KEY, how="semi"))
        unknown += others + named.height - loose[-1].height
        if sum(frame.height for frame in loose) > max(_LOOSE, kept.height):
            kept, loose = _counted([kept, *loose]), []
    return Found(_counted([kept, *loose]), unknown, len(objects))


def _counted(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Labels that say the same of one row as one: whoever writes all labels anew each day writes each of them often."""
    each = (
        pl.concat(frames)
        .group_by(*KEY, TRUTH, "seen", maintain_order=True)
        .agg(pl.col("written").min(), pl.col("times").sum())
        .select(*SCHEMA)
    )
    return each.filter(pl.int_range(pl.len()).over(*KEY, "seen") < _ALIKE)


def _fetched(store: Store, objects: Sequence[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Path]]:
    """Each object as a file that is there for one step only."""
    with tempfile.TemporaryDirectory() as folder:
        for item in objects:
            if item.size > MAX_FILE_BYTES:
                raise MalformedLabels(f"{store.uri(item.key)} has {item.size} bytes, more than {MAX_FILE_BYTES}; split it")
            path = Path(folder) / "labels"
            store.download(item.key, path)
            yield item, path
            path.unlink()


def _read(path: Path, name: str, config: Labels, target: str, wanted: pl.LazyFrame) -> tuple[pl.DataFrame, int]:
    """The rows of captured requests as text, and the number of all others."""
    try:
        rows = _scan(path, name, config, target)
        mine = rows.join(wanted, on="request_id", how="semi")
        known = rows.select(pl.col("request_id").is_not_null().sum().alias("known"), pl.len().alias("all"))
        kept, counts = pl.collect_all([mine, known], engine="streaming")
    except (PolarsError, OSError, UnicodeDecodeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise MalformedLabels(f"{name} cannot be read as {config.format}: {line}; replace or remove it") from error
    if counts["all"].item() and not counts["known"].item():
        raise MalformedLabels(f"{name} has no request id in {config.key!r} in any row; correct labels.key or the object")
    return kept, int(counts["known"].item()) - kept.height


def _scan(path: Path, name: str, config: Labels, target: str) -> pl.LazyFrame:
    needed = {"request_id": config.key, TRUTH: config.column or target} | (
        {"seen": config.selection.column} if config.selection else {}
    )
    if config.format == "ndjson":  # a field may be missing from any line: nothing tells the columns apart from the rows
        return _named(pl.scan_ndjson(path, schema=dict.fromkeys({*needed.values(), "row"}, pl.String)), needed, rows=True)
    if path.stat().st_size == 0:
        raise MalformedLabels(f"{name} is empty; replace or remove it")
    frame = pl.scan_parquet(path) if config.format == "parquet" else pl.scan_csv(path, infer_schema=False, null_values=NULLS)
    present = frame.collect_schema().names()
    for column in needed.values():
        if column not in present:
            said = f"{name} has no column {column!r} but {', '.join(present[:_NAMED])}"
            raise MalformedLabels(f"{said}; correct the object, or spec.labels of the Model")
    return _named(frame, needed, rows="row" in present)


def _named(frame: pl.LazyFrame, needed: dict[str, str], *, rows: bool) -> pl.LazyFrame:
    columns = [pl.col(column).cast(pl.String).alias(name) for name, column in needed.items()]
    columns.append(pl.col("row").cast(pl.String) if rows else pl.lit(None, pl.String).alias("row"))
    if "seen" not in needed:
        columns.append(pl.lit(None, pl.String).alias("seen"))
    return frame.select(columns)


def _typed(rows: pl.DataFrame, name: str, config: Labels, manifest: Manifest, written: datetime) -> pl.DataFrame:
    number = rows["row"].str.replace(WHOLE, "${1}").cast(pl.Int64, strict=False)
    refuse(rows["row"], number, f"{name}: the column 'row' holds %s, which is no position in a request")
    seen = pl.lit(value=True) if config.selection is None else _is(pl.col("seen"), config.selection.value)
    return rows.select(
        pl.col("request_id"),
        number.fill_null(0).alias("row"),
        truth_of(rows[TRUTH], manifest, name).alias(TRUTH),
        seen.fill_null(value=False).alias("seen"),
        pl.lit(written, SCHEMA["written"]).alias("written"),
        pl.lit(1, SCHEMA["times"]).alias("times"),
    )


def _is(column: pl.Expr, value: str) -> pl.Expr:
    """Whether text says this; true and True are one, as are 1 and 1.0."""
    return column.str.replace(WHOLE, "${1}").str.to_lowercase() == value.lower()
