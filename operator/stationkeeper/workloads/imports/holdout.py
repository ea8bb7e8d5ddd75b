"""The rows that judge a published file: read and frozen by `prepare`, given their meaning when the file is understood."""

import logging
from pathlib import Path

import polars as pl

from stationkeeper.api.base import Digest
from stationkeeper.api.data import Data
from stationkeeper.api.evaluation import Holdout
from stationkeeper.api.jobs import ImportConfig
from stationkeeper.api.manifest import DataRecord, Task
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.imports.place import Open
from stationkeeper.workloads.imports.signature import Signature
from stationkeeper.workloads.training import reading, schema
from stationkeeper.workloads.training.divide import Frozen
from stationkeeper.workloads.training.ending import AttemptEnded, invalid
from stationkeeper.workloads.training.handover import Prepared, Schema
from stationkeeper.workloads.training.inputs import fetch, freeze
from stationkeeper.workloads.training.overlap import Judging
from stationkeeper.workloads.training.sample import Limit

log = logging.getLogger(__name__)


def gather(config: ImportConfig, artifacts: Store, opened: Open, folder: Path) -> Frozen | None:
    """The evaluation set as it is there, and the digest of the list of its objects; None where the spec names none.

    Raises:
        AttemptEnded: InvalidData when there are no rows, or they cannot be read.
    """
    data = config.source.data
    if data is None:
        return None
    try:
        inputs = freeze(artifacts, opened, keys.inputs(config.episode, config.attempt), data, artifacts.uri(""))
        files = fetch(opened, inputs, folder)
        present = sorted({name for file in files for name in reading.columns_of(file)})
        limit = Limit(None, data.timestamp, data.target, present, config.model.uid)
        frame = reading.read_window(files, data, present, None, limit).drop(reading.OBJECT)
    except AttemptEnded as ending:
        raise invalid(ending.reason, f"source.evaluation: {ending.message}") from ending
    for file in files:
        file.path.unlink()
    log.info("%d rows judge", frame.height)
    return Frozen(frame, inputs.digest)


def meant(frame: pl.DataFrame, data: Data, found: Signature) -> pl.DataFrame:
    """The rows with a truth, as the file's answers are compared with it; their features as the file takes them.

    Raises:
        AttemptEnded: InvalidData when a column is missing, or not what the file takes.
    """
    if data.target not in frame.columns:
        raise invalid("MissingTargetColumn", f"the target {data.target!r} is missing under {data.uri}; correct source.target")
    if data.timestamp and data.timestamp not in frame.columns:
        raise invalid("MissingTimestampColumn", f"the timestamp {data.timestamp!r} is missing under {data.uri}")
    missing = next((feature.name for feature in found.features if feature.name not in frame.columns), None)
    if missing is not None:
        raise invalid("MissingFeatureColumn", f"the file takes a column {missing!r}, which is missing under {data.uri}")
    rows = schema.with_target(frame, data.target, classifier=found.task is not Task.REGRESSION)
    if rows.is_empty():
        raise invalid("EmptyWindow", f"none of the {frame.height} rows under {data.uri} has a value of {data.target!r}")
    schema.check_readable(rows, found.features)
    if frame[data.target].dtype == pl.Boolean and found.classes == ["0", "1"]:
        rows = rows.with_columns(pl.col(data.target).replace({"false": "0", "true": "1"}))
    return rows


def prepared(
    config: ImportConfig, store: Store, rows: pl.DataFrame, found: Signature, record: DataRecord, frozen: Digest | None
) -> Prepared:
    """What the gates are told of the rows. Which of them a model learned from is known of a champion that was trained here.

    `frozen`: digest of the list of their objects.

    Raises:
        StoreError, ArtifactError: when the champion's manifest cannot be read.
    """
    champion = load_manifest(store, config.champion.digest) if config.champion else None
    first, last = reading.span(rows, config.source.data.timestamp if config.source.data else None)
    return Prepared(
        rows_schema=Schema(
            task=found.task,
            features=found.features,
            target=config.source.target,
            timestamp=config.source.evaluation.timestamp if config.source.evaluation else None,
            classes=found.classes,
            class_kind=found.class_kind,
            positive_label=found.positive_label,
        ),
        data=record,
        holdout_rows=rows.height,
        holdout_start=first,
        holdout_end=last,
        champion_through=Judging(Holdout(), frozen).known_through(champion) if champion else None,
        frozen=frozen,
    )
