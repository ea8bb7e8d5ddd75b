"""The evidence bundle: what was decided of a revision, on which evidence, and by whom. One object per decision, written once.

It repeats what is elsewhere in the store, so that whoever audits a decision needs this one object, also when manifests,
reports and the cluster have gone. Fields may be added; the meaning of those here does not change within a schema version.
"""

from typing import Annotated, Literal

from pydantic import Field

from stationkeeper.api.base import Digest, Time, Tolerant, canonical_json
from stationkeeper.api.jobs import ModelIdentity
from stationkeeper.api.manifest import DataRecord, EvaluationRecord
from stationkeeper.api.status import Cause, DecisionKind, Measurement, QueryResult


class Trigger(Tolerant):
    """Why the revision was trained."""

    cause: Cause
    episode: str
    attempt: int
    report: str | None = None  # of the drift check that caused it


class Subject(Tolerant):
    """The revision, or the refused challenger, that was decided about."""

    number: int
    digest: Digest  # of the manifest; of a refused challenger, of its outcome
    manifest_uri: Annotated[str | None, Field(alias="manifestURI")] = None
    outcome_uri: Annotated[str | None, Field(alias="outcomeURI")] = None
    trained_at: Time | None = None


class Code(Tolerant):
    """What trained and serves it."""

    template_digest: Digest | None = None  # of the training intent
    estimator: str | None = None  # class path, or `container <image>`
    images: dict[str, str] = {}  # by container, with the digest that the node pulled where it is known
    versions: dict[str, str] = {}  # of Python and the libraries it was trained with


class Canary(Tolerant):
    """What the rollout had measured when it was decided."""

    steps_passed: int | None = None
    measured: list[Measurement] = []  # of the stable revision and of this one, in the last step
    prediction_shift: float | None = None  # total variation distance of their predictions
    prediction_deviation: float | None = None  # of their difference from the one that the gates saw
    queries: list[QueryResult] = []  # what Prometheus gave, and the bounds that it was held to


class EvidenceBundle(Tolerant):
    schema_version: Literal[1] = 1
    kind: Literal["Decision"] = "Decision"
    id: str
    at: Time
    decision: DecisionKind
    model: ModelIdentity
    revision: Subject
    message: str = ""
    trigger: Trigger | None = None
    code: Code = Code()
    data_digest: Digest | None = None
    data: DataRecord | None = None
    evaluation: EvaluationRecord | None = None  # scores and gates, challenger against champion
    rollout: Canary = Canary()
    reports: list[str] = []  # of drift checks, the newest when it was decided
    approver: str | None = None  # None: no person was asked
    missing: list[str] = []  # evidence that should be in the store and could not be read, and why

    def encode(self) -> bytes:
        """The bytes as they are stored: the same evidence gives the same bytes."""
        return canonical_json(self.wire())
