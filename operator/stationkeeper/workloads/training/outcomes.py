"""Every terminal outcome is written, once: `episodes/<id>/<attempt>/outcome.json`."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from stationkeeper.api.base import canonical_json
from stationkeeper.api.jobs import AttemptConfig
from stationkeeper.api.manifest import EvaluationRecord
from stationkeeper.api.meta import TERMINATION_LIMIT
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.handover import Paths

log = logging.getLogger(__name__)


def stored(store: Store, config: AttemptConfig) -> TrainingSummary | None:
    """The outcome of this attempt if it has ended already.

    Raises:
        MalformedArtifact: when what is stored there is no outcome of it.
    """
    key = keys.outcome(config.episode, config.attempt)
    try:
        return decode(store.get(key, max_bytes=TERMINATION_LIMIT), store.uri(key))
    except NotFound:
        return None


def settle(store: Store, config: AttemptConfig, summary: TrainingSummary) -> TrainingSummary:
    """Write the outcome; when another pod was first, its outcome is the outcome."""
    if store.create(keys.outcome(config.episode, config.attempt), summary.encode()):
        return summary
    found = stored(store, config)
    if found is None:
        raise MalformedArtifact(f"{store.uri(keys.outcome(config.episode, config.attempt))} exists and cannot be read")
    log.warning("another pod has ended this attempt already: %s", found.outcome)
    return found


def ended(config: AttemptConfig, ending: AttemptEnded, data_digest: str | None = None) -> TrainingSummary:
    """The summary of an attempt without a revision; `data_digest` is of what it looked at, where that is known."""
    return TrainingSummary(
        episode=config.episode,
        attempt=config.attempt,
        outcome=ending.outcome,
        reason=ending.reason,
        message=ending.message,
        finished_at=datetime.now(UTC),
        data_digest=data_digest,
    )


def keep_evaluation(store: Store, config: AttemptConfig, record: EvaluationRecord) -> None:
    """What the gates said of a challenger that they refused: it has no manifest to stand in."""
    store.create(keys.evaluation(config.episode, config.attempt), canonical_json(record.wire()))


def mark(paths: Paths, summary: TrainingSummary) -> None:
    """Tell the containers that follow that nothing is left to do."""
    paths.make()
    for marker in paths.markers:
        marker.write_bytes(summary.encode())


def marked(paths: Paths) -> TrainingSummary | None:
    """What `mark` left, as the publishing container sees it."""
    marker = paths.markers[1]
    return decode(marker.read_bytes(), marker.name) if marker.is_file() else None


def decode(data: bytes, name: str | Path) -> TrainingSummary:
    """Read an outcome.

    Raises:
        MalformedArtifact: when it is none.
    """
    try:
        return TrainingSummary.model_validate_json(data)
    except ValidationError as error:
        raise MalformedArtifact(f"{name} is not the outcome of a training: {error}") from error
