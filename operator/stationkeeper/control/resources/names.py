"""Names of children: readable in front, unique behind. The hash includes the Model's UID (SEMANTICS §4)."""

import hashlib


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:10]


def revision(model: str, uid: str, number: int, digest: str) -> str:
    """Name of a revision's record, of its Deployment and, where there is one, of its Service."""
    return f"{model}-r{number}-{_hash(uid, str(number), digest)[:6]}"


def pair(uid: str, *of: str) -> str:
    """Name of a comparison of two revisions, for the label of its Jobs."""
    return _hash(uid, *of)


def shadow_job(model: str, of: str, attempt: int) -> str:
    """Name of the one Job of an attempt to compare a pair."""
    return f"{model}-shadow-{_hash(of, str(attempt))}"


def training_job(model: str, uid: str, episode: str, attempt: int) -> str:
    """Name of the one Job of an attempt: whoever creates it twice creates it once."""
    return f"{model}-train-{_hash(uid, episode, str(attempt))}"


def training_workload(model: str, uid: str, episode: str, attempt: int) -> str:
    """Name of what trains across machines for an attempt; at most 43 characters, for a RayJob may have 47."""
    return f"{model[:30]}-w-{_hash(uid, episode, str(attempt), 'workload')}"


def record_job(model: str, uid: str, decision: str) -> str:
    """Name of the one Job that writes down a decision."""
    return f"{model}-record-{_hash(uid, decision)}"


def sweep_job(model: str, uid: str, at: str) -> str:
    """Name of the one Job of a sweep."""
    return f"{model}-sweep-{_hash(uid, at)}"


def restore_job(model: str, uid: str) -> str:
    """Name of the one Job that reads what storage holds."""
    return f"{model}-restore-{_hash(uid, 'restore')}"


def watch_cronjob(model: str, uid: str) -> str:
    """Name of the CronJob that looks at training.watch; at most 51 characters."""
    return f"{model}-{_hash(uid, 'watch')}"


def check_cronjob(model: str, uid: str, policy_uid: str) -> str:
    """Name of the CronJob of one policy; at most 51 characters, for CronJobs may have 52."""
    return f"{model}-{_hash(uid, policy_uid)}"


def look_cronjob(model: str, uid: str) -> str:
    """Name of the CronJob that looks at a model's source; no policy has this UID."""
    return f"{model}-{_hash(uid, 'source')}"


def serving(model: str, uid: str) -> str:
    """Name of what keeps the stable revision's pods in number: autoscaler and disruption budget."""
    return f"{model}-serving-{_hash(uid)[:6]}"


def service(model: str) -> str:
    """Name of the Service: the Model's own, for people type it."""
    return model


def route(model: str) -> str:
    """Name of the HTTPRoute: the Model's own."""
    return model


def episode(uid: str, cause: str, key: str) -> str:
    """Identity of an episode: the same cause for the same reason is the same episode."""
    return _hash(uid, cause, key)
