"""What people are told by message: an outbox in the status, so that a crash tells them twice rather than never."""

from collections.abc import Collection, Sequence
from datetime import datetime

from stationkeeper.api.base import canonical_json, sha256, short
from stationkeeper.api.status import Notice
from stationkeeper.control.planning.types import Event

MOST = 32  # notices that wait; more than that is an outage of the receivers, and the newest matter
# Good news worth a message; every warning is.
_NEWS = frozenset({"RevisionPublished", "RevisionServing", "WaitingForApproval"})


def outbox(
    before: Sequence[Notice], delivered: Collection[str], events: Sequence[Event], wanted: bool, now: datetime
) -> list[Notice]:
    """The notices that still wait: those of before that were not delivered, and those of new events.

    `wanted`: whether the Model names receivers. What waits already is not added again.
    """
    if not wanted:
        return []
    waiting = [notice for notice in before if notice.id not in delivered]
    said = {(notice.reason, notice.message) for notice in waiting}
    for event in events:
        if (event.type == "Warning" or event.reason in _NEWS) and (event.reason, event.message[:512]) not in said:
            waiting.append(_notice(event, now))
    return waiting[-MOST:]


def _notice(event: Event, now: datetime) -> Notice:
    severity = "Warning" if event.type == "Warning" or event.reason == "WaitingForApproval" else "Info"
    identity = short(sha256(canonical_json([event.reason, event.message, now.isoformat()])))
    return Notice(id=identity, at=now, severity=severity, reason=event.reason, message=event.message[:512])
