"""Evidence bundles: what the operator decided, with what the store knows of it, written once."""

import logging
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from stationkeeper.api.decision import Canary, Code, EvidenceBundle, Subject, Trigger
from stationkeeper.api.jobs import RecordConfig
from stationkeeper.api.manifest import EvaluationRecord, Manifest
from stationkeeper.api.status import DecisionKind
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import ArtifactError, MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.store import Store

log = logging.getLogger(__name__)
_MAX_BYTES = 2**20
T = TypeVar("T")


def record(store: Store, config: RecordConfig) -> str:
    """Write the bundle of a decision unless it is there. Returns its address."""
    key = keys.decision(config.decision.at, config.decision.id)
    if not store.create(key, assemble(store, config).encode()):
        log.info("%s is there already", store.uri(key))
    return store.uri(key)


def assemble(store: Store, config: RecordConfig) -> EvidenceBundle:
    """The bundle. Evidence that cannot be read is named as missing: a decision is on record also when its revision is damaged."""
    decision, known, missing = config.decision, config.record, list[str]()
    manifest = None
    if decision.kind != DecisionKind.TRAINING_REFUSED:
        manifest = _read(missing, lambda: load_manifest(store, decision.digest))
    evaluation = manifest.evaluation if manifest else None
    if decision.kind == DecisionKind.TRAINING_REFUSED and known:
        evaluation = _read(missing, lambda: _evaluation(store, known.episode, known.attempt))
    return EvidenceBundle(
        id=decision.id,
        at=decision.at,
        decision=decision.kind,
        model=config.model,
        revision=Subject(
            number=decision.revision,
            digest=decision.digest,
            manifest_uri=known.manifest_uri if known else None,
            outcome_uri=known.outcome_uri if known else None,
            trained_at=known.trained_at if known else manifest.trained_at if manifest else None,
        ),
        message=decision.message,
        trigger=_trigger(config, manifest),
        code=Code(
            template_digest=known.template_digest if known else manifest.template_digest if manifest else None,
            estimator=manifest.estimator if manifest else None,
            images=dict(image.split("=", 1) for image in decision.images if "=" in image),
            versions=manifest.versions if manifest else {},
        ),
        data_digest=known.data_digest if known else manifest.data.digest if manifest else None,
        data=manifest.data if manifest else None,
        evaluation=evaluation,
        rollout=Canary(
            steps_passed=decision.steps,
            measured=decision.measured,
            prediction_shift=decision.shift,
            prediction_deviation=decision.deviation,
            queries=decision.queries,
        ),
        reports=decision.reports,
        approver=decision.approver,
        missing=missing,
    )


def _trigger(config: RecordConfig, manifest: Manifest | None) -> Trigger | None:
    made = config.record or manifest
    if made is None:
        return None
    return Trigger(cause=made.cause, episode=made.episode, attempt=made.attempt, report=made.evidence)


def _evaluation(store: Store, episode: str, attempt: int) -> EvaluationRecord:
    key = keys.evaluation(episode, attempt)
    try:
        return EvaluationRecord.model_validate_json(store.get(key, max_bytes=_MAX_BYTES))
    except ValidationError as error:
        raise MalformedArtifact(f"{store.uri(key)} is no evaluation that this version can read: {error}") from error


def _read(missing: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (ArtifactError, NotFound) as error:
        log.warning("missing evidence: %s", error)
        missing.append(str(error)[:500])
        return None
