"""What a revision answered last is judged when another one serves already: its labels come later than its successor."""

from datetime import datetime, timedelta

from stationkeeper.api.base import parse_duration
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.jobs import Retired
from stationkeeper.api.status import ModelStatus, RetiredRef, RevisionRef

_PATIENCE = 2  # times the moment at which its last labels are due, for feeds that are late


def retired(before: ModelStatus, serving: RevisionRef | None, now: datetime) -> RetiredRef | None:
    """The revision that served before the one that serves now, as of now."""
    last = before.serving
    if serving is None or last is None or last.number == serving.number or last.since is None:
        return before.retired
    return RetiredRef(number=last.number, digest=last.digest, since=last.since, until=serving.since or now)


def still_judged(found: RetiredRef | None, policy: DriftPolicySpec, lag: str | None, now: datetime) -> Retired | None:
    """The revision before, as long as something may come of it; `lag` is that of the Model's labels."""
    if found is None or found.since is None:
        return None
    try:
        due = parse_duration(policy.max_window or policy.window) + parse_duration(policy.grace)
        due += parse_duration(lag) if lag and policy.quality else timedelta(0)
        over = found.until + _PATIENCE * due + timedelta(hours=1)
    except OverflowError:  # windows or lags of millennia
        return None
    if now >= over:
        return None
    return Retired(number=found.number, digest=found.digest, since=found.since, until=found.until)
