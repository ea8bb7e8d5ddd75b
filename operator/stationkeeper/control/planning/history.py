"""The records of the past: of a challenger that was refused, and which are too old to be kept. Pure."""

from collections.abc import Collection, Sequence

from stationkeeper.api import layout
from stationkeeper.api.base import sha256
from stationkeeper.api.revision import Champion, ModelRevisionSpec, RevisionOutcome
from stationkeeper.api.status import Episode
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.control.resources.common import Owner


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
