"""Whether an object already is what it should be, so that a reconcile that changes nothing makes no request."""

from typing import Any

from stationkeeper.api.base import canonical_json, sha256, short
from stationkeeper.api.meta import GROUP

ANNOTATION_APPLIED = f"{GROUP}/applied"  # digest of the desired object that was applied last


def stamped(desired: dict[str, Any]) -> dict[str, Any]:
    """The desired object with the digest of itself as an annotation: a removed field then shows too."""
    meta = desired["metadata"]
    annotations = {**(meta.get("annotations") or {}), ANNOTATION_APPLIED: short(sha256(canonical_json(desired)))}
    return {**desired, "metadata": {**meta, "annotations": annotations}}


def in_sync(desired: dict[str, Any], live: dict[str, Any]) -> bool:
    """Whether `live` was made from this very (stamped) object and nobody has changed a field of it since."""
    wanted = desired["metadata"]["annotations"][ANNOTATION_APPLIED]
    has = (live["metadata"].get("annotations") or {}).get(ANNOTATION_APPLIED)
    if wanted != has:
        return False
    wanted_labels, labels = desired["metadata"].get("labels") or {}, live["metadata"].get("labels") or {}
    return contains(wanted_labels, labels) and contains(desired.get("spec"), live.get("spec"))


def contains(desired: Any, live: Any) -> bool:
    """Whether every field that is desired stands in `live` with that value; what the server added does not matter."""
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(contains(value, live.get(key)) for key, value in desired.items())
    if isinstance(desired, list):
        return isinstance(live, list) and len(desired) == len(live) and all(map(contains, desired, live))
    if desired in (None, "", False, 0) or desired == {}:
        return live in (None, "", False, 0) or live == desired
    return bool(desired == live)
