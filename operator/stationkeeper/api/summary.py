"""What a workload tells the operator: its termination message, at most 4 KiB of JSON, schema version first."""

from typing import Annotated, Literal

from pydantic import Field

from stationkeeper.api.base import Digest, Time, Tolerant
from stationkeeper.api.meta import TERMINATION_LIMIT
from stationkeeper.api.status import Cause, LastTraining, Quarantined, TrainingOutcome
from stationkeeper.api.verdicts import ColumnStatistic, QualityVerdict, RetiredCheck, Verdict, WindowVerdict

Line = Annotated[str, Field(max_length=1024)]


class Summary(Tolerant):
    schema_version: Literal[1] = 1

    def encode(self) -> bytes:
        """The JSON bytes of the termination message, also kept as `outcome.json`.

        Raises:
            ValueError: when it would be cut by the kubelet.
        """
        data = self.model_dump_json(by_alias=True, exclude_none=True).encode()
        if len(data) > TERMINATION_LIMIT:
            raise ValueError(f"termination message of {len(data)} bytes is over the limit of {TERMINATION_LIMIT}")
        return data


class TrainingSummary(Summary):
    """How one attempt ended. The same object is `outcome.json` in the store."""

    kind: Literal["Training"] = "Training"
    episode: str
    attempt: int
    outcome: TrainingOutcome
    reason: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=64)]
    message: Line
    finished_at: Time
    # Of a published revision:
    digest: Digest | None = None
    manifest_uri: Annotated[str | None, Field(alias="manifestURI", max_length=1024)] = None
    revision: int | None = None
    data_digest: Digest | None = None
    data_since: Time | None = None
    data_through: Time | None = None
    metrics: Annotated[dict[str, float], Field(max_length=32)] = {}
    champion_digest: Digest | None = None
    champion_number: int | None = None
    champion_metrics: Annotated[dict[str, float], Field(max_length=32)] = {}
    champion_shift: Annotated[dict[str, float] | None, Field(max_length=16)] = (
        None  # the classes that moved most: see `revision.Champion`
    )
    window: Annotated[str | None, Field(max_length=32)] = None  # that was chosen, of several
    resolves: float | None = None  # the smallest drop of the first relative gate's metric that the holdout tells from none


class HandoverSummary(Summary):
    """The rows of an attempt are where the workload that trains on them finds them."""

    kind: Literal["Handover"] = "Handover"
    episode: str
    attempt: int
    rows: int


class SourceSummary(Summary):
    """What a look at `spec.source.uri` found."""

    kind: Literal["Source"] = "Source"
    uri: Annotated[str, Field(max_length=512)]
    digest: Digest | None = None  # None: there is no file that could be used
    size: Annotated[int | None, Field(ge=0)] = None
    seen_at: Time
    message: Annotated[str, Field(max_length=512)] = ""


class CheckSummary(Summary):
    """What the newest windows said. Older windows are repeated, so that a lost message is made good by the next."""

    kind: Literal["DriftCheck"] = "DriftCheck"
    policy_uid: Annotated[str, Field(alias="policyUID")]
    policy_digest: Digest
    revision_digest: Digest
    windows: Annotated[list[WindowVerdict], Field(max_length=16)]
    quality: Annotated[list[QualityVerdict], Field(max_length=16)] = []
    retired: RetiredCheck | None = None  # of the revision before
    calibrating: Annotated[str, Field(max_length=256)] = ""  # why drift is observed only, and what ends that
    columns: Annotated[list[ColumnStatistic], Field(max_length=10)] = []
    report: Annotated[str | None, Field(max_length=512)] = None
    page: Annotated[str | None, Field(max_length=512)] = None


class ShadowSummary(Summary):
    """How a candidate's answers compare with those of the stable revision: at most 1 KiB."""

    kind: Literal["Shadow"] = "Shadow"
    stable_digest: Digest
    candidate_digest: Digest
    since: Time
    attempt: int
    verdict: Verdict
    rows: int  # compared
    requests: int  # sent
    errors: int  # of them
    disagreement: float | None = None  # share of the rows with another class
    mean_difference: float | None = None  # of probabilities, or of predictions in standard deviations of the stable revision's
    latency: float | None = None  # seconds, the 95th percentile
    message: Annotated[str, Field(max_length=256)]
    report: Annotated[str | None, Field(max_length=160)] = None  # its key under the storage prefix


class RecordSummary(Summary):
    """The evidence of a decision lies in storage."""

    kind: Literal["Record"] = "Record"
    id: str
    uri: Line


class WatchSummary(Summary):
    """The state of a watched object or image."""

    kind: Literal["Watch"] = "Watch"
    uri: Line
    digest: Digest  # of size and ETag; of an image its own


class RestoredRevision(Tolerant):
    """What a record needs that cannot be derived."""

    number: int
    digest: Digest
    cause: Cause
    episode: str
    attempt: int
    template_digest: Digest
    data_digest: Digest
    data_since: Time | None = None
    data_through: Time | None = None
    trained_at: Time
    metrics: Annotated[dict[str, float], Field(max_length=4)] = {}
    champion_digest: Digest | None = None
    champion_number: int | None = None


class RestoreSummary(Summary):
    """What a prefix holds. The termination message has no room for more than the newest."""

    kind: Literal["Restore"] = "Restore"
    lineage: str
    latest_revision: int = 0  # highest number that was ever given
    serving: int | None = None  # number of the revision that served last
    revisions: Annotated[list[RestoredRevision], Field(max_length=100)] = []
    quarantine: Annotated[list[Quarantined], Field(max_length=32)] = []
    refused: LastTraining | None = None  # the last training, where the gates refused it
    left_out: int = 0  # revisions that are whole and had no room
    untrusted: int = 0  # manifests without an outcome, or with files that have gone


class SweepSummary(Summary):
    """What was deleted."""

    kind: Literal["Sweep"] = "Sweep"
    manifests: int = 0
    files: int = 0
    captured: int = 0
    reports: int = 0
    complete: bool = True  # False: more is left for the next one


class FailureSummary(Summary):
    """A workload that could not do its work, and what a person can do about it."""

    kind: Literal["Failure"] = "Failure"
    reason: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=64)]
    message: Line
