"""How a model is served: pods, capture, and how a new revision takes over."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, Duration, rules
from stationkeeper.api.resources import ResourceList, Resources


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
