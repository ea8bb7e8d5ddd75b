"""The first container: freeze the inputs, read the window, validate, split."""

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from stationkeeper.api.base import short
from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Column, DataRecord, Manifest, Task
from stationkeeper.api.status import Cause
from stationkeeper.api.training import Data
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.owner import claim
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training import estimators, leakage, reading, schema, search
from stationkeeper.workloads.training.challenger import input_of
from stationkeeper.workloads.training.ending import AttemptEnded, invalid, quarantined, waiting
from stationkeeper.workloads.training.fit import target_of
from stationkeeper.workloads.training.handover import TARGET, Paths, Prepared, Schema
from stationkeeper.workloads.training.inputs import Inputs, freeze
from stationkeeper.workloads.training.metrics import check_metrics
from stationkeeper.workloads.training.overlap import known_through, shares_split
from stationkeeper.workloads.training.segments import check_segments, segment_columns
from stationkeeper.workloads.training.split import check_enough, gap_between, split, without
from stationkeeper.workloads.training.windows import learned, shortest_since, stretches

log = logging.getLogger(__name__)


def prepare(config: TrainConfig, artifacts: Store, source: Store, paths: Paths, held_out: Store | None = None) -> None:
    """Write training rows, holdout and their description for the containers that follow.

    Args:
        config: the attempt.
        artifacts: the store of the Model.
        source: that of its rows.
        paths: where the containers meet.
        held_out: that of a holdout of its own, where the spec has one.

    Raises:
        AttemptEnded: InvalidData or WaitingForLabels.
        StoreError, ArtifactError: when the store fails, or the prefix is another's.
    """
    claim(artifacts, config.model)
    classifier = _check_spec(config)
    champion = load_manifest(artifacts, config.champion.digest) if config.champion else None
    data = config.training.data
    key = keys.inputs(config.episode, config.attempt)
    inputs = freeze(artifacts, source, key, data, artifacts.uri(""))
    check_quarantine(config, inputs)
    files = _fetch(source, inputs, paths)
    frame = _read(files, config, champion)
    for file in files:
        file.unlink()
    rows = schema.with_target(frame, data.target, classifier=classifier)
    if rows.is_empty():
        raise invalid(
            "EmptyWindow", f"none of the {frame.height} rows in the window has a value of {data.target!r}: wait for labels"
        )
    check_new_rows(rows, config, champion)
    frozen = _frozen(config, artifacts, held_out, paths, champion, classifier=classifier) if held_out else None
    kind = schema.class_label(frame[data.target].dtype)
    end = newest_of(frame, data) if data.as_of == "LatestRow" else config.as_of
    _write(rows, frame.height - rows.height, config, champion, inputs, paths, kind if classifier else None, end, frozen)


@dataclass(frozen=True, slots=True, eq=False)
class _Frozen:
    """A holdout of its own."""

    rows: pl.DataFrame
    digest: str


def _frozen(
    config: TrainConfig, artifacts: Store, store: Store, paths: Paths, champion: Manifest | None, *, classifier: bool
) -> _Frozen:
    """Freeze the list of its objects and read them, whatever their age.

    Raises:
        AttemptEnded: InvalidData.
    """
    changes = {"uri": config.training.evaluation.holdout.uri, "window": None, "windows": None}
    data = config.training.data.model_copy(update=changes)
    try:
        inputs = freeze(artifacts, store, keys.frozen_holdout(config.episode, config.attempt), data, artifacts.uri(""))
        files = _fetch(store, inputs, paths)
        present = _present(files, data)
        if missing := sorted({data.target, *([data.timestamp] if data.timestamp else [])} - present):
            raise invalid("MissingTargetColumn", f"the column {missing[0]!r} is missing in the data under {data.uri}")
        frame = reading.read_window(files, data, _wanted(files, config, champion), None)
        rows = schema.with_target(frame, data.target, classifier=classifier)
    except AttemptEnded as ending:
        raise invalid(ending.reason, f"evaluation.holdout.uri: {ending.message}") from ending
    for file in files:
        file.unlink()
    return _Frozen(rows, inputs.digest)


def newest_of(frame: pl.DataFrame, data: Data) -> datetime | None:
    """The newest time of all rows, labelled or not."""
    return reading.span(frame, data.timestamp)[1]


