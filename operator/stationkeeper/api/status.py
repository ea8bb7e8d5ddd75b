"""What the operator remembers of a model and tells about it: `status`."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from stationkeeper.api.base import Digest, Sparse, Time, Tolerant
from stationkeeper.api.conditions import Condition
from stationkeeper.api.verdicts import CheckStatus, Verdict


class Cause(StrEnum):
    """Why a model is trained."""

    INITIAL = "Initial"
    DRIFT = "Drift"
    QUALITY = "Quality"
    CODE_CHANGE = "CodeChange"
    SOURCE = "Source"
    GROWTH = "Growth"
    SCHEDULE = "Schedule"
    MANUAL = "Manual"


class RevisionRef(Tolerant):
    """A revision as status names it."""

    number: Annotated[int, Field(ge=1, description="Number of the revision.")]
    digest: Annotated[Digest, Field(description="Digest of its manifest: its identity.")]
    since: Annotated[Time | None, Field(description="When it began to serve.")] = None


class RetiredRef(RevisionRef):
    """The revision that served before: what it answered last is judged once its labels have come."""

    until: Annotated[Time, Field(description="When it ceased to serve.")]


class ShadowStatus(Tolerant):
    """How the answers of a shadow compare with those of the stable revision, by the newest comparison."""

    attempt: Annotated[int, Field(ge=0, description="Comparisons so far; each is of everything since the shadow began.")] = 0
    verdict: Annotated[Verdict | None, Field(description="What the newest of them found.")] = None
    rows: Annotated[int, Field(ge=0, description="Rows that it compared.")] = 0
    message: Annotated[str, Field(max_length=256, description="The finding in one sentence.")] = ""
    report: Annotated[str | None, Field(max_length=1024, description="Where its report is.")] = None


class QueryResult(Sparse):
    """What a query of Prometheus gave in a step of a canary, and what it may be."""

    name: Annotated[str, Field(max_length=63, description="Name of the query in the operator's configuration.")]
    value: Annotated[float | None, Field(description="The number that it gave; none: it gave none.")] = None
    min: Annotated[float | None, Field(description="It may not be lower.")] = None
    max: Annotated[float | None, Field(description="It may not be higher.")] = None
    problem: Annotated[str, Field(max_length=256, description="Why it gave no number.")] = ""


class Measurement(Sparse):
    """What the pods of one revision counted in the last step of a canary."""

    number: Annotated[int, Field(ge=1, description="Number of the revision.")]
    requests: Annotated[int, Field(ge=0, description="Requests that it answered.")]
    errors: Annotated[int, Field(ge=0, description="Those of them that it answered with a server error.")]
    p95_seconds: Annotated[float | None, Field(ge=0, description="95 % of the answers took no longer.")] = None


class StepEvidence(Sparse):
    """What a step of a canary has shown."""

    measured: Annotated[
        list[Measurement], Field(max_length=2, description="What the pods counted: of the stable revision and of this one.")
    ] = []
    shift: Annotated[float | None, Field(ge=0, le=1, description="Total variation distance of both revisions' predictions.")] = (
        None
    )
    deviation: Annotated[
        float | None,
        Field(ge=0, le=2, description="The same of their difference and the one that the gates saw on the same rows."),
    ] = None
    queries: Annotated[
        list[QueryResult], Field(max_length=8, description="What Prometheus gave, where the analysis names queries.")
    ] = []


class CandidateRef(RevisionRef):
    """The revision that comes up, and how far it is."""

    step: Annotated[int | None, Field(ge=0, description="Step of the canary, from 0; none before it takes requests.")] = None
    step_since: Annotated[Time | None, Field(description="When that step began.")] = None
    weight: Annotated[
        int | None,
        Field(
            ge=0,
            le=100,
            description="Percent of the requests that it gets: its share of the pods, or what the Gateway has taken over of the route.",
        ),
    ] = None
    analysis: Annotated[str | None, Field(max_length=512, description="What the step has shown so far.")] = None
    shown: Annotated[StepEvidence | None, Field(description="The same in numbers; after the last step, what that has shown.")] = (
        None
    )
    shadowed_since: Annotated[
        Time | None, Field(description="Since when it is asked what the stable revision is asked, off the request path.")
    ] = None
    # Of another stable revision the comparison begins anew.
    shadow_of: Annotated[Digest | None, Field(description="The revision whose answers its own are compared with.")] = None
    shadow: Annotated[ShadowStatus | None, Field(description="How they compare.")] = None
    proof: Annotated[
        str | None, Field(max_length=512, description="Why it may take all requests; written before the Service switches.")
    ] = None


class Episode(Tolerant):
    """One cause of training, written before anything is created for it."""

    id: Annotated[str, Field(max_length=32, description="Identity; the names of its Jobs derive from it.")]
    cause: Annotated[Cause, Field(description="What opened it.")]
    opened_at: Annotated[Time, Field(description="When it was opened.")]
    onset: Annotated[Time | None, Field(description="Start of the first window that breached, for drift.")] = None
    attempt: Annotated[int, Field(ge=0, description="Training Jobs started for it. 0: none yet.")] = 0
    attempted_at: Annotated[Time | None, Field(description="When the last attempt was started: the `asOf` of its data.")] = None
    asked_by: Annotated[
        Cause | None,
        Field(description="What asked for the last attempt, where that was the clock and not the episode's own cause."),
    ] = None
    revision: Annotated[int, Field(ge=1, description="Number that its revision will have.")] = 1
    template_digest: Annotated[Digest, Field(description="Digest of the training intent that it trains.")]
    source: Annotated[
        Digest | None, Field(description="Digest of the published file that it imports; none: whatever is there.")
    ] = None
    evidence: Annotated[str | None, Field(max_length=512, description="Report that opened it.")] = None
    token: Annotated[str | None, Field(max_length=128, description="The manual request that it answers.")] = None
    failures: Annotated[int, Field(ge=0, description="Attempts that failed in a row; the backoff grows with it.")] = 0
    refusals: Annotated[int, Field(ge=0, description="Challengers that the gates refused.")] = 0
    waits: Annotated[int, Field(ge=0, description="Times that labels were not there yet; the distance grows with it.")] = 0
    next_attempt_at: Annotated[Time | None, Field(description="Not before this time is it tried again.")] = None

    @property
    def asked(self) -> Cause:
        """What its last attempt answers."""
        return self.asked_by or self.cause


class TrainingOutcome(StrEnum):
    """How a training ended. Each is written to storage, once per attempt."""

    PUBLISHED = "Published"
    REFUSED = "Refused"
    INVALID_DATA = "InvalidData"
    WAITING_FOR_LABELS = "WaitingForLabels"
    QUARANTINED = "Quarantined"  # this code on this data has made a revision that is quarantined: not trained again
    FAILED = "Failed"


class LastTraining(Tolerant):
    episode: Annotated[str, Field(max_length=32, description="Episode that it belonged to.")]
    attempt: Annotated[int, Field(ge=1, description="Attempt within the episode.")]
    cause: Annotated[Cause, Field(description="What caused it.")]
    outcome: Annotated[TrainingOutcome, Field(description="How it ended.")]
    reason: Annotated[str, Field(max_length=64, description="Why, as one CamelCase word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, for people.")]
    finished_at: Annotated[Time, Field(description="When it ended.")]
    template_digest: Annotated[Digest, Field(description="Digest of the training intent that was trained.")]
    revision: Annotated[
        int | None, Field(description="Number of the revision that it published, or of the challenger that was refused.")
    ] = None
    source: Annotated[Digest | None, Field(description="Digest of the published file that was imported, or could not be.")] = None


class SourceStatus(Tolerant):
    """What the last look at `spec.source.uri` found that was not known before."""

    uri: Annotated[str, Field(max_length=512, description="Where it looked.")]
    digest: Annotated[Digest | None, Field(description="Digest of the file there; none: it could not be read.")] = None
    size: Annotated[int | None, Field(ge=0, description="Its bytes.")] = None
    seen_at: Annotated[Time, Field(description="When it was first seen to be so.")]
    message: Annotated[str, Field(max_length=512, description="Why it could not be read.")] = ""


class Waiting(Tolerant):
    """Why a training that is wanted has not started."""

    cause: Annotated[Cause, Field(description="What wants it.")]
    reason: Annotated[str, Field(max_length=64, description="The guard that holds it.")]
    message: Annotated[str, Field(max_length=512, description="Why, for people.")]
    until: Annotated[Time | None, Field(description="When it will be looked at again, where that is known.")] = None


class Quarantined(Sparse):
    digest: Annotated[Digest, Field(description="A revision that failed to serve; it is not tried again.")]
    reason: Annotated[str, Field(max_length=512, description="How it failed.")]
    at: Annotated[Time, Field(description="When.")]
    promoted: Annotated[bool, Field(description="It had taken all requests before.")] = False
    template_digest: Annotated[
        Digest | None,
        Field(description="Digest of the training intent that made it: the same on the same data is not made again."),
    ] = None
    data_digest: Annotated[
        Digest | None, Field(description="Digest of the data that it learned from, or of the published file.")
    ] = None
    lifted: Annotated[bool, Field(description="A person lets that training be made again. The revision itself stays out.")] = (
        False
    )


class DecisionKind(StrEnum):
    """What was decided of a revision."""

    PROMOTED = "Promoted"  # it takes all requests
    PINNED = "Pinned"  # as Promoted, because spec.revision says so
    REJECTED = "Rejected"  # it was to serve, and failed before it took all requests
    ROLLED_BACK = "RolledBack"  # it served, and must not any more
    TRAINING_REFUSED = "TrainingRefused"  # the gates refused a challenger


class Decision(StepEvidence):
    """A decision about a revision, with what the canary's last step had shown. Its evidence waits here until it lies in storage."""

    id: Annotated[str, Field(max_length=32, description="Identity; the name of the Job that writes it derives from it.")]
    at: Annotated[Time, Field(description="When it was taken.")]
    kind: Annotated[DecisionKind, Field(description="What was decided.")]
    revision: Annotated[int, Field(ge=1, description="Number of the revision.")]
    digest: Annotated[Digest, Field(description="Its digest; of a refused challenger, that of its outcome.")]
    message: Annotated[str, Field(max_length=512, description="Why, for people.")] = ""
    approver: Annotated[str | None, Field(max_length=256, description="Who decided, where a person did.")] = None
    steps: Annotated[int | None, Field(ge=0, description="Steps of the canary that it had passed, where there was one.")] = None
    reports: Annotated[
        list[Annotated[str, Field(max_length=1024)]],
        Field(max_length=4, description="Reports of a shadow's comparison and of drift checks that were the newest then."),
    ] = []
    images: Annotated[
        list[Annotated[str, Field(max_length=512)]],
        Field(max_length=4, description="Images that trained and served it, as container=image."),
    ] = []
    uri: Annotated[str, Field(max_length=640, description="Where the evidence is, once recorded.")]
    recorded: Annotated[bool, Field(description="Whether it lies there.")] = False
    trouble: Annotated[str | None, Field(max_length=512, description="Why it could not be written yet.")] = None


