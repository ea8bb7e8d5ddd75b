"""The `Model`: serve this, keep it fresh, never ship a worse one."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from stationkeeper.api.base import ApiModel, ColumnName, Cron, Digest, Duration, S3Uri, ScorerName, Time, Tolerant, rules
from stationkeeper.api.conditions import Condition


class Cause(StrEnum):
    """Why a model is trained."""

    INITIAL = "Initial"
    DRIFT = "Drift"
    QUALITY = "Quality"
    CODE_CHANGE = "CodeChange"
    SCHEDULE = "Schedule"
    MANUAL = "Manual"


class Storage(ApiModel):
    """Where every artifact, capture and report of the model lives."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.uri == oldSelf.uri", "storage.uri cannot change: the model's revisions live there; make a new Model instead"),
        )
    )

    uri: Annotated[S3Uri, Field(description="Prefix in S3-compatible storage that belongs to this model alone.")]
    endpoint_url: Annotated[
        str | None,
        Field(
            alias="endpointURL",
            pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+(/.*)?$",
            max_length=256,
            description="Address of the S3 server; leave it out for AWS.",
        ),
    ] = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=32, description="Region of the S3 server.")] = "us-east-1"
    secret_name: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            max_length=253,
            description="Secret of this namespace with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Only workloads "
            "receive them; the operator never reads it. Leave it out where pods have an identity of their own.",
        ),
    ] = None


class ResourceList(ApiModel):
    cpu: Annotated[str | None, Field(pattern=r"^[0-9]+(\.[0-9]+)?m?$", max_length=16, description="CPU, as in `500m`.")] = None
    memory: Annotated[
        str | None,
        Field(pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$", max_length=16, description="Memory, as in `512Mi`."),
    ] = None


class Resources(ApiModel):
    requests: Annotated[ResourceList | None, Field(description="What the scheduler reserves.")] = None
    limits: Annotated[ResourceList | None, Field(description="What the container may not exceed.")] = None


class Capture(ApiModel):
    """What serving pods remember of requests, for drift checks and for later training."""

    sample_rate: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Share of requests whose rows are stored, chosen by a hash of the request id. Profiles count every row.",
        ),
    ] = 1.0
    max_rows_per_minute: Annotated[
        int,
        Field(
            ge=0, le=10_000_000, description="Rows that one replica stores a minute at the most; the rest is counted as dropped."
        ),
    ] = 10_000
    flush_interval: Annotated[
        Literal["5s", "10s", "15s", "20s", "30s", "60s"],
        Field(description="How often replicas write captured rows and profiles. Drift windows consist of whole intervals."),
    ] = "60s"


class RolloutStep(ApiModel):
    weight: Annotated[int, Field(ge=1, le=99, description="Percent of the requests that the new revision gets.")]
    hold: Annotated[Duration, Field(description="How long at least, before the next step.")] = "2m"


class Analysis(ApiModel):
    """What the new revision must show at each step, by the metrics of the serving pods themselves."""

    min_requests: Annotated[
        int, Field(ge=1, le=10_000_000, description="Requests that the new revision must have answered; before, the step holds.")
    ] = 100
    max_error_rate: Annotated[float, Field(ge=0, le=1, description="Share of its answers that may be server errors.")] = 0.01
    max_latency_ratio: Annotated[
        float | None,
        Field(
            gt=1,
            le=1000,
            description="Its 95th percentile of latency, as a multiple of the stable revision's; below 10 ms all is well.",
        ),
    ] = 1.5
    max_prediction_shift: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="Largest difference between the two revisions' distributions of predictions (total variation), beyond chance.",
        ),
    ] = 0.25
    deadline: Annotated[Duration, Field(description="How long a step may wait for `minRequests`.")] = "30m"
    without_evidence: Annotated[
        Literal["Rollback", "Wait"], Field(description="What is done when the deadline passes without enough requests.")
    ] = "Rollback"


