"""A fresh Model on storage that has a past: nothing is trained or served before that is read (SEMANTICS §5). Pure.

It is asked for by `spec.storage.adopt` and happens once. The records are written before the status that calls it done, so
that a crash between them only writes them again.
"""

from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api import layout
from stationkeeper.api.jobs import RestoreConfig
from stationkeeper.api.meta import CONTAINER_RESTORE
from stationkeeper.api.revision import Champion, ModelRevisionSpec
from stationkeeper.api.status import LastTraining, ModelStatus, Restore
from stationkeeper.api.summary import RestoredRevision, RestoreSummary
from stationkeeper.control.planning import evidence
from stationkeeper.control.planning.types import Event, Object, Observed, Ref
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.restore import restore_job


@dataclass(frozen=True)
class Restoring:
    """What status says while it is under way, and what is done about it."""

    status: ModelStatus  # what it knows now; conditions are not in it
    message: str
    records: tuple[ModelRevisionSpec, ...] = ()
    apply: tuple[Object, ...] = ()
    delete: tuple[Ref, ...] = ()
    events: tuple[Event, ...] = ()
    failed: bool = False


def plan_restore(
    observed: Observed, owner: Owner, status: ModelStatus, known: bool, image: Image, now: datetime
) -> Restoring | None:
    """Begin or follow it; None when there is nothing to restore, or when that is done. `known`: whether there are records."""
    under_way = status.restore
    if under_way is None:
        if not owner.spec.storage.adopt or known or not _untouched(status):
            return None
        begun = Restore(at=now.replace(microsecond=0), message="storage is being read")
        # An attempt to which the prefix was refused taught nothing: what it was for is asked again, of what is found.
        after = status.model_copy(update={"restore": begun, "episode": None, "last_training": None, "waiting": None})
        return Restoring(after, "what storage holds is read before anything is trained")
    if under_way.done:
        return None
    return _follow(observed, owner, status, under_way, image)


def _untouched(status: ModelStatus) -> bool:
    """Whether nothing was served or learned, nor is: an attempt that ended because the prefix is another's did neither."""
    last, episode = status.last_training, status.episode
    if status.serving is not None:
        return False
    if last is None:
        return episode is None
    ended = episode is None or (episode.id, episode.attempt) == (last.episode, last.attempt)
    return ended and last.reason == "StorageInUse"


def _follow(observed: Observed, owner: Owner, status: ModelStatus, restore: Restore, image: Image) -> Restoring:
    name = names.restore_job(owner.name, owner.uid)
    job = next((j for j in observed.jobs if j["metadata"]["name"] == name and evidence.controlled_by(j, owner.uid)), None)
    message = "what storage holds is read before anything is trained"
    if job is None:
        config = RestoreConfig(model=owner.identity, storage=owner.spec.storage, most=owner.spec.revision_history_limit)
        return Restoring(status, message, apply=(restore_job(owner, config, image),))
    summary = evidence.restore_summary(observed, job)
    if summary:
        return _restored(owner, status, restore, summary)
    match evidence.finished(job):
        case None:
            return Restoring(status, message)
        case "Complete":
            return Restoring(status, message, delete=(Ref.to(job),))  # its message is lost: run it again to hear it
        case reason:
            said = evidence.failure(observed, job, (CONTAINER_RESTORE,))
            why = f"{said.reason}: {said.message}" if said else f"its Job failed ({reason})"
            why = f"storage cannot be taken over: {why}"[:500]
            told = () if restore.message == why else (Event("Warning", "RestoreFailed", why),)
            after = status.model_copy(update={"restore": restore.model_copy(update={"message": why})})
            return Restoring(after, f"{why}; it is tried again within minutes", events=told, failed=True)


def _restored(owner: Owner, status: ModelStatus, restore: Restore, summary: RestoreSummary) -> Restoring:
    count = len(summary.revisions)
    found = f"{count} revision{'s' if count > 1 else ''}" if summary.revisions else "no revision that can be trusted"
    serves = f", of which revision {summary.serving} served last" if summary.serving else ""
    more = "".join(
        f"; {count} {what}"
        for count, what in (
            (summary.left_out, "older ones stay without a record"),
            (summary.untrusted, "manifests are not trusted"),
        )
        if count
    )
    message = f"found {found}{serves}{more}"
    serving = next((r.digest for r in summary.revisions if r.number == summary.serving), None)
    after = status.model_copy(
        update={
            "restore": restore.model_copy(
                update={"done": True, "message": message, "lineage": summary.lineage[:64], "serving": serving}
            ),
            "latest_revision": max(status.latest_revision, summary.latest_revision),
            "quarantine": list(summary.quarantine),
            "last_training": _last(owner, summary.refused),
        }
    )
    records = tuple(_record(owner, revision) for revision in summary.revisions)
    return Restoring(after, message, records=records, events=(Event("Normal", "Restored", message),))


def _last(owner: Owner, refused: LastTraining | None) -> LastTraining | None:
    """The training that was refused; of one that learned here, storage's data digest is that of its rows and no published file's."""
    return refused if refused is None or owner.spec.source else refused.model_copy(update={"source": None})


def _record(owner: Owner, revision: RestoredRevision) -> ModelRevisionSpec:
    storage = owner.spec.storage
    champion = None
    if revision.champion_digest and revision.champion_number:
        champion = Champion(number=revision.champion_number, digest=revision.champion_digest)
    return ModelRevisionSpec(
        model_name=owner.name,
        number=revision.number,
        digest=revision.digest,
        manifest_uri=layout.uri(storage, layout.manifest(revision.digest)),
        cause=revision.cause,
        episode=revision.episode,
        attempt=revision.attempt,
        template_digest=revision.template_digest,
        data_digest=revision.data_digest,
        data_since=revision.data_since,
        data_through=revision.data_through,
        trained_at=revision.trained_at,
        metrics=revision.metrics,
        champion=champion,
    )
