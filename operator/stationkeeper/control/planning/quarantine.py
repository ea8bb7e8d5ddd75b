"""Quarantine covers a revision and the training that made it: the same code on the same data is not tried again (SEMANTICS §5). Pure."""

from collections.abc import Iterable, Mapping, Sequence

from stationkeeper.api.jobs import QuarantinedTraining
from stationkeeper.api.meta import ANNOTATION_RESUME
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import Quarantined

# A revision that was damaged in the store is no fault of its training, which may make it again.
_DAMAGE = ("DigestMismatch", "MalformedArtifact", "ArtifactMissing", "ArtifactCorrupt")


def traced(
    entries: Sequence[Quarantined], records: Iterable[ModelRevisionSpec], annotations: Mapping[str, str]
) -> list[Quarantined]:
    """The quarantine with what each revision was made of, for its record may go; and with what people have lifted."""
    known = {record.digest: record for record in records}
    found = [_traced(entry, known.get(entry.digest)) for entry in entries]
    resumed = annotations.get(ANNOTATION_RESUME)
    last = next((index for index, entry in enumerate(found) if entry.digest == resumed), -1)
    lifted = [entry if entry.lifted else entry.model_copy(update={"lifted": True}) for entry in found[: last + 1]]
    return lifted + found[last + 1 :]


def _traced(entry: Quarantined, record: ModelRevisionSpec | None) -> Quarantined:
    if record is None or entry.data_digest or any(f": {word}:" in entry.reason for word in _DAMAGE):
        return entry
    return entry.model_copy(update={"template_digest": record.template_digest, "data_digest": record.data_digest})


def trainings(
    entries: Sequence[Quarantined], template_digest: str, serving: ModelRevisionSpec | None
) -> list[QuarantinedTraining]:
    """The data that the code of this digest must not learn from again. What serves shows that its own training is good."""
    proven = serving.data_digest if serving and serving.template_digest == template_digest else None
    return [
        QuarantinedTraining(data_digest=entry.data_digest, revision_digest=entry.digest, reason=entry.reason)
        for entry in entries
        if entry.data_digest and entry.template_digest == template_digest and not entry.lifted and entry.data_digest != proven
    ]


def files(entries: Sequence[Quarantined]) -> list[QuarantinedTraining]:
    """Published files that became a quarantined revision, whatever they were taken for."""
    return [
        QuarantinedTraining(data_digest=entry.data_digest, revision_digest=entry.digest, reason=entry.reason)
        for entry in entries
        if entry.data_digest and not entry.lifted
    ]
