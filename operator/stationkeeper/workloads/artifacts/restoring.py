"""What a prefix holds, for a cluster that knows nothing of it: revisions, numbers, quarantine, who served last.

Trusted is a manifest that hashes to its name, that the outcome of its own attempt names, and whose files are all there. What
was decided is read from the evidence of decisions; a store without any is of an earlier version, which promoted what it published.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from stationkeeper.api.decision import EvidenceBundle
from stationkeeper.api.manifest import Manifest
from stationkeeper.api.meta import TERMINATION_LIMIT
from stationkeeper.api.status import DecisionKind, LastTraining, Quarantined, TrainingOutcome
from stationkeeper.api.summary import RestoredRevision, RestoreSummary, TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import ArtifactError, MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.store import Store

log = logging.getLogger(__name__)
_MAX_BYTES = 2**20
_REASON = 80  # characters of why a revision is quarantined: the message has little room
_SERVES = (DecisionKind.PROMOTED, DecisionKind.PINNED)
_FELL = (DecisionKind.REJECTED, DecisionKind.ROLLED_BACK)


@dataclass(frozen=True)
class _Found:
    """Everything that is trusted, by digest, and the decisions in their order."""

    manifests: dict[str, Manifest]
    decisions: list[EvidenceBundle]
    highest: int  # number of any manifest, trusted or not
    untrusted: int = 0
    bad: dict[str, EvidenceBundle] = field(default_factory=dict)  # by digest: why it must not serve


def survey(store: Store, lineage: str, most: int) -> RestoreSummary:
    """The newest revisions and what is known of them, in as many bytes as a termination message has.

    Raises:
        StoreError: when the store fails.
    """
    found = _find(store)
    served = _served(found)
    serving = served[-1] if served else None
    # What was published and never promoted would serve here without its canary.
    revisions = _distinct([_told(d, m) for d, m in found.manifests.items() if d in served or d in found.bad], serving)
    numbers = [manifest.number for manifest in found.manifests.values()] + [d.revision.number for d in found.decisions]
    summary = RestoreSummary(
        lineage=lineage,
        latest_revision=max([found.highest, *numbers], default=0),
        serving=found.manifests[serving].number if serving else None,
        revisions=revisions[:most],
        quarantine=[_quarantined(bundle) for bundle in found.bad.values()][-32:],
        refused=_refused(found),
        left_out=max(0, len(revisions) - most),
        untrusted=found.untrusted,
    )
    return _fitted(summary)


def _find(store: Store) -> _Found:
    manifests: dict[str, Manifest] = {}
    untrusted, highest = 0, 0
    for item in store.list(keys.MANIFESTS):
        digest = f"sha256:{item.key.removeprefix(keys.MANIFESTS).removesuffix('.json')}"
        try:
            manifest = load_manifest(store, digest)
            highest = max(highest, manifest.number)
            _check(store, digest, manifest)
            manifests[digest] = manifest
        except (ArtifactError, NotFound, ValidationError) as error:
            log.warning("not trusted: %s", error)
            untrusted += 1
    decisions = list(_decisions(store))
    bad = {d.revision.digest: d for d in decisions if d.decision in _FELL}
    return _Found(manifests, decisions, highest, untrusted, bad)


def _check(store: Store, digest: str, manifest: Manifest) -> None:
    """Whether the attempt ended with this very manifest, and its files are there. Pods hash them before they serve."""
    key = keys.outcome(manifest.episode, manifest.attempt)
    outcome = TrainingSummary.model_validate_json(store.get(key, max_bytes=TERMINATION_LIMIT))
    if outcome.outcome is not TrainingOutcome.PUBLISHED or outcome.digest != digest:
        raise MalformedArtifact(f"{store.uri(key)} does not say that {store.uri(keys.manifest(digest))} was published")
    for ref in manifest.files.values():
        if not store.exists(keys.blob(ref.digest)):
            raise NotFound(f"{store.uri(keys.blob(ref.digest))}, a file of revision {manifest.number}, has gone")


def _decisions(store: Store) -> Sequence[EvidenceBundle]:
    """In the order in which they were taken; one that cannot be read is left out and told."""
    found = []
    for item in store.list(keys.DECISIONS):
        try:
            found.append(EvidenceBundle.model_validate_json(store.get(item.key, max_bytes=_MAX_BYTES)))
        except (ValidationError, MalformedArtifact, NotFound) as error:
            log.warning("%s is no decision that this version can read: %s", store.uri(item.key), error)
    return sorted(found, key=lambda bundle: bundle.at)


def _served(found: _Found) -> list[str]:
    """Digests of the trusted revisions that have served and may again, the last at the end."""
    by_number = sorted(found.manifests, key=lambda digest: (found.manifests[digest].number, found.manifests[digest].trained_at))
    promoted = [d.revision.digest for d in found.decisions if d.decision in _SERVES]
    if not promoted:
        return [digest for digest in by_number if digest not in found.bad]
    # What was promoted before decisions were written down is older than the first that was.
    first = min((d.revision.number for d in found.decisions if d.decision in _SERVES), default=0)
    older = [digest for digest in by_number if found.manifests[digest].number < first and digest not in promoted]
    served = [digest for digest in (*older, *promoted) if digest in found.manifests and digest not in found.bad]
    return list(dict.fromkeys(reversed(served)))[::-1]


def _distinct(revisions: Sequence[RestoredRevision], serving: str | None) -> list[RestoredRevision]:
    """One for each number, the newest number first: a training that an edit superseded may have had the next one's."""
    ordered = sorted(revisions, key=lambda revision: (revision.digest == serving, revision.trained_at))
    by_number = {revision.number: revision for revision in ordered}
    return [by_number[number] for number in sorted(by_number, reverse=True)]


