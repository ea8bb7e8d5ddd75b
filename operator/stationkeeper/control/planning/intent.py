"""Digests of what the user meant: of the training, and of a policy's judgement."""

from collections.abc import Sequence

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.model import Labels, ModelSpec
from stationkeeper.api.source import Source
from stationkeeper.api.status import Watched
from stationkeeper.api.training import Training

_VERSION = 1  # raise it only when the canonical form must change, and migrate: a new digest retrains everyone


_LEARNER = {"estimator", "container", "workload", "search"}
_HOW_IT_IS_RUN = {"container": {"pull_secrets"}, "search": {"time_limit"}}
_HOW_IT_IS_WATCHED = {"min_new_rows", "as_of", "validation"}


def training_digest(training: Training) -> str:
    """Digest of the training intent: estimator and search, or the team's own image and command, and the meaning of the data.

    Default values, our images, resources, gates and schedules are not in it, so that neither an upgrade of the
    operator nor a looser gate retrains anyone (SEMANTICS §2). Validation is a gate for rows.
    """
    learner = training.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=_LEARNER, exclude=_HOW_IT_IS_RUN)
    intent = learner | {
        "version": _VERSION,
        "data": training.data.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=_HOW_IT_IS_WATCHED),
    }
    return sha256(canonical_json(intent))


def watched_digest(training: Training, watched: Watched | None, trained: Sequence[str]) -> str:
    """The same with the object of `training.watch`, once that is another than it was when it was first seen.

    Parameters:
        training: the intent.
        watched: what has been seen of the object.
        trained: digests that are trained or have been, the newest last. Before the object has been seen nothing tells whether
            they are still those of today, and what cannot be seen is no change.
    """
    plain = training_digest(training)
    if training.watch is None:
        return plain
    if watched is None or (watched.digest is None and watched.trouble is None):
        return trained[-1] if trained else plain
    return _with(plain, watched)


def _with(plain: str, watched: Watched | None) -> str:
    if watched is None or watched.digest is None or watched.digest == watched.first:
        return plain
    return combined_digest(plain, watched.digest)


def combined_digest(plain: str, seen: str) -> str:
    """The digest of a training intent together with the state of an object."""
    return sha256(canonical_json({"version": _VERSION, "training": plain, "watched": seen}))


# Where a file lies and what it must prove do not change what it is.
_WHAT_IT_IS = {"format", "features", "task", "classes", "positive_label", "target"}


def source_digest(source: Source) -> str:
    """Digest of what a published file is taken for: its format, columns and answers. What it is itself says its own digest."""
    intent = source.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=_WHAT_IT_IS)
    return sha256(canonical_json({"version": _VERSION, "source": intent}))


def intent_digest(spec: ModelSpec, watched: Watched | None = None, trained: Sequence[str] = ()) -> str:
    """Digest of how the user wants the model to come about; `watched` and `trained` as in `watched_digest`."""
    if spec.source is not None:
        return source_digest(spec.source)
    return watched_digest(spec.trained, watched, trained)


_NOT_JUDGED = dict.fromkeys(("model_ref", "model_selector", "schedule", "breach", "skew_within", "action", "suspend"), True) | {
    group: {"action"} for group in ("schema_", "features", "predictions", "quality")
}


def judgement_digest(policy: DriftPolicySpec, labels: Labels | None = None) -> str:
    """Digest of all that decides a window's verdict; schedule, actions and hysteresis are not in it."""
    judged = {
        name: value
        for name, value in policy.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=_NOT_JUDGED).items()
        if value != {}  # a group of which only the action was given
    }
    if labels and policy.quality:
        judged["labels"] = labels.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return sha256(canonical_json({"version": _VERSION, "policy": judged}))