class Rollout(ApiModel):
    """How a new revision takes the requests over."""

    strategy: Annotated[
        Literal["Canary", "BlueGreen", "Recreate"],
        Field(
            description="Canary: step by step, by shares of pods. BlueGreen: all at once, when the new revision is ready on all its "
            "pods. Recreate: the old pods end before the new ones start, for clusters without room for both; requests fail meanwhile."
        ),
    ] = "BlueGreen"
    steps: Annotated[list[RolloutStep], Field(min_length=1, max_length=16, description="Steps of a canary, in their order.")] = [
        RolloutStep(weight=20),
        RolloutStep(weight=50),
    ]
    analysis: Annotated[Analysis, Field(description="What each step of a canary must show.")] = Analysis()
    approval: Annotated[
        Literal["Automatic", "Manual"],
        Field(
            description="Manual: a proven revision waits for `stationkeeper approve` (or `reject`) before it takes all requests."
        ),
    ] = "Automatic"
    probation: Annotated[
        Duration,
        Field(
            description="For this long after a promotion, checks of quality ask the predecessor too; a revision that is surely worse on "
            "the labels of as many windows as the policy's breach says is rolled back. 0s: never."
        ),
    ] = "30d"


class Autoscaling(ApiModel):
    """Pods of the stable revision by the load on their CPUs (a HorizontalPodAutoscaler). A candidate gets as many as stable has."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"))
    )

    min_replicas: Annotated[int, Field(ge=1, le=1000, description="Never fewer pods than this.")] = 1
    max_replicas: Annotated[int, Field(ge=1, le=1000, description="Never more pods than this.")]
    target_cpu_utilization: Annotated[
        int,
        Field(
            alias="targetCPUUtilization",
            ge=1,
            le=1000,
            description="Pods are added when they use more than this percentage of resources.requests.cpu on average.",
        ),
    ] = 80


class Serving(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.autoscaling) || (has(self.resources.requests) && has(self.resources.requests.cpu))",
                "autoscaling needs resources.requests.cpu: utilization is a share of it",
            )
        )
    )

    runtime: Annotated[Literal["sklearn"], Field(description="The runtime that serves the model.")] = "sklearn"
    replicas: Annotated[
        int, Field(ge=0, le=1000, description="Serving pods of the stable revision. With autoscaling it is not read.")
    ] = 1
    autoscaling: Annotated[
        Autoscaling | None, Field(description="Let the load decide how many pods serve. Without it: replicas.")
    ] = None
    resources: Annotated[Resources, Field(description="CPU and memory of one serving pod.")] = Resources(
        requests=ResourceList(cpu="100m", memory="256Mi")
    )
    capture: Annotated[Capture, Field(description="What is remembered of requests.")] = Capture()
    rollout: Annotated[Rollout, Field(description="How a new revision takes over.")] = Rollout()
    progress_deadline: Annotated[
        Duration, Field(description="How long a new revision may take to become ready before it is given up and quarantined.")
    ] = "10m"


class Estimator(ApiModel):
    class_: Annotated[
        str,
        Field(
            alias="class",
            pattern=r"^sklearn(\.[a-z_][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]*$",
            max_length=200,
            description="A scikit-learn classifier or regressor by its import path, as in sklearn.linear_model.LogisticRegression.",
        ),
    ]
    params: Annotated[
        dict[str, JsonValue],
        Field(max_length=64, description="Parameters of its constructor. Preprocessing is made from the columns of the data."),
    ] = {}


class EnvironmentVariable(ApiModel):
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128, description="Name of the variable.")]
    value: Annotated[str, Field(max_length=4096, description="Its value, as it stands; secrets do not belong here.")] = ""


class TrainingContainer(ApiModel):
    """A team's own training code. It gets rows and leaves a model; it has no credentials of the store, and no API token."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.env.all(e, !e.name.startsWith('STATIONKEEPER_'))",
                "names that begin with STATIONKEEPER_ are set by the operator",
            )
        )
    )

    image: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            pattern=r"^\S+$",
            description="Image that trains. It runs as user 65532 on a read-only root; /tmp and /mnt/model can be written.",
        ),
    ]
    task: Annotated[Literal["Classification", "Regression"], Field(description="What the target means.")]
    command: Annotated[
        list[Annotated[str, Field(max_length=4096)]],
        Field(max_length=64, description="Program that is run. Without it: the image's own."),
    ] = []
    args: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=64, description="Its arguments.")] = []
    env: Annotated[
        list[EnvironmentVariable], Field(max_length=64, description="Its environment, beside what the contract gives.")
    ] = []
    pull_secrets: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]],
        Field(max_length=8, description="Secrets of this namespace that the image is pulled with."),
    ] = []