def _told(digest: str, manifest: Manifest) -> RestoredRevision:
    judged = manifest.evaluation
    return RestoredRevision(
        number=manifest.number,
        digest=digest,
        cause=manifest.cause,
        episode=manifest.episode,
        attempt=manifest.attempt,
        template_digest=manifest.template_digest,
        data_digest=manifest.data.digest,
        data_since=manifest.data.start,
        data_through=manifest.data.through,
        trained_at=manifest.trained_at,
        metrics={name: round(score.value, 6) for name, score in list(judged.metrics.items())[:4]},
        champion_digest=judged.champion,
        champion_number=judged.champion_number,
    )


def _quarantined(bundle: EvidenceBundle) -> Quarantined:
    return Quarantined(
        digest=bundle.revision.digest,
        reason=bundle.message[:_REASON],
        at=bundle.at,
        promoted=bundle.decision is DecisionKind.ROLLED_BACK,
        template_digest=bundle.code.template_digest,
        data_digest=bundle.data_digest,
    )


def _refused(found: _Found) -> LastTraining | None:
    """The last training, if the gates refused it: code that was tried in vain is not tried again here."""
    last = next((d for d in reversed(found.decisions) if d.decision is DecisionKind.TRAINING_REFUSED), None)
    newest = max((manifest.trained_at for manifest in found.manifests.values()), default=None)
    if last is None or last.trigger is None or last.code.template_digest is None or (newest and newest > last.at):
        return None
    reason = last.message.partition(": ")[0].rpartition(" ")[2][:64] or "GateRefused"
    return LastTraining(
        episode=last.trigger.episode,
        attempt=last.trigger.attempt,
        cause=last.trigger.cause,
        outcome=TrainingOutcome.REFUSED,
        reason=reason,
        message=last.message[:160],
        finished_at=last.at,
        template_digest=last.code.template_digest,
        revision=last.revision.number,
        source=last.data_digest,
    )


def _fitted(summary: RestoreSummary) -> RestoreSummary:
    """Leave out the oldest until it can be told; what served last stays to the end."""
    while len(summary.model_dump_json(by_alias=True, exclude_none=True).encode()) > TERMINATION_LIMIT:
        spare = [revision for revision in summary.revisions if revision.number != summary.serving]
        if spare:
            oldest = min(spare, key=lambda revision: revision.number)
            kept = [revision for revision in summary.revisions if revision.digest != oldest.digest]
            summary = summary.model_copy(update={"revisions": kept, "left_out": summary.left_out + 1})
        elif summary.quarantine:
            summary = summary.model_copy(update={"quarantine": summary.quarantine[1:]})
        else:
            summary = summary.model_copy(update={"refused": None, "revisions": summary.revisions[:1]})
    return summary
