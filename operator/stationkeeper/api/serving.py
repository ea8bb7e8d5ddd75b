"""How a model is served: pods, capture, and how a new revision takes over."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, ColumnName, Duration, rules
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.api.training import EnvironmentVariable

_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_HOSTNAME = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


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
    event_time: Annotated[
        ColumnName | None,
        Field(
            description="A column of the requests that says when each row happened, ISO 8601 text or seconds since 1970; it need be no "
            "feature. Windows, labels and feedback then go by it. Rows whose time cannot be used count by their arrival, as all do "
            "without it."
        ),
    ] = None


class RolloutStep(ApiModel):
    weight: Annotated[int, Field(ge=1, le=99, description="Percent of the requests that the new revision gets.")]
    hold: Annotated[Duration, Field(description="How long at least, before the next step.")] = "2m"


class AnalysisQuery(ApiModel):
    """A number that Prometheus must give at each step. The operator's configuration has the query; a Model knows its name alone."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.max)", "an analysis query needs min or max (or both)"),
            ("!has(self.min) || !has(self.max) || self.min <= self.max", "min must not be above max"),
        )
    )

    name: Annotated[
        str, Field(pattern=_LABEL, min_length=1, max_length=63, description="Name of a query in the operator's configuration.")
    ]
    min: Annotated[float | None, Field(description="The new revision is given up when the number is lower.")] = None
    max: Annotated[float | None, Field(description="The new revision is given up when the number is higher.")] = None


class Analysis(ApiModel):
    """What the new revision must show at each step: by the metrics of the serving pods themselves, and by queries of Prometheus."""

    min_requests: Annotated[
        int,
        Field(
            ge=1,
            le=10_000_000,
            description="Requests that the new revision must have answered, and the stable one where the two are compared; before, the "
            "step holds.",
        ),
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
            description="How far the difference between the two revisions' distributions of predictions may lie from the one that the "
            "gates saw (total variation), beyond chance. Where they saw none, as of an imported model: how large it may be.",
        ),
    ] = 0.25
    queries: Annotated[
        list[AnalysisQuery],
        Field(
            max_length=8,
            description="Queries of the operator's configuration whose answers must lie within bounds once `minRequests` have come. Without "
            "an answer the step holds.",
        ),
    ] = []
    deadline: Annotated[
        Duration,
        Field(
            description="How long a step may wait for `minRequests` and for answers to `queries`, or a shadow for rows to compare."
        ),
    ] = "30m"
    without_evidence: Annotated[
        Literal["Rollback", "Wait"], Field(description="What is done when the deadline passes without enough evidence.")
    ] = "Rollback"


class Shadow(ApiModel):
    """What a new revision must show when it is asked what the stable revision was asked, off the request path."""

    duration: Annotated[
        Duration,
        Field(
            description="How long the stable revision's requests are gathered before its answers and the new ones are compared."
        ),
    ] = "10m"
    min_rows: Annotated[
        int, Field(ge=1, le=100_000, description="Rows that must have been compared; before, it goes on for another `duration`.")
    ] = 1000
    max_disagreement: Annotated[
        float | None, Field(ge=0, le=1, description="Share of the rows that may be given another class. Of classifiers.")
    ] = 0.25
    max_mean_difference: Annotated[
        float | None,
        Field(
            gt=0,
            le=1000,
            description="Mean absolute difference of the probabilities or, of a regression, of the predictions as a multiple of the "
            "standard deviation of the stable revision's.",
        ),
    ] = 0.25
    max_latency: Annotated[
        Duration | None,
        Field(description="Within this long 95 % of the requests must be answered. Without it no time is too long."),
    ] = None
    then: Annotated[
        Literal["Promotion", "Canary"],
        Field(
            description="What follows when it has passed. Promotion: all requests at once. Canary: the steps and the analysis of a canary, "
            "then all."
        ),
    ] = "Promotion"


class Rollout(ApiModel):
    """How a new revision takes the requests over."""

    strategy: Annotated[
        Literal["Canary", "BlueGreen", "Shadow", "Recreate"],
        Field(
            description="Canary: step by step, by shares of pods or by the weights of spec.serving.route. BlueGreen: all at once, when "
            "the new revision is ready on all its pods. Shadow: all at once (or, with shadow.then, step by step), when it has answered what "
            "the stable revision was asked, and nearly the same. Recreate: the old pods end before the new ones start, for clusters without room for both; requests "
            "fail meanwhile."
        ),
    ] = "BlueGreen"
    steps: Annotated[list[RolloutStep], Field(min_length=1, max_length=16, description="Steps of a canary, in their order.")] = [
        RolloutStep(weight=20),
        RolloutStep(weight=50),
    ]
    analysis: Annotated[
        Analysis,
        Field(
            description="What each step of a canary must show; of a shadow maxErrorRate, deadline and withoutEvidence hold, too, and "
            "maxPredictionShift where the gates saw how its predictions are to differ."
        ),
    ] = Analysis()
    shadow: Annotated[Shadow, Field(description="What a shadow must show.")] = Shadow()
    max_surge: Annotated[
        int | None,
        Field(
            ge=1,
            le=1000,
            description="Pods above spec.serving.replicas that a takeover may need. A proven revision then takes over pod by pod: each of "
            "its pods that is ready lets one of the stable revision go. Without it, and with autoscaling: as many as there are.",
        ),
    ] = None
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


