"""What was observed, read: the records and the policies of one Model. What cannot be read is left out."""

from datetime import datetime

from pydantic import ValidationError

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.revision import ModelRevisionSpec, RevisionOutcome
from stationkeeper.control.planning import cron, evidence
from stationkeeper.control.planning.drift import PolicyView
from stationkeeper.control.planning.intent import judgement_digest
from stationkeeper.control.planning.types import Observed
from stationkeeper.control.resources.common import Owner


def records(observed: Observed, owner: Owner) -> list[ModelRevisionSpec]:
    """The records of what was published, by number: what may serve."""
    return [record for record in _records(observed, owner) if record.outcome == RevisionOutcome.PUBLISHED]


def rejected(observed: Observed, owner: Owner) -> list[ModelRevisionSpec]:
    """The records of challengers that the gates refused, by number."""
    return [record for record in _records(observed, owner) if record.outcome == RevisionOutcome.REJECTED]


def _records(observed: Observed, owner: Owner) -> list[ModelRevisionSpec]:
    """The model's records, by number. One that cannot be read (another version wrote it) is left out."""
    found = []
    for revision in observed.revisions:
        if not evidence.controlled_by(revision, owner.uid) or revision["metadata"].get("deletionTimestamp"):
            continue
        try:
            found.append(ModelRevisionSpec.model_validate(revision["spec"]))
        except ValidationError:
            continue
    return sorted(found, key=lambda record: record.number)


def policies(observed: Observed, owner: Owner) -> list[PolicyView]:
    """The policies that watch the model and can be read, in the order of their names."""
    found = []
    for policy in observed.policies:
        if policy["metadata"].get("deletionTimestamp"):
            continue
        try:
            spec = DriftPolicySpec.model_validate(policy["spec"])
            cron.next_after(spec.schedule, datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
        except (ValidationError, cron.InvalidCronError):
            continue  # the policy's own status says why
        found.append(
            PolicyView(
                policy["metadata"]["uid"],
                policy["metadata"]["name"],
                spec,
                judgement_digest(spec, owner.spec.labels),
                owner.spec.labels.lag if owner.spec.labels else "0s",
            )
        )
    return sorted(found, key=lambda view: view.name)