class Data(ApiModel):
    """Where training rows come from and what their columns mean."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.timestamp) || self.timestamp != self.target", "timestamp and target must be two columns"),
            ("!has(self.window) || has(self.timestamp)", "window needs timestamp: without it rows have no time"),
            ("self.asOf != 'LatestRow' || has(self.timestamp)", "asOf: LatestRow needs timestamp"),
            (
                "!has(self.features) || !(self.target in self.features)",
                "features must not name the target: the model would learn the answer from itself",
            ),
            (
                "!has(self.features) || !has(self.timestamp) || !(self.timestamp in self.features)",
                "features must not name the timestamp: it only rises, so what is learned from it never comes again",
            ),
        )
    )

    uri: Annotated[
        S3Uri, Field(description="Prefix of the labelled data; every object under it with the format's suffix is read.")
    ]
    format: Annotated[Literal["parquet", "csv"], Field(description="Format of those objects.")] = "parquet"
    target: Annotated[ColumnName, Field(description="Column to predict. Rows without it are left out and counted.")]
    timestamp: Annotated[
        ColumnName | None,
        Field(description="Column with the time of each row. With it the holdout is the newest part, without it a hash decides."),
    ] = None
    features: Annotated[
        list[ColumnName] | None,
        Field(
            min_length=1,
            max_length=1000,
            description="Columns the model may learn from. Without it: every column but target and timestamp, inferred at the first training.",
        ),
    ] = None
    positive_label: Annotated[
        str | None, Field(max_length=128, description="The class that counts as positive in binary metrics.")
    ] = None
    window: Annotated[
        Duration | None,
        Field(description="Train on the newest rows of this length, in the time of the data. Without it: on all."),
    ] = None
    as_of: Annotated[
        Literal["Now", "LatestRow"],
        Field(
            description="Where the window ends: at the time of the training, or at the newest row (for replayed or archived data)."
        ),
    ] = "Now"
    min_new_rows: Annotated[
        int,
        Field(
            ge=0,
            le=10_000_000,
            description="A training for drift waits until this many labelled rows are newer than the serving revision's.",
        ),
    ] = 500


class Holdout(ApiModel):
    fraction: Annotated[
        float, Field(ge=0.05, le=0.5, description="Share of the rows kept from training and used to judge it.")
    ] = 0.2


class Gate(ApiModel):
    """One condition that a challenger must meet before it is published."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.min) || has(self.maxDrop)", "a gate needs min or maxDrop (or both)"))
    )

    metric: ScorerName
    min: Annotated[float | None, Field(description="The score must be at least this.")] = None
    max_drop: Annotated[
        float | None,
        Field(ge=0, description="The score may be at most this much below the serving revision's, on the same rows."),
    ] = None


class Evaluation(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.gates.exists(g, has(g.min))",
                "at least one gate needs min: the first revision has no other to be compared with",
            )
        )
    )

    holdout: Annotated[Holdout, Field(description="The rows that judge.")] = Holdout()
    gates: Annotated[list[Gate], Field(min_length=1, max_length=16, description="All must hold. At least one needs `min`.")]
    refit: Annotated[
        Literal["WholeWindow", "None"],
        Field(
            description="After the gates have opened, train again on the whole window, holdout included. Needs `data.timestamp`."
        ),
    ] = "WholeWindow"


class Training(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.estimator) != has(self.container)", "training needs exactly one of estimator and container")
        )
    )

    estimator: Annotated[Estimator | None, Field(description="A scikit-learn estimator to fit; or container.")] = None
    container: Annotated[TrainingContainer | None, Field(description="A team's own image that trains; or estimator.")] = None

    data: Annotated[Data, Field(description="What it is fitted on.")]
    schedule: Annotated[Cron | None, Field(description="Retrain at these times too (cron, UTC).")] = None
    evaluation: Annotated[Evaluation, Field(description="What a new model must prove.")]
    resources: Annotated[Resources, Field(description="CPU and memory of each step of the training pod.")] = Resources(
        requests=ResourceList(cpu="500m", memory="1Gi")
    )
    time_limit: Annotated[Duration, Field(description="A training that takes longer is ended and counts as failed.")] = "2h"

    @model_validator(mode="after")
    def _one_learner(self) -> Self:
        if (self.estimator is None) == (self.container is None):  # where no API server has checked the rule
            raise ValueError("training needs exactly one of estimator and container")
        return self


