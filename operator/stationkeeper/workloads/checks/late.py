"""Rows that came after their window was judged: they are in no report, and the next report counts them."""

from datetime import timedelta
from typing import Final

from stationkeeper.api.base import format_time
from stationkeeper.workloads.checks.records import Records
from stationkeeper.workloads.checks.tiling import Traffic
from stationkeeper.workloads.drift.windows import Window

_BACK: Final = timedelta(days=1)  # so far before a window: its own day is listed anyhow, and one more costs little


def late(records: Records, traffic: Traffic, window: Window) -> list[str]:
    """What is to be said in the report of a window, the first that a run writes, of rows that came too late for earlier ones.

    Their files are newer than the newest report, so that each is told once. Both times are of the store's clock.
    """
    judged = records.judged()
    if not judged:
        return []
    since = max(judged.values())
    near = [w for w in judged if w.end > window.start - _BACK]
    found = {w: rows for w in sorted(near) if (rows := traffic.came_after(w, since))}
    if not found:
        return []
    which = (
        f"that of {format_time(min(found).start)}"
        if len(found) == 1
        else f"{len(found)} windows from {format_time(min(found).start)} on"
    )
    return [
        f"{sum(found.values())} rows came after their window was judged ({which}) and are in no report; a longer grace waits for them"
    ]
