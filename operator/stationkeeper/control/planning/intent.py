"""Digests of what the user meant: of the training, and of a policy's judgement."""

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.model import Training

_VERSION = 1  # raise it only when the canonical form must change, and migrate: a new digest retrains everyone


def training_digest(training: Training) -> str:
    """Digest of the training intent: estimator, parameters and the meaning of the data.

    Default values, images, resources, gates and schedules are not in it, so that neither an upgrade of the
    operator nor a looser gate retrains anyone (SEMANTICS §2).
    """
    intent = {
        "version": _VERSION,
        "estimator": training.estimator.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "data": training.data.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"min_new_rows", "as_of"}),
    }
    return sha256(canonical_json(intent))


def judgement_digest(policy: DriftPolicySpec) -> str:
    """Digest of all that decides a window's verdict; schedule, action and hysteresis are not in it."""
    fields = {"window", "grace", "min_samples", "false_alarm_rate", "schema_", "features", "predictions"}
    judged = policy.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=fields)
    return sha256(canonical_json({"version": _VERSION, "policy": judged}))