class TrainingLimit(ApiModel):
    max: Annotated[int, Field(ge=1, le=1000, description="Trainings at the most.")] = 4
    per: Annotated[Duration, Field(description="In this long.")] = "24h"


class Retraining(ApiModel):
    causes: Annotated[
        list[Literal["Drift", "Quality", "CodeChange", "Schedule"]],
        Field(max_length=4, description="Causes that retrain without a person. A manual request is always heard."),
    ] = ["Drift", "Quality", "CodeChange", "Schedule"]
    cooldown: Annotated[
        Duration, Field(description="Time between the end of one training and the start of the next for drift or schedule.")
    ] = "6h"
    limit: Annotated[TrainingLimit, Field(description="How many trainings a period may see.")] = TrainingLimit()
    max_attempts: Annotated[
        int, Field(ge=1, le=20, description="Trainings that one drift may cause before people are asked.")
    ] = 4
    suspend: Annotated[bool, Field(description="Start no training for now.")] = False


class LabelSelection(ApiModel):
    """Labels that exist only where the model's answer allowed it, as a refused loan has no outcome."""

    column: Annotated[ColumnName, Field(description="The label's column that says whether the outcome could be seen.")]
    value: Annotated[str, Field(max_length=128, description="Its value where it could.")]


class Labels(ApiModel):
    """The truth that comes later: what the model should have answered."""

    uri: Annotated[S3Uri, Field(description="Prefix of the labels; every object under it with the format's suffix is read.")]
    format: Annotated[Literal["parquet", "csv", "ndjson"], Field(description="Format of those objects.")] = "parquet"
    key: Annotated[
        ColumnName,
        Field(
            description="Column with the request id; a column `row` beside it tells the rows of one request apart (0 without it)."
        ),
    ] = "request_id"
    column: Annotated[ColumnName | None, Field(description="Column with the label. Without it: the training's target.")] = None
    lag: Annotated[
        Duration, Field(description="A label counts once this long has passed since its request, however early it came.")
    ] = "1d"
    selection: Annotated[
        LabelSelection | None,
        Field(description="Where labels exist for a part of the answers only: quality is then told for that part, and says so."),
    ] = None


class ModelSpec(ApiModel):
    storage: Annotated[Storage, Field(description="Where everything of this model is kept.")]
    serving: Annotated[Serving, Field(description="How it is served.")] = Serving()
    training: Annotated[Training, Field(description="How it is trained and judged.")]
    labels: Annotated[Labels | None, Field(description="Where the true answers arrive later, for checks of quality.")] = None
    retraining: Annotated[Retraining, Field(description="When it is trained again.")] = Retraining()
    revision: Annotated[
        int | None,
        Field(
            ge=1,
            description="Serve exactly this revision: a rollback by Git. It freezes rollouts and every training that nobody asked for.",
        ),
    ] = None
    notify: Annotated[
        list[Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]],
        Field(max_length=8, description="Who is told of what happens: names of receivers in the operator's own configuration."),
    ] = []
    revision_history_limit: Annotated[
        int, Field(ge=2, le=100, description="Records of old revisions that are kept. Artifacts in storage stay.")
    ] = 10


class RevisionRef(Tolerant):
    """A revision as status names it."""

    number: Annotated[int, Field(ge=1, description="Number of the revision.")]
    digest: Annotated[Digest, Field(description="Digest of its manifest: its identity.")]
    since: Annotated[Time | None, Field(description="When it began to serve.")] = None


class CandidateRef(RevisionRef):
    """The revision that comes up, and how far it is."""

    step: Annotated[int | None, Field(ge=0, description="Step of the canary, from 0; none before it takes requests.")] = None
    step_since: Annotated[Time | None, Field(description="When that step began.")] = None
    weight: Annotated[
        int | None, Field(ge=0, le=100, description="Percent of the pods, and so of the requests, that it has.")
    ] = None
    analysis: Annotated[str | None, Field(max_length=512, description="What the step has shown so far.")] = None


