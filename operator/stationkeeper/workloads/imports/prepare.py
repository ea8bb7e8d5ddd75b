"""The first step of an import: fetch the file, and the rows that judge it."""

import logging
from pathlib import Path

from stationkeeper.api.base import Digest, Tolerant, short
from stationkeeper.api.jobs import ImportConfig
from stationkeeper.workloads.artifacts.owner import claim
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.imports import holdout
from stationkeeper.workloads.imports.place import Open, Place, Unusable
from stationkeeper.workloads.training.ending import invalid, quarantined
from stationkeeper.workloads.training.handover import Paths
from stationkeeper.workloads.training.metrics import check_metrics

log = logging.getLogger(__name__)


class Fetched(Tolerant):
    """Which file was fetched, and which rows."""

    digest: Digest
    size: int
    evaluation: Digest | None = None  # of the list of objects of the rows that judge it


def file_of(paths: Paths) -> Path:
    """The published file, in the pod."""
    return paths.model / "source"


def fetched(paths: Paths) -> Fetched | None:
    """Which file `prepare` has left; None when it left none."""
    record = _record_of(paths)
    return Fetched.model_validate_json(record.read_bytes()) if record.is_file() else None


def _record_of(paths: Paths) -> Path:
    return paths.work / "fetched.json"


def check_quarantine(config: ImportConfig, digest: str) -> None:
    """What was rolled back stays away, also where it lies in the place of the file that was last seen.

    Raises:
        AttemptEnded: Quarantined.
    """
    found = next((entry for entry in config.quarantined if entry.data_digest == digest), None)
    if found:
        raise quarantined(
            f"the published file {short(digest)} became revision {short(found.revision_digest)}, which is quarantined ({found.reason}); "
            f"publish another, or: stationkeeper resume --trainings {config.model.name}"
        )


def prepare(config: ImportConfig, artifacts: Store, opened: Open, paths: Paths) -> None:
    """Leave the file and the rows for the step that follows.

    Raises:
        AttemptEnded: InvalidData, when there is no file, another than was asked for, or no rows that can be read; Quarantined.
        StoreError, ArtifactError: when a store fails, or the prefix is another Model's.
    """
    claim(artifacts, config.model)
    if config.gates:
        check_metrics(config.gates)
    place = Place.of(config.source, opened)
    try:
        seen = place.look()
    except Unusable as found:
        raise invalid("NoData", str(found)) from found
    digest = place.fetch(seen, file_of(paths))
    if digest is None or (config.digest and digest != config.digest):
        raise invalid("InputChanged", f"{place.uri} is another file now than this import was for; the next look tells of it")
    log.info("fetched %s: %s, %d bytes", place.uri, digest, seen.size)
    which = Fetched(digest=digest, size=seen.size)
    _record_of(paths).write_bytes(which.model_dump_json().encode())  # rows that cannot be read end the attempt of this file
    check_quarantine(config, digest)
    judging = holdout.gather(config, artifacts, opened, paths.work / "inputs")
    if judging is not None:
        judging.rows.write_parquet(paths.holdout)
        which = which.model_copy(update={"evaluation": judging.digest})
        _record_of(paths).write_bytes(which.model_dump_json().encode())
