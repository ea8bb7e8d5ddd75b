"""Training across machines, from the attempt's Job beside it: when the workload is due, and whether it has ended. Pure.

The Job's first container prepares the rows and says so; then the workload, which is the Job's own child, trains on them; the Job's
second container waits for the model that it leaves, and the third judges it. A workload that failed ends the attempt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from stationkeeper.control.planning import evidence
from stationkeeper.control.planning.types import Object, Observed
from stationkeeper.control.resources.templates import WorkloadTemplate

LOOK_AGAIN: Final = 5.0  # seconds: workloads are not watched, for their kinds are not known before an administrator names them
_DELIVERY: Final = timedelta(minutes=2)  # a model may come this long after its workload has ended


@dataclass(frozen=True)
class Course:
    """How far the workload of an attempt is."""

    due: bool = False  # it is to be created; what was created is never changed
    failure: tuple[str, str] | None = None  # reason and message


def course(observed: Observed, job: Object, template: WorkloadTemplate, now: datetime) -> Course:
    """Look at the workload of the Job of an attempt that runs."""
    if not evidence.handed_over(observed, job):
        return Course()
    found = observed.workload
    if found is None:
        return Course(due=True)
    if not evidence.controlled_by(found, job["metadata"]["uid"]):
        return Course()  # that of the Job before, which is being collected, or somebody else's: it is never adopted
    what = f"{template.kind} {found['metadata']['name']}"
    match _ended(found.get("status") or {}, template):
        case None:
            return Course()
        case False, said, _:
            return Course(failure=("WorkloadFailed", f"{what} failed: {said}; kubectl describe it, and look at its pods' logs"))
        case _, _, at if at is not None and now > at + _DELIVERY:
            return Course(failure=("WorkloadLeftNoModel", f"{what} ended and left no model; see docs/reference/workloads.md"))
    return Course()


def _ended(status: Mapping[str, Any], template: WorkloadTemplate) -> tuple[bool, str, datetime | None] | None:
    """Whether it ended well, what it says of it, and when; None while it runs."""
    for ending in template.endings:
        word = _at(ending.path, {"status": status})
        if word in (*ending.failed, *ending.complete):
            return word in ending.complete, _line(status.get("message") or word), _time(status.get("endTime"))
    for condition in status.get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in ("Failed", "Complete", "Succeeded"):
            said = f"{condition.get('reason') or condition['type']}: {condition.get('message') or ''}".rstrip(": ")
            return condition["type"] != "Failed", _line(said), _time(condition.get("lastTransitionTime"))
    return None


def _at(path: str, value: Any) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _line(text: object) -> str:
    return " ".join(str(text).split())[:500]


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