class Episode(Tolerant):
    """One cause of training, written before anything is created for it."""

    id: Annotated[str, Field(max_length=32, description="Identity; the names of its Jobs derive from it.")]
    cause: Annotated[Cause, Field(description="What opened it.")]
    opened_at: Annotated[Time, Field(description="When it was opened.")]
    onset: Annotated[Time | None, Field(description="Start of the first window that breached, for drift.")] = None
    attempt: Annotated[int, Field(ge=0, description="Training Jobs started for it. 0: none yet.")] = 0
    attempted_at: Annotated[Time | None, Field(description="When the last attempt was started: the `asOf` of its data.")] = None
    revision: Annotated[int, Field(ge=1, description="Number that its revision will have.")] = 1
    template_digest: Annotated[Digest, Field(description="Digest of the training intent that it trains.")]
    evidence: Annotated[str | None, Field(max_length=512, description="Report that opened it.")] = None
    token: Annotated[str | None, Field(max_length=128, description="The manual request that it answers.")] = None
    failures: Annotated[int, Field(ge=0, description="Attempts that failed in a row; the backoff grows with it.")] = 0
    refusals: Annotated[int, Field(ge=0, description="Challengers that the gates refused.")] = 0
    waits: Annotated[int, Field(ge=0, description="Times that labels were not there yet; the distance grows with it.")] = 0
    next_attempt_at: Annotated[Time | None, Field(description="Not before this time is it tried again.")] = None


class TrainingOutcome(StrEnum):
    """How a training ended. Each is written to storage, once per attempt."""

    PUBLISHED = "Published"
    REFUSED = "Refused"
    INVALID_DATA = "InvalidData"
    WAITING_FOR_LABELS = "WaitingForLabels"
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
    revision: Annotated[int | None, Field(description="Number of the revision that it published.")] = None


class Verdict(StrEnum):
    """Missing evidence is never "no drift" and never "pass"."""

    PASSED = "Passed"
    BREACHED = "Breached"
    INSUFFICIENT_DATA = "InsufficientData"
    ERROR = "Error"


class WindowVerdict(Tolerant):
    """What one closed window of traffic said, in each group of checks."""

    start: Annotated[Time, Field(description="Start of the window, inclusive.")]
    end: Annotated[Time, Field(description="End of the window, exclusive.")]
    data: Annotated[Verdict, Field(description="Verdict of schema and data quality.")]
    features: Annotated[Verdict, Field(description="Verdict of the features' distributions.")]
    predictions: Annotated[Verdict, Field(description="Verdict of the predictions' distribution.")]
    rows: Annotated[int, Field(ge=0, description="Rows in the window.")] = 0
    drifted_share: Annotated[float | None, Field(description="Share of the features that drifted, weighted by importance.")] = (
        None
    )
    message: Annotated[str, Field(max_length=256, description="The finding in one sentence.")] = ""


class QualityVerdict(Tolerant):
    """What the labels of one window said, once they had matured."""

    start: Annotated[Time, Field(description="Start of the window, inclusive.")]
    end: Annotated[Time, Field(description="End of the window, exclusive.")]
    verdict: Annotated[Verdict, Field(description="Verdict of the quality on labels.")]
    labels: Annotated[int, Field(ge=0, description="Matured labels that were joined.")] = 0
    score: Annotated[float | None, Field(description="The metric on them.")] = None
    predecessor: Annotated[
        int | None, Field(description="Number of the revision that was asked too, while this one is on probation.")
    ] = None
    worse: Annotated[bool | None, Field(description="Whether this revision is surely worse than that one on the same rows.")] = (
        None
    )
    message: Annotated[str, Field(max_length=256, description="The finding in one sentence.")] = ""


class ColumnStatistic(Tolerant):
    """One of the columns of the newest window that lie the furthest from the reference."""

    name: Annotated[str, Field(max_length=128, description="The column.")]
    test: Annotated[str, Field(max_length=32, description="The statistic.")]
    statistic: Annotated[float, Field(description="Its value.")]
    threshold: Annotated[float, Field(description="Breached above this.")]