def check_quarantine(config: TrainConfig, inputs: Inputs) -> None:
    """The same code on the same data is not tried again after what it made has been taken back (SEMANTICS §5).

    Raises:
        AttemptEnded: Quarantined.
    """
    found = next((entry for entry in config.quarantined if entry.data_digest == inputs.digest), None)
    if found:
        raise quarantined(
            f"the same code on the same {len(inputs.objects)} objects made revision {short(found.revision_digest)}, which is "
            f"quarantined ({found.reason}); new data or changed code lifts it, or: stationkeeper resume --trainings {config.model.name}"
        )


def _check_spec(config: TrainConfig) -> bool:
    """Refuse what cannot work before a byte is read; tells whether classes are learned."""
    training = config.training
    schema.check_names(training.data)
    classifier = training.own is not None and training.own.task == "Classification"
    if training.estimator:
        classifier = estimators.classifies(estimators.build(training.estimator, 0))
    check_metrics(training.evaluation.gates)
    if training.search:
        search.check(training)
    return classifier


def _fetch(source: Store, inputs: Inputs, paths: Paths) -> list[Path]:
    files = []
    for number, item in enumerate(inputs.objects):
        folder = paths.work / "inputs" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        # The name is for messages; it comes from outside, so it is made harmless first.
        path = folder / re.sub(r"[^A-Za-z0-9._=-]", "_", item.key)[-100:]
        source.download(item.key, path)
        if path.stat().st_size != item.size:
            raise invalid("InputChanged", f"{source.uri(item.key)} changed while it was read; retrain when writing has ended")
        files.append(path)
    log.info("fetched %d objects, %.1f MB", len(files), sum(item.size for item in inputs.objects) / 1e6)
    return files


def _read(files: list[Path], config: TrainConfig, champion: Manifest | None) -> pl.DataFrame:
    data = config.training.data
    wanted = _wanted(files, config, champion)
    if data.target not in wanted & _present(files, data):
        raise invalid(
            "MissingTargetColumn",
            f"the target {data.target!r} is missing in the data under {data.uri}; restore it, or correct data.target",
        )
    if data.timestamp and data.timestamp not in _present(files, data):
        raise invalid(
            "MissingTimestampColumn",
            f"the timestamp {data.timestamp!r} is missing in the data under {data.uri}; correct data.timestamp",
        )
    frame = reading.read_window(files, data, wanted, _end(files, config))
    if frame.is_empty():
        raise invalid(
            "EmptyWindow",
            f"no row under {data.uri} lies in the window; widen data.window, or set data.asOf: LatestRow for old data",
        )
    return frame


def _present(files: list[Path], data: Data) -> set[str]:
    return {name for file in files for name in reading.columns_of(file, data)}


def _wanted(files: list[Path], config: TrainConfig, champion: Manifest | None) -> set[str]:
    data = config.training.data
    if data.features is None and champion is None:
        return _present(files, data)
    known: Collection[str] = [column.name for column in champion.features] if champion else []
    return {
        data.target,
        *([data.timestamp] if data.timestamp else []),
        *(data.features or ()),
        *known,
        *segment_columns(config.training.evaluation),
    }


def _end(files: list[Path], config: TrainConfig) -> datetime | None:
    data = config.training.data
    if data.timestamp is None:
        return None
    if data.as_of == "Now":
        return config.as_of
    return reading.newest(files, data)


def check_new_rows(rows: pl.DataFrame, config: TrainConfig, champion: Manifest | None) -> None:
    """A drift is trained on when enough labelled rows have come after it.

    Raises:
        AttemptEnded: WaitingForLabels.
    """
    data = config.training.data
    if config.cause not in (Cause.DRIFT, Cause.QUALITY) or data.timestamp is None:
        return
    time = pl.col(data.timestamp)
    through = champion.data.through if champion else None
    if data.as_of == "Now" and config.onset is not None:
        since, count, what = config.onset, rows.filter(time >= config.onset).height, "since the drift began"
    elif through is not None:
        since, count, what = through, rows.filter(time > through).height, "newer than those the serving revision knows"
    else:
        return
    log.info("%d labelled rows after %s", count, since)
    if count < data.min_new_rows:
        raise waiting(f"{count} labelled rows are {what} ({since:%Y-%m-%d %H:%M} UTC); training waits for {data.min_new_rows}")


