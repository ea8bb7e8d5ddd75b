"""The records of revisions: of what a training has published, of what the gates refused, and which are too old to be kept. Pure."""

from collections.abc import Collection, Sequence

from stationkeeper.api import layout
from stationkeeper.api.base import sha256
from stationkeeper.api.revision import Champion, ModelRevisionSpec, RevisionOutcome
from stationkeeper.api.status import Episode
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.control.planning.episodes import Training
from stationkeeper.control.planning.given import Given
from stationkeeper.control.planning.rollout import Rollout
from stationkeeper.control.planning.types import Object, Ref
from stationkeeper.control.resources.common import Owner
from stationkeeper.control.resources.revision import model_revision


def new(owner: Owner, training: Training) -> tuple[Object, ...]:
    """The records of the training that has just ended."""
    found = [_published(owner, training.episode, training.published)] if training.published else []
    if training.refused and (refused := rejected(owner, *training.refused)):
        found.append(refused)
    return tuple(model_revision(owner, record) for record in found)


def old(given: Given, rollout: Rollout) -> list[Ref]:
    """Records beyond the history limit; never one that serves or comes up. Refusals do not push out what was published."""
    live = {ref.number for ref in (rollout.serving, rollout.candidate) if ref} | {given.spec.revision}
    limit = given.spec.revision_history_limit
    gone = beyond(given.records, limit, live) | beyond(given.rejected, limit)
    return [Ref.to(r) for r in given.observed.revisions if (r.get("spec") or {}).get("digest") in gone]


def _published(owner: Owner, episode: Episode | None, summary: TrainingSummary) -> ModelRevisionSpec:
    assert episode is not None
    assert summary.digest
    assert summary.data_digest
    assert summary.manifest_uri
    champion = None
    if summary.champion_digest and summary.champion_number:
        metrics = summary.champion_metrics
        shift = summary.champion_shift
        champion = Champion(number=summary.champion_number, digest=summary.champion_digest, metrics=metrics, shift=shift)
    return ModelRevisionSpec(
        model_name=owner.name,
        number=summary.revision or episode.revision,
        digest=summary.digest,
        manifest_uri=summary.manifest_uri,
        cause=episode.asked,
        episode=episode.id,
        attempt=episode.attempt,
        evidence=episode.evidence,
        template_digest=episode.template_digest,
        data_digest=summary.data_digest,
        data_since=summary.data_since,
        data_through=summary.data_through,
        trained_at=summary.finished_at,
        metrics=summary.metrics,
        champion=champion,
    )


def rejected(owner: Owner, episode: Episode, summary: TrainingSummary) -> ModelRevisionSpec | None:
    """The record of a refused challenger; None where its outcome does not say what it learned from.

    It has no manifest, for nothing of it was kept that could serve. Its outcome is written once and tells it from all others.
    """
    if summary.data_digest is None:
        return None
    champion = None
    if summary.champion_digest and summary.champion_number:
        champion = Champion(number=summary.champion_number, digest=summary.champion_digest, metrics=summary.champion_metrics)
    return ModelRevisionSpec(
        model_name=owner.name,
        number=episode.revision,
        outcome=RevisionOutcome.REJECTED,
        reason=summary.reason,
        message=summary.message,
        digest=sha256(summary.encode()),
        outcome_uri=layout.uri(owner.spec.storage, layout.outcome(episode.id, summary.attempt)),
        cause=episode.asked,
        episode=episode.id,
        attempt=summary.attempt,
        evidence=episode.evidence,
        template_digest=episode.template_digest,
        data_digest=summary.data_digest,
        data_through=summary.data_through,
        trained_at=summary.finished_at,
        metrics=summary.metrics,
        champion=champion,
    )


def beyond(records: Sequence[ModelRevisionSpec], limit: int, kept: Collection[int | None] = ()) -> set[str]:
    """Digests of the records that are older than the newest `limit`; never one whose number is in `kept`."""
    newest = sorted(records, key=lambda record: record.number, reverse=True)
    return {record.digest for record in newest[limit:] if record.number not in kept}
