"""Windows in which a drift check found the data broken: nobody should learn from them later either."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from stationkeeper.api.base import Time, Tolerant, format_time
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.store import Store

log = logging.getLogger(__name__)

MAX_REPORTS: Final = 3_000  # that are looked into: the newest
_MAX_BYTES: Final = 32 * 2**20
_NAMED: Final = 3  # windows in a message


class Incident(Tolerant):
    """A window `[start, end)` of broken data under one revision."""

    revision: str  # 12 hex digits
    start: Time
    end: Time


class _Report(Tolerant):
    """What is read of a drift report."""

    policy_uid: str
    created_at: Time
    data: Verdict


def find_incidents(store: Store, start: datetime, end: datetime) -> list[Incident]:
    """The windows between two moments whose data a policy found broken, in the order of time.

    Of several reports of one policy on one window the newest counts: a policy that was mended has judged again. A window that nobody
    has judged, or whose report cannot be read, is no incident: nothing is known against its rows.
    """
    found = [(window, item.key) for item in store.list(keys.CHECKS) if (window := keys.checked(item.key))]
    within = sorted((w for w in found if w[0][1] <= end and w[0][2] > start), key=lambda w: w[0][1])
    if len(within) > MAX_REPORTS:
        log.warning("of %d drift reports only the newest %d are looked into for broken data", len(within), MAX_REPORTS)
    newest: dict[tuple[str, str, datetime, datetime], _Report] = {}
    for (revision, begins, ends), key in within[-MAX_REPORTS:]:
        report = _read(store, key)
        if report is None:
            continue
        at = (report.policy_uid, revision, begins, ends)
        if at not in newest or newest[at].created_at < report.created_at:
            newest[at] = report
    broken = {
        (begins, ends, revision) for (_, revision, begins, ends), report in newest.items() if report.data is Verdict.BREACHED
    }
    return [Incident(revision=revision, start=begins, end=ends) for begins, ends, revision in sorted(broken)]


def _read(store: Store, key: str) -> _Report | None:
    try:
        return _Report.model_validate_json(store.get(key, max_bytes=_MAX_BYTES))
    except (ValidationError, MalformedArtifact, NotFound) as error:
        log.warning("%s is not looked into for broken data: %s", store.uri(key), str(error).splitlines()[0])
        return None


def told(incidents: Sequence[Incident]) -> str:
    """Windows in words."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted({(incident.start, incident.end) for incident in incidents}):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    named = [f"{format_time(start)} to {format_time(end)}" for start, end in merged[:_NAMED]]
    more = f" and {len(merged) - _NAMED} more" if len(merged) > _NAMED else ""
    return f"{', '.join(named)}{more}"
