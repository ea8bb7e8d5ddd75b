"""What the operator tells a workload: one JSON object in the variable `STATIONKEEPER_CONFIG`."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, ValidationError

from stationkeeper.api.base import Digest, Time, Tolerant
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.evaluation import Gate
from stationkeeper.api.meta import ENV_CONFIG
from stationkeeper.api.model import Labels, Retention
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.serving import Analysis, Capture, Shadow
from stationkeeper.api.source import Source
from stationkeeper.api.status import Cause, Decision
from stationkeeper.api.storage import Storage
from stationkeeper.api.training import Training


class ConfigurationError(Exception):
    """The workload was started with a configuration that it cannot read."""


class ModelIdentity(Tolerant):
    namespace: str
    name: str
    uid: str


class RevisionIdentity(Tolerant):
    number: Annotated[int, Field(ge=1)]
    digest: Digest


class JobConfig(Tolerant):
    """What every workload knows."""

    model: ModelIdentity
    storage: Storage

    @classmethod
    def from_environment(cls) -> Self:
        """Read the configuration from the environment.

        Raises:
            ConfigurationError: when the variable is missing or does not hold a valid configuration.
        """
        text = os.environ.get(ENV_CONFIG)
        if not text:
            raise ConfigurationError(f"the variable {ENV_CONFIG} is not set; the operator sets it in the pod template")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigurationError(f"{ENV_CONFIG} is not a valid {cls.__name__}: {error}") from error


class QuarantinedTraining(Tolerant):
    """Data that this very code has made a quarantined revision of, or a published file that became one."""

    data_digest: Digest
    revision_digest: Digest
    reason: Annotated[str, Field(max_length=512)]


class AttemptConfig(JobConfig, ABC):
    """One attempt of one episode, which may publish a revision: a training or an import."""

    episode: str
    attempt: int
    cause: Cause
    revision: int  # the number that the revision gets when it is published
    as_of: Time  # the wall clock when the attempt was opened
    evidence: str | None = None
    template_digest: Digest
    champion: RevisionIdentity | None = None
    anchor: RevisionIdentity | None = None  # an earlier revision that no training may fall below either
    lineage: str | None = None  # UID of the Model by which rows were split before this one took over

    @property
    def split_key(self) -> str:
        """What rows without a time are split by: the same in all revisions of a line."""
        return self.lineage or self.model.uid

    @property
    @abstractmethod
    def gates(self) -> Sequence[Gate]:
        """What a challenger must prove."""


class TrainConfig(AttemptConfig):
    """A training. The same configuration gives the same rows, split and seed."""

    onset: Time | None = None  # start of the first breached window, for drift
    training: Training
    labels: Labels | None = None  # of captured rows, for feedback
    quarantined: Annotated[list[QuarantinedTraining], Field(max_length=32)] = []

    @property
    def gates(self) -> Sequence[Gate]:
        """See `AttemptConfig.gates`."""
        return self.training.evaluation.gates


class ImportConfig(AttemptConfig):
    """The import of a file that another pipeline published."""

    source: Source
    digest: Digest | None = None  # of the file that is wanted; None: whatever is there
    quarantined: Annotated[list[QuarantinedTraining], Field(max_length=32)] = []  # files that are not wanted whatever is there

    @property
    def gates(self) -> Sequence[Gate]:
        """See `AttemptConfig.gates`. None without an evaluation set."""
        return self.source.evaluation.gates if self.source.evaluation else ()


class LookConfig(JobConfig):
    """A look at what another pipeline has published."""

    source: Source


class RecordConfig(JobConfig):
    """One decision, to be written down with its evidence."""

    decision: Decision
    record: ModelRevisionSpec | None = None  # of the revision, where there still is one


class RestoreConfig(JobConfig):
    """A prefix to be taken over, with what it holds."""

    most: Annotated[int, Field(ge=1, le=100)]  # revisions that are worth a record


class WatchConfig(JobConfig):
    """One object, or one image, to look at."""

    uri: str | None = None
    image: str | None = None  # host/name:tag
    insecure: bool = False


class SweepConfig(JobConfig):
    """What may be deleted, and what must not be whatever else is true."""

    retention: Retention
    kept: Annotated[list[Digest], Field(max_length=512)]  # manifests of all records, of what serves and of what comes up
    pinned: int | None = None  # number of the revision that spec.revision names, should there be no record of it
    serving: Annotated[list[Digest], Field(max_length=32)]  # whose reports are still asked for


class ServeConfig(JobConfig):
    """One revision, served."""

    revision: RevisionIdentity
    capture: Capture
    port: int = 8080
    drain_seconds: float = 10.0


class Retired(RevisionIdentity):
    """A revision that served and serves no more, while what it answered last is still judged."""

    since: Time
    until: Time


class FetchConfig(JobConfig):
    """One revision, fetched for a server of the team's own."""

    revision: RevisionIdentity


class CheckConfig(JobConfig):
    """One policy, checked against the serving revision."""

    policy: str
    policy_uid: str
    policy_digest: Digest
    policy_spec: DriftPolicySpec
    labels: Labels | None = None
    revision: RevisionIdentity
    predecessor: RevisionIdentity | None = None  # asked too, while the revision is on probation
    since: Time  # when the revision began to serve: windows that had ended by then are not looked for
    until: Time | None = None  # when it ceased to
    retired: Retired | None = None  # the revision before, judged after it


class ShadowConfig(JobConfig):
    """One comparison of two revisions' answers to the same rows. The same configuration finds the same report."""

    stable: RevisionIdentity
    candidate: RevisionIdentity
    url: str  # of the candidate's own Service
    since: Time  # rows that the stable revision captured from here
    until: Time  # to here
    attempt: Annotated[int, Field(ge=1)]
    event_time: str | None = None  # rows are kept by it, and not by their arrival
    shadow: Shadow
    analysis: Analysis
    expected_shift: dict[str, float] = {}  # by class: what the gates saw the candidate's share be, less the stable revision's