class GatewayRef(ApiModel):
    """A Gateway of the Gateway API that takes requests from outside."""

    name: Annotated[str, Field(pattern=_SUBDOMAIN, max_length=253, description="Name of the Gateway.")]
    namespace: Annotated[
        str | None,
        Field(
            pattern=_LABEL,
            max_length=63,
            description="Its namespace, where that is another; the Gateway's listener must allow routes from the Model's.",
        ),
    ] = None
    section_name: Annotated[
        str | None, Field(pattern=_SUBDOMAIN, max_length=253, description="One listener of it. Without it: all that fit.")
    ] = None


class Route(ApiModel):
    """Requests that come through a Gateway; a canary then gets its exact share of them."""

    gateway: Annotated[GatewayRef, Field(description="The Gateway that the Model's HTTPRoute is attached to.")]
    hostnames: Annotated[
        list[Annotated[str, Field(pattern=_HOSTNAME, max_length=253)]],
        Field(max_length=16, description="Host names that the Model answers to there. Without them: those of the listener."),
    ] = []


class ServingContainer(ApiModel):
    """A server of the team's own choice, as MLServer or Triton. It finds the model's files; it has no credentials and no API token."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.env.all(e, !e.name.startsWith('STATIONKEEPER_'))",
                "names that begin with STATIONKEEPER_ are set by the operator",
            ),
            (
                "self.protocol != 'HTTP' || has(self.readyPath)",
                "protocol HTTP needs readyPath: there is none that all servers know",
            ),
        )
    )

    image: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            pattern=r"^\S+$",
            description="Image that serves. It runs as user 65532 on a read-only root; /tmp can be written, the model's files are "
            "in /mnt/model.",
        ),
    ]
    command: Annotated[
        list[Annotated[str, Field(max_length=4096)]],
        Field(max_length=64, description="Program that is run. Without it: the image's own."),
    ] = []
    args: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=64, description="Its arguments.")] = []
    env: Annotated[
        list[EnvironmentVariable], Field(max_length=64, description="Its environment, beside what the contract gives.")
    ] = []
    port: Annotated[int, Field(ge=1024, le=65535, description="Port that it serves HTTP on.")] = 8080
    protocol: Annotated[
        Literal["OpenInference", "HTTP"],
        Field(description="OpenInference (v2): health is asked at its paths. HTTP: anything else, with readyPath."),
    ] = "OpenInference"
    ready_path: Annotated[
        str | None,
        Field(
            pattern=r"^/[!-~]*$",
            max_length=512,
            description="Path that answers 200 once requests may come. Without it: /v2/health/ready.",
        ),
    ] = None
    pull_secrets: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]],
        Field(max_length=8, description="Secrets of this namespace that the image is pulled with."),
    ] = []


class Serving(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.autoscaling) || (has(self.resources.requests) && has(self.resources.requests.cpu))",
                "autoscaling needs resources.requests.cpu: utilization is a share of it",
            ),
            (
                "self.rollout.strategy != 'Shadow' || self.capture.sampleRate > 0.0",
                "rollout.strategy Shadow replays captured rows: capture.sampleRate must be above 0",
            ),
            (
                "self.rollout.strategy != 'Shadow' || !has(self.container)",
                "rollout.strategy Shadow replays captured rows: a container of your own captures none",
            ),
            (
                "!has(self.route) || !has(self.container) || self.container.protocol == 'OpenInference'",
                "route leads to /v2/models/<name>, which a container with protocol HTTP need not know",
            ),
        )
    )

    runtime: Annotated[Literal["sklearn"], Field(description="The runtime that serves the model.")] = "sklearn"
    container: Annotated[
        ServingContainer | None,
        Field(description="In place of the runtime: a server of your own. It captures nothing, so drift is not seen."),
    ] = None
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
    route: Annotated[
        Route | None,
        Field(
            description="A way in through a Gateway, for /v2/models/<name>. It needs the Gateway API's HTTPRoute in the cluster. "
            "Without it: the Service alone."
        ),
    ] = None
    progress_deadline: Annotated[
        Duration, Field(description="How long a new revision may take to become ready before it is given up and quarantined.")
    ] = "10m"
