"""The first container: freeze the inputs, read the window, validate, split."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from stationkeeper.api.base import sha256, short
from stationkeeper.api.data import Data
from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Column, ColumnKind, DataRecord, Manifest, Task
from stationkeeper.api.status import Cause
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.owner import claim
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training import estimators, leakage, reading, schema, search
from stationkeeper.workloads.training.challenger import input_of
from stationkeeper.workloads.training.divide import Frozen, divide
from stationkeeper.workloads.training.duplicates import check_duplicates, without_copies
from stationkeeper.workloads.training.ending import invalid, quarantined, waiting
from stationkeeper.workloads.training.feedback import Fed, Gather, gathered
from stationkeeper.workloads.training.fit import target_of
from stationkeeper.workloads.training.frozen import frozen_holdout
from stationkeeper.workloads.training.handover import TARGET, Paths, Prepared, Schema
from stationkeeper.workloads.training.inputs import Inputs, Opened, fetch, freeze
from stationkeeper.workloads.training.metrics import check_metrics
from stationkeeper.workloads.training.poison import check_labels
from stationkeeper.workloads.training.reading import OBJECT, InputFile
from stationkeeper.workloads.training.sample import Limit
from stationkeeper.workloads.training.validation import check_columns
from stationkeeper.workloads.training.windows import learned, stretches

log = logging.getLogger(__name__)

MAX_NOTES: Final = 16
MAX_NOTE: Final = 512  # characters


def prepare(config: TrainConfig, artifacts: Store, opened: Opened, paths: Paths, gather: Gather | None = None) -> None:
    """Write training rows, holdout and their description for the containers that follow.

    Args:
        config: the attempt.
        artifacts: the Model's own store.
        opened: gives the store at an address of data, labels, or a holdout of its own.
        paths: where rows go.
        gather: brings captured rows with their labels; without it there is no feedback.

    Raises:
        AttemptEnded: InvalidData or WaitingForLabels.
        StoreError, ArtifactError: when the store fails, or the prefix is another's.
    """
    claim(artifacts, config.model)
    classifier = _check_spec(config)
    champion = load_manifest(artifacts, config.champion.digest) if config.champion else None
    data = config.training.data
    key = keys.inputs(config.episode, config.attempt)
    inputs = freeze(artifacts, opened, key, data, artifacts.uri(""))
    fed = gathered(gather, config, champion, artifacts, opened, paths.work / "captured")
    digest = _digest(inputs, fed)
    check_quarantine(config, digest)
    files = fetch(opened, inputs, paths.work / "inputs")
    frame, limit = _read(files, config, champion, fed)
    for file in files:
        file.path.unlink()
    rows = schema.with_target(frame, data.target, classifier=classifier)
    if rows.is_empty():
        raise invalid(
            "EmptyWindow", f"none of the {frame.height} rows in the window has a value of {data.target!r}: wait for labels"
        )
    check_new_rows(rows, config, champion)
    repeated = check_duplicates(rows, data, classifier=classifier)
    labelled = rows.height
    sound = check_columns(rows, data, champion, artifacts)
    rows = sound.rows
    notes = sound.notes + check_labels(rows, data, champion, artifacts, files, classifier=classifier)
    kind = schema.class_label(frame[data.target].dtype)
    unlabelled = limit.unlabelled + frame.height - labelled
    lacking = [f"{unlabelled} rows have no value of {data.target!r} and are left out"] if unlabelled else []
    found = DataRecord(
        uri=data.uri,
        objects=len(inputs.objects),
        digest=digest,
        rows=0,
        rows_without_target=unlabelled,
        feedback=fed.record if fed else None,
        beyond=limit.beyond,
        duplicates=repeated.duplicates,
        conflicting=repeated.conflicting,
        broken=sound.left_out,
        notes=_notes([*lacking, *limit.notes, *(fed.notes if fed else ()), *repeated.notes, *notes]),
    )
    frozen = frozen_holdout(config, artifacts, opened, paths, champion, classifier=classifier)
    end = newest_of(frame, data) if data.as_of == "LatestRow" else config.as_of
    _write(rows.drop(OBJECT), found, config, champion, paths, kind if classifier else None, end, frozen)


def newest_of(frame: pl.DataFrame, data: Data) -> datetime | None:
    """The newest time of all rows, labelled or not."""
    return reading.span(frame, data.timestamp)[1]


def check_quarantine(config: TrainConfig, digest: str) -> None:
    """The same code on the same data is not tried again after what it made has been taken back (SEMANTICS §5).

    Raises:
        AttemptEnded: Quarantined.
    """
    found = next((entry for entry in config.quarantined if entry.data_digest == digest), None)
    if found:
        raise quarantined(
            f"the same code on the same data made revision {short(found.revision_digest)}, which is quarantined ({found.reason}); "
            f"new data or changed code lifts it, or: stationkeeper resume --trainings {config.model.name}"
        )


def _digest(inputs: Inputs, fed: Fed | None) -> str:
    return sha256(f"{inputs.digest} {fed.digest}".encode()) if fed else inputs.digest


def _notes(notes: Sequence[str]) -> list[str]:
    for note in notes:
        log.warning("%s", note)
    return [note if len(note) <= MAX_NOTE else f"{note[: MAX_NOTE - 3]}..." for note in notes[:MAX_NOTES]]


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


def _read(files: list[InputFile], config: TrainConfig, champion: Manifest | None, fed: Fed | None) -> tuple[pl.DataFrame, Limit]:
    data = config.training.data
    present = {name for file in files for name in reading.columns_of(file)}
    wanted = schema.wanted_columns(present, config.training, champion)
    schema.check_present(present, data, _places(data))
    limit = Limit(data.max_rows, data.timestamp, data.target, sorted(wanted), config.model.uid)
    texts = {column.name for column in champion.features if column.kind is ColumnKind.CATEGORICAL} if champion else set[str]()
    more = fed.rows if fed and fed.rows.height else None
    frame = reading.read_window(files, data, wanted, _end(files, config, more), limit, texts=texts, more=more)
    if frame.is_empty():
        raise invalid(
            "EmptyWindow",
            f"no row under {_places(data)} lies in the window; widen data.window, or set data.asOf: LatestRow for old data",
        )
    return frame, limit


def _places(data: Data) -> str:
    return " and ".join([data.uri, *(source.uri for source in data.sources)])


def _end(files: list[InputFile], config: TrainConfig, more: pl.DataFrame | None) -> datetime | None:
    data = config.training.data
    if data.timestamp is None:
        return None
    if data.as_of == "Now":
        return config.as_of
    times = [reading.newest(files, data.timestamp), more[data.timestamp].max() if more is not None else None]
    return max((time for time in times if isinstance(time, datetime)), default=None)


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
    record: DataRecord,
    config: TrainConfig,
    champion: Manifest | None,
    paths: Paths,
    kind: schema.ClassKind | None,
    end: datetime | None,
    frozen: Frozen | None,
) -> None:
    data = config.training.data
    features = schema.choose_features(rows, data, champion)
    schema.check_readable(rows, features)
    names = [feature.name for feature in features]
    time = [data.timestamp] if data.timestamp else []
    divided = divide(rows, config, champion, features, end, frozen)
    train, holdout, judging = divided.train, divided.holdout, divided.judging
    if data.timestamp and frozen is None:  # a hash, and a holdout of its own, keep equal rows on one side
        train, copies = without_copies(train, holdout, names, data.target)
        record = record.model_copy(update={"copies": copies})
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
        data=record.model_copy(update={"rows": train.height, "start": start, "through": newest}),
        holdout_rows=holdout.height,
        holdout_start=first,
        holdout_end=last,
        champion_through=judging.known_through(champion) if champion else None,
        champion_shares_split=bool(data.timestamp) or champion is None or judging.shares_split(champion, names),
        frozen=judging.frozen,
        frozen_apart=judging.apart,
    )
    train.select([*names, data.target, *time]).write_parquet(paths.train)
    if config.training.own:
        ready = input_of(meaning, train).frame().with_columns(pl.Series(TARGET, target_of(train, meaning)))
        ready.write_parquet(paths.input)
    holdout.write_parquet(paths.holdout)
    divided.between.select([*names, data.target, *time]).write_parquet(paths.gap)
    paths.schema.write_bytes(meaning.model_dump_json(by_alias=True).encode())
    paths.prepared.write_bytes(prepared.model_dump_json(by_alias=True).encode())
    log.info("prepared %d rows to train on and %d to judge with, %d features", train.height, holdout.height, len(features))


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
