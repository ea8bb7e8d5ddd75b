"""The object or the image of `training.watch`: what it was, what it is, and who looks at it. Pure.

That it cannot be seen is told, and is never a change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.status import Watched
from stationkeeper.api.summary import FailureSummary, WatchSummary
from stationkeeper.api.training import Training
from stationkeeper.control.planning import evidence
from stationkeeper.control.planning.evidence import SilentWatch
from stationkeeper.control.planning.intent import combined_digest, training_digest
from stationkeeper.control.planning.types import Event, Object, Observed
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.watch import watch_cronjob

_SILENT = "the pod that looks left no message; see that its image and the secrets that it is given can be had"


@dataclass(frozen=True)
class Watching:
    """What status says of it, and the CronJob that looks at it."""

    status: Watched | None
    apply: tuple[Object, ...] = ()
    events: tuple[Event, ...] = ()


def plan_watch(
    observed: Observed, owner: Owner, before: Watched | None, trained: Sequence[str], image: Image, now: datetime
) -> Watching:
    """Take in what the newest look says. Nothing is remembered of what is not watched any more.

    `trained`: digests of what was trained. One may tell that what is seen first has been trained already: on
    another cluster, or before this status was lost.
    """
    training = owner.spec.training
    watch = training.watch if training else None
    if training is None or watch is None:
        return Watching(None)
    apply = (watch_cronjob(owner, watch, image),)
    known = before if before and before.uri == watch.target else Watched(uri=watch.target)
    match _said(observed, owner):
        case WatchSummary(uri=watch.target, digest=seen):
            done = combined_digest(training_digest(training), seen) in trained
            return _seen(known, seen, done, apply, now.replace(microsecond=0))
        case FailureSummary(reason=reason, message=message):
            return _troubled(known, f"{reason}: {message}", apply)
        case SilentWatch(reason):
            # Silence does not unsay what an earlier look said of it.
            return Watching(known, apply) if known.trouble else _troubled(known, f"{reason}: {_SILENT}", apply)
        case _:
            return Watching(before if before == known else None, apply)


def _troubled(known: Watched, trouble: str, apply: tuple[Object, ...]) -> Watching:
    trouble = trouble[:512]
    told = () if trouble == known.trouble else (Event("Warning", "WatchFailed", f"{known.uri}: {trouble}"[:1024]),)
    return Watching(known.model_copy(update={"trouble": trouble}), apply, told)


def _seen(known: Watched, seen: str, done: bool, apply: tuple[Object, ...], now: datetime) -> Watching:
    if seen == known.digest:
        return Watching(known.model_copy(update={"trouble": None}), apply)
    first = known.first if known.digest else None if done else seen
    after = known.model_copy(update={"first": first, "digest": seen, "since": now, "trouble": None})
    told = (Event("Normal", "WatchedChanged", f"{known.uri} has changed"),) if known.digest else ()
    return Watching(after, apply, told)


def pinned(training: Training, watched: Watched | None) -> Training:
    """The training by the digest that its image's tag was seen to stand for, where the tag is watched.

    The tag itself would not do: a node that knows an image of that name does not ask for a newer one, and what the tag stands for
    when the pod begins need not be what was seen.
    """
    watch, theirs = training.watch, training.container
    if theirs is None or watch is None or watch.image != theirs.image or watched is None:
        return training
    if watched.uri != watch.image or watched.digest is None:
        return training
    by_digest = f"{theirs.image.rpartition(':')[0]}@{watched.digest}"
    return training.model_copy(update={"container": theirs.model_copy(update={"image": by_digest})})


def _said(observed: Observed, owner: Owner) -> WatchSummary | FailureSummary | SilentWatch | None:
    name = names.watch_cronjob(owner.name, owner.uid)
    for cronjob in observed.cronjobs:
        if cronjob["metadata"]["name"] == name and evidence.controlled_by(cronjob, owner.uid):
            return evidence.newest_watch(observed, cronjob)
    return None