def _write(
    rows: pl.DataFrame,
    unlabelled: int,
    config: TrainConfig,
    champion: Manifest | None,
    inputs: Inputs,
    paths: Paths,
    kind: schema.ClassKind | None,
    end: datetime | None,
    frozen: _Frozen | None,
) -> None:
    data = config.training.data
    features = schema.choose_features(rows, data, champion)
    schema.check_readable(rows, features)
    names = [feature.name for feature in features]
    time = [data.timestamp] if data.timestamp else []
    known = [column.name for column in champion.features] if champion else []
    rule, segments = config.training.evaluation.holdout, segment_columns(config.training.evaluation)
    check_segments(rows if frozen is None else frozen.rows, segments)
    kept = list(dict.fromkeys([*names, *(n for n in known if n in rows.columns), data.target, *time, *segments]))
    digest = frozen.digest if frozen else None
    through = known_through(champion, rule, digest) if champion else None
    if frozen is None:
        rows = rows.select(kept)
        since = shortest_since(data, end)
        train, holdout = split(rows, data.timestamp, rule, config.model.uid, [*names, data.target], through, since)
        between = gap_between(rows, data.timestamp, train, holdout)
    else:
        holdout = _readable(frozen, features).select([name for name in kept if name in frozen.rows.columns])
        train = without(rows, holdout, [*names, data.target, *time])
        between = train.clear()
        check_enough(train, holdout)
    schema.check_not_vanished(train, holdout, features)
    meaning = _meaning(train, features, data, kind)
    found = stretches(train, data, end, meaning)
    meaning = meaning.model_copy(update={"stretches": found})
    train = learned(train, meaning, found[-1] if found else None)
    leakage.check_leakage(train, meaning, estimators.seed_of(config.model.uid, config.episode, config.attempt))
    start, newest = reading.span(train, data.timestamp)
    first, last = reading.span(holdout, data.timestamp)
    prepared = Prepared(
        rows_schema=meaning,
        data=DataRecord(
            uri=data.uri,
            objects=len(inputs.objects),
            digest=inputs.digest,
            rows=train.height,
            rows_without_target=unlabelled,
            start=start,
            through=newest,
        ),
        holdout_rows=holdout.height,
        holdout_start=first,
        holdout_end=last,
        champion_through=through,
        champion_shares_split=bool(data.timestamp) or champion is None or shares_split(champion, digest, names),
        frozen=digest,
    )
    train.select([*names, data.target, *time]).write_parquet(paths.train)
    if config.training.own:
        ready = input_of(meaning, train).frame().with_columns(pl.Series(TARGET, target_of(train, meaning)))
        ready.write_parquet(paths.input)
    holdout.write_parquet(paths.holdout)
    between.select([*names, data.target, *time]).write_parquet(paths.gap)
    paths.schema.write_bytes(meaning.model_dump_json(by_alias=True).encode())
    paths.prepared.write_bytes(prepared.model_dump_json(by_alias=True).encode())
    log.info("prepared %d rows to train on and %d to judge with, %d features", train.height, holdout.height, len(features))


def _readable(frozen: _Frozen, features: list[Column]) -> pl.DataFrame:
    try:
        schema.check_readable(frozen.rows, features)
    except AttemptEnded as ending:
        raise invalid(ending.reason, f"evaluation.holdout.uri: {ending.message}") from ending
    return frozen.rows


def _meaning(train: pl.DataFrame, features: list[Column], data: Data, kind: schema.ClassKind | None) -> Schema:
    if kind is None:
        if train[data.target].n_unique() < 2:
            raise invalid("ConstantTarget", f"every training row has the same {data.target!r}; widen the window")
        return Schema(task=Task.REGRESSION, features=features, target=data.target, timestamp=data.timestamp)
    task, classes, positive = schema.classes_of(train[data.target], kind, data.positive_label)
    return Schema(
        task=task,
        features=features,
        target=data.target,
        timestamp=data.timestamp,
        classes=classes,
        class_kind=kind,
        positive_label=positive,
    )
