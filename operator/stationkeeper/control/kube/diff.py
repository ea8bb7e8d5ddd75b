"""Whether an object already is what it should be, so that a reconcile that changes nothing makes no request."""

from collections import OrderedDict
from typing import Any

from stationkeeper.api.base import canonical_json, sha256, short
from stationkeeper.api.meta import GROUP

Object = dict[str, Any]
ANNOTATION_APPLIED = f"{GROUP}/applied"  # digest of the desired object that was applied last


def sized(desired: Object) -> tuple[Object, int | None]:
    """A desired object without its number of pods, and that number: it has a field manager of its own (None: it says none)."""
    if desired["kind"] != "Deployment":
        return desired, None
    spec = {name: value for name, value in desired["spec"].items() if name != "replicas"}
    return {**desired, "spec": spec}, desired["spec"].get("replicas")


def stamped(desired: Object) -> Object:
    """The desired object with the digest of itself as an annotation: a removed field then shows too."""
    meta = desired["metadata"]
    annotations = {**(meta.get("annotations") or {}), ANNOTATION_APPLIED: short(sha256(canonical_json(desired)))}
    return {**desired, "metadata": {**meta, "annotations": annotations}}


def in_sync(desired: Object, live: Object) -> bool:
    """Whether `live` was made from this very (stamped) object and nobody has changed a field of it since."""
    wanted = desired["metadata"]["annotations"][ANNOTATION_APPLIED]
    has = (live["metadata"].get("annotations") or {}).get(ANNOTATION_APPLIED)
    if wanted != has:
        return False
    if not _owners(desired) <= _owners(live):  # nobody would collect it
        return False
    wanted_labels, labels = desired["metadata"].get("labels") or {}, live["metadata"].get("labels") or {}
    return contains(wanted_labels, labels) and contains(desired.get("spec"), live.get("spec"))


def contains(desired: Any, live: Any) -> bool:
    """Whether every field that is desired stands in `live` with that value; what the server added does not matter."""
    if not desired:  # the API server leaves out what is empty
        return not live
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(contains(value, live.get(key)) for key, value in desired.items())
    if isinstance(desired, list):
        return isinstance(live, list) and len(desired) == len(live) and all(map(contains, desired, live))
    return bool(desired == live)


class Accepted:
    """What the API server made of objects whose values it keeps in another form than they were applied in.

    A CPU request of `1000m` is read back as `1`, and a webhook may insist on its own word. Applying again would change
    nothing, so an object stays in sync while it is just what the server answered; any edit of it shows.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._answers: OrderedDict[tuple[str, str, str], tuple[str, str]] = OrderedDict()

    def in_sync(self, desired: Object, live: Object) -> bool:
        """Whether nothing is to be done about this (stamped) object."""
        return in_sync(desired, live) or self._answers.get(_name(desired)) == _fingerprints(desired, live)

    def remember(self, desired: Object, answer: Object) -> None:
        """Take in the API server's answer to an apply."""
        self._answers.pop(_name(desired), None)
        if not in_sync(desired, answer):
            self._answers[_name(desired)] = _fingerprints(desired, answer)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)


def _owners(obj: Object) -> set[tuple[str | None, bool]]:
    return {(ref.get("uid"), bool(ref.get("controller"))) for ref in obj["metadata"].get("ownerReferences") or []}


def _name(obj: Object) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]


def _fingerprints(desired: Object, live: Object) -> tuple[str, str]:
    """Of what is desired, and of what of it others could have changed; their own labels and annotations are theirs."""
    wanted, meta = desired["metadata"], live["metadata"]
    seen = {
        "uid": meta.get("uid"),
        "owners": sorted(map(str, _owners(live))),
        "spec": live.get("spec"),
        **{
            part: {name: (meta.get(part) or {}).get(name) for name in wanted.get(part) or {}}
            for part in ("labels", "annotations")
        },
    }
    return sha256(canonical_json(desired)), sha256(canonical_json(seen))