class Sweep(Tolerant):
    """The last look for what may be deleted from storage; written before its Job is created."""

    at: Annotated[Time, Field(description="When it was begun.")]
    done: Annotated[bool, Field(description="Whether it has ended.")] = False
    message: Annotated[str, Field(max_length=512, description="What was deleted, or why nothing could be.")] = ""
    failed: Annotated[bool, Field(description="It ended before everything was done.")] = False


class Restore(Tolerant):
    """What was taken over from storage; written before its Job is created, once in the life of a Model."""

    at: Annotated[Time, Field(description="When it was begun.")]
    done: Annotated[bool, Field(description="Whether it has ended.")] = False
    message: Annotated[str, Field(max_length=512, description="What was found there, or why it could not be read yet.")] = ""
    serving: Annotated[Digest | None, Field(description="The revision that served last: it serves again at once.")] = None
    lineage: Annotated[
        str | None, Field(max_length=64, description="UID of the first Model that owned the prefix: rows are split as by it.")
    ] = None


class Watched(Tolerant):
    """What the object or the image of training.watch was when it was first seen, and what it is."""

    uri: Annotated[str, Field(max_length=512, description="The object, or the image with its tag.")]
    first: Annotated[
        Digest | None, Field(description="Digest of its state when it was first seen, which is no change; of an image its own.")
    ] = None
    digest: Annotated[Digest | None, Field(description="Digest of its state when it was last seen.")] = None
    since: Annotated[Time | None, Field(description="Since when it has been so.")] = None
    trouble: Annotated[str | None, Field(max_length=512, description="Why the newest look saw nothing, which is no change.")] = (
        None
    )