class CheckStatus(Tolerant):
    """The memory of one policy's checks on this model; hysteresis lives here."""

    policy_uid: Annotated[str, Field(alias="policyUID", max_length=64, description="UID of the DriftPolicy.")]
    policy: Annotated[str, Field(max_length=253, description="Its name.")]
    policy_digest: Annotated[Digest, Field(description="Digest of the spec that judged; another one starts a new history.")]
    revision_digest: Annotated[Digest, Field(description="The revision whose reference was compared with.")]
    windows: Annotated[list[WindowVerdict], Field(max_length=32, description="Newest verdicts, oldest first.")] = []
    quality: Annotated[
        list[QualityVerdict], Field(max_length=32, description="Newest verdicts on labels, oldest first; they come later.")
    ] = []
    columns: Annotated[
        list[ColumnStatistic],
        Field(max_length=10, description="The newest window's columns, the furthest from the reference first."),
    ] = []
    report: Annotated[str | None, Field(max_length=512, description="Where the newest report is.")] = None
    page: Annotated[str | None, Field(max_length=512, description="Where it is as a page for people.")] = None


class Waiting(Tolerant):
    """Why a training that is wanted has not started."""

    cause: Annotated[Cause, Field(description="What wants it.")]
    reason: Annotated[str, Field(max_length=64, description="The guard that holds it.")]
    message: Annotated[str, Field(max_length=512, description="Why, for people.")]
    until: Annotated[Time | None, Field(description="When it will be looked at again, where that is known.")] = None


class Quarantined(Tolerant):
    digest: Annotated[Digest, Field(description="A revision that failed to serve; it is not tried again.")]
    reason: Annotated[str, Field(max_length=512, description="How it failed.")]
    at: Annotated[Time, Field(description="When.")]
    promoted: Annotated[bool, Field(description="It had taken all requests before.")] = False


class Notice(Tolerant):
    """Something that people are still to be told."""

    id: Annotated[str, Field(max_length=32, description="Identity; a receiver that knows it has heard it before.")]
    at: Annotated[Time, Field(description="When it happened.")]
    severity: Annotated[Literal["Info", "Warning"], Field(description="How urgent it is.")]
    reason: Annotated[str, Field(max_length=64, description="What happened, as one CamelCase word.")]
    message: Annotated[str, Field(max_length=512, description="What happened, why, and what was done.")]


class ModelStatus(Tolerant):
    observed_generation: Annotated[int | None, Field(description="Generation of the spec that this status speaks of.")] = None
    conditions: Annotated[list[Condition], Field(max_length=16, description="What is so, why, and since when.")] = []
    url: Annotated[str | None, Field(max_length=512, description="Where requests go inside the cluster.")] = None
    serving: Annotated[RevisionRef | None, Field(description="The revision that serves.")] = None
    candidate: Annotated[CandidateRef | None, Field(description="The revision that is coming up.")] = None
    replicas: Annotated[int, Field(ge=0, description="Serving pods of the stable revision.")] = 0
    ready_replicas: Annotated[int, Field(ge=0, description="Those of them that are ready.")] = 0
    selector: Annotated[
        str | None, Field(max_length=512, description="Label selector of the serving pods, for the scale subresource.")
    ] = None
    latest_revision: Annotated[int, Field(ge=0, description="Highest number given to a revision so far.")] = 0
    episode: Annotated[Episode | None, Field(description="The open cause of training.")] = None
    waiting: Annotated[Waiting | None, Field(description="Why a wanted training has not started.")] = None
    last_training: Annotated[LastTraining | None, Field(description="How the last training ended.")] = None
    trainings: Annotated[
        list[Time], Field(max_length=64, description="Starts of recent trainings, for the limit per period.")
    ] = []
    checks: Annotated[list[CheckStatus], Field(max_length=16, description="What drift checks found, by policy.")] = []
    scheduled_at: Annotated[Time | None, Field(description="Last time of the training schedule that was answered.")] = None
    handled_retrain: Annotated[str | None, Field(max_length=128, description="Last manual request that was answered.")] = None
    quarantine: Annotated[list[Quarantined], Field(max_length=32, description="Revisions that failed to serve.")] = []
    notices: Annotated[list[Notice], Field(max_length=32, description="What the receivers are still to be told.")] = []


class Model(Tolerant):
    """A machine-learning model that is served, watched and kept fresh."""

    api_version: str = "stationkeeper.dev/v1alpha1"
    kind: Literal["Model"] = "Model"
    metadata: dict[str, Any]
    spec: ModelSpec
    status: ModelStatus = ModelStatus()
