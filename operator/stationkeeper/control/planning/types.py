"""The values that planning takes and gives. Objects are plain JSON dictionaries, as the API server has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stationkeeper.control.planning.canary import Measured
from stationkeeper.control.planning.queries import Answer
from stationkeeper.control.resources.templates import WorkloadTemplate

Object = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What the operator's administrator decides for all models."""

    workloads_image: str
    image_pull_policy: str = "IfNotPresent"
    drain_seconds: float = 30.0  # between the switch of the Service and the end of the old pods
    cluster_domain: str = "cluster.local"
    receivers: frozenset[str] = frozenset()  # names that `spec.notify` may use
    queries: frozenset[str] = frozenset()  # names that the analysis of a rollout may use
    workloads: Mapping[str, WorkloadTemplate] = field(default_factory=dict)  # by name: what Models may train with across machines


@dataclass(frozen=True)
class Observed:
    """Everything about one Model that a decision may rest on."""

    model: Object
    policies: tuple[Object, ...] = ()  # those that select the model
    revisions: tuple[Object, ...] = ()
    deployments: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()  # ours, and the one with the model's name, whoever owns it
    cronjobs: tuple[Object, ...] = ()
    jobs: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    guards: tuple[Object, ...] = ()  # autoscaler and disruption budget
    workload: Object | None = None  # of the attempt under way, asked for at this very look
    routes: tuple[Object, ...] = ()  # HTTPRoutes: ours, and the one with the model's name, whoever owns it
    routable: bool = False  # the cluster has HTTPRoutes, and the operator may use them
    delivered: frozenset[str] = frozenset()  # notices that every receiver has heard
    measured: Mapping[int, Measured] = field(default_factory=dict)  # by revision, since the step of a canary began
    answers: Mapping[str, Answer] = field(default_factory=dict)  # by name of the query: what Prometheus says of that step


@dataclass(frozen=True)
class Ref:
    """An object to delete; the UID makes sure that it is still the one that was seen."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def to(cls, obj: Object) -> "Ref":
        """The reference to a seen object."""
        meta = obj["metadata"]
        return cls(obj["apiVersion"], obj["kind"], meta["namespace"], meta["name"], meta["uid"])


@dataclass(frozen=True)
class Event:
    """What is told to people once, through the Events of the object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What to do now, and when to look again."""

    status: Object | None = None  # the whole desired status; None: leave it
    status_first: bool = False  # the status must be written before anything is created (an episode before its Job, a canary's step before its pods)
    records: tuple[Object, ...] = ()  # written before all else: what the status then calls done must be found there
    apply: tuple[Object, ...] = ()
    delete: tuple[Ref, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None  # seconds
