"""Conditions of the Kubernetes API conventions, and every reason that we write.

`Ready`, `Reconciling` and `Stalled` follow kstatus; the others belong to the domain. Drift does not make `Ready` false:
a drifted model still serves.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from stationkeeper.api.base import Time, Tolerant


class ConditionType(StrEnum):
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    AVAILABLE = "Available"
    DATA_VALID = "DataValid"
    DRIFTED = "Drifted"
    SKEWED = "Skewed"
    RETRAINING = "Retraining"
    ROLLOUT_PROGRESSING = "RolloutProgressing"
    ROUTED = "Routed"  # only where spec.serving.route is given


class Reason(StrEnum):
    """Why a condition has the status it has: one word of this list, so that people can search for it."""

    # Ready, Available, Reconciling
    SERVING = "Serving"
    NOT_SERVING = "NotServing"
    FIRST_TRAINING = "FirstTraining"
    NEVER_TRAINED = "NeverTrained"
    SCALED_TO_ZERO = "ScaledToZero"
    REPLICAS_UNAVAILABLE = "ReplicasUnavailable"
    STARTING = "Starting"
    RESTORING = "Restoring"
    # Stalled
    INVALID_SPEC = "InvalidSpec"
    NAME_CONFLICT = "NameConflict"
    SECRET_MISSING = "SecretMissing"  # noqa: S105  a reason, not a secret
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    STORAGE_IN_USE = "StorageInUse"
    STORAGE_UNREACHABLE = "StorageUnreachable"
    TRAINING_FAILED = "TrainingFailed"
    NO_POLICY_MATCH = "NoMatchingModel"
    # Data and drift
    CHECKS_PASSED = "ChecksPassed"
    DRIFT_DETECTED = "DriftDetected"
    QUALITY_LOST = "QualityLost"
    CALIBRATING = "Calibrating"
    SKEW_DETECTED = "SkewDetected"
    VERDICTS_EXPIRED = "VerdictsExpired"
    SCHEMA_BREACHED = "SchemaBreached"
    INSUFFICIENT_DATA = "InsufficientData"
    NOT_CHECKED = "NotChecked"
    CHECK_FAILED = "CheckFailed"
    CHALLENGERS_REFUSED = "ChallengersRefused"
    # Retraining
    TRAINING = "Training"
    PUBLISHED = "Published"
    REFUSED = "ChallengerRefused"
    INVALID_DATA = "InvalidData"
    WAITING_FOR_LABELS = "WaitingForLabels"
    IDLE = "Idle"
    # Guards, in their order: why a wanted training has not started
    SUSPENDED = "Suspended"
    DATA_INVALID = "DataInvalid"
    ROLLOUT_RUNNING = "RolloutRunning"
    COOLDOWN = "Cooldown"
    LIMIT_REACHED = "LimitReached"
    BACKOFF = "Backoff"
    PINNED = "Pinned"
    AUTO_RETRAIN_HELD = "AutoRetrainHeld"
    QUARANTINED = "Quarantined"
    SWEEPING = "Sweeping"
    # Rollout
    CANDIDATE_STARTING = "CandidateStarting"
    CANARY = "Canary"
    SHADOW = "Shadow"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    PAUSED = "Paused"
    REVISION_NOT_FOUND = "RevisionNotFound"
    CANDIDATE_FAILED = "CandidateFailed"
    NO_ROOM = "NoRoom"
    PROVEN = "Proven"
    DRAINING = "Draining"
    STABLE = "Stable"
    # Route
    ROUTE_ACCEPTED = "RouteAccepted"
    ROUTE_PENDING = "RoutePending"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    GATEWAY_API_MISSING = "GatewayAPIMissing"
    UP_TO_DATE = "UpToDate"


class Condition(Tolerant):
    """One condition, as in `metav1.Condition`."""

    type: Annotated[str, Field(max_length=64, description="Type of the condition, in CamelCase.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether the condition holds.")]
    reason: Annotated[str, Field(max_length=64, description="Why, as one CamelCase word of the documented list.")]
    message: Annotated[str, Field(max_length=1024, description="Why, for people, and what to do about it.")]
    observed_generation: Annotated[int, Field(ge=0, description="The generation of the spec that this was written for.")] = 0
    last_transition_time: Annotated[Time, Field(description="When the status last changed.")]