class Notice(Tolerant):
    """Something that people are still to be told."""

    id: Annotated[str, Field(max_length=32, description="Identity; a receiver that knows it has heard it before.")]
    at: Annotated[Time, Field(description="When it happened.")]
    severity: Annotated[Literal["Info", "Warning"], Field(description="How urgent it is.")]
    reason: Annotated[str, Field(max_length=64, description="What happened, as one CamelCase word.")]
    message: Annotated[str, Field(max_length=512, description="What happened, why, and what was done.")]


class RouteWeight(Tolerant):
    revision: Annotated[int, Field(ge=1, description="Number of the revision.")]
    weight: Annotated[int, Field(ge=0, le=100, description="Percent of the requests through the Gateway that it gets.")]


class RouteStatus(Tolerant):
    """What the Gateway was last seen to have taken over of the Model's HTTPRoute."""

    weights: Annotated[list[RouteWeight], Field(max_length=2, description="Who gets how many of its requests.")]
    since: Annotated[Time, Field(description="Since when.")]


class ModelStatus(Tolerant):
    observed_generation: Annotated[int | None, Field(description="Generation of the spec that this status speaks of.")] = None
    conditions: Annotated[list[Condition], Field(max_length=16, description="What is so, why, and since when.")] = []
    url: Annotated[str | None, Field(max_length=512, description="Where requests go inside the cluster.")] = None
    serving: Annotated[RevisionRef | None, Field(description="The revision that serves.")] = None
    retired: Annotated[RetiredRef | None, Field(description="The revision that served before it.")] = None
    candidate: Annotated[CandidateRef | None, Field(description="The revision that is coming up.")] = None
    route: Annotated[RouteStatus | None, Field(description="What the Gateway does, where there is a route.")] = None
    replicas: Annotated[int, Field(ge=0, description="Serving pods of the stable revision.")] = 0
    ready_replicas: Annotated[int, Field(ge=0, description="Those of them that are ready.")] = 0
    selector: Annotated[
        str | None, Field(max_length=512, description="Label selector of the serving pods, for the scale subresource.")
    ] = None
    latest_revision: Annotated[int, Field(ge=0, description="Highest number given to a revision so far.")] = 0
    source: Annotated[SourceStatus | None, Field(description="The file that another pipeline publishes, as last seen.")] = None
    episode: Annotated[Episode | None, Field(description="The open cause of training.")] = None
    waiting: Annotated[Waiting | None, Field(description="Why a wanted training has not started.")] = None
    last_training: Annotated[LastTraining | None, Field(description="How the last training ended.")] = None
    trainings: Annotated[
        list[Time], Field(max_length=64, description="Starts of recent trainings, for the limit per period.")
    ] = []
    checks: Annotated[list[CheckStatus], Field(max_length=16, description="What drift checks found, by policy.")] = []
    scheduled_at: Annotated[Time | None, Field(description="Last time of the training schedule that was answered.")] = None
    grown_at: Annotated[Time | None, Field(description="When a training last answered that the known rows had doubled.")] = None
    grows_at: Annotated[
        Time | None, Field(description="When what can be known will have doubled, so that Growth asks for a training.")
    ] = None
    handled_retrain: Annotated[str | None, Field(max_length=128, description="Last manual request that was answered.")] = None
    quarantine: Annotated[list[Quarantined], Field(max_length=32, description="Revisions that failed to serve.")] = []
    decisions: Annotated[
        list[Decision], Field(max_length=16, description="Newest decisions, oldest first, and where their evidence is.")
    ] = []
    restore: Annotated[Restore | None, Field(description="What was taken over by storage.adopt.")] = None
    watched: Annotated[Watched | None, Field(description="What training.watch has seen.")] = None
    sweep: Annotated[Sweep | None, Field(description="The last sweep of storage.")] = None
    notices: Annotated[list[Notice], Field(max_length=32, description="What the receivers are still to be told.")] = []
