"""Which keys are to be looked at when an object has changed. An event says *look*, never *what*."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from stationkeeper.api.meta import LABEL_MODEL
from stationkeeper.control.kube.store import Store
from stationkeeper.control.planning import selects

Object = dict[str, Any]
_SETTLE_SECONDS = 1.0  # a policy only counts its Models: it is looked at once for all that change together


class Key(NamedTuple):
    """A Model or a DriftPolicy."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.namespace}/{self.name}"


def affected(obj: Object, before: Object | None, store: Store) -> Iterator[tuple[Key, float]]:
    """The keys that a change of this object touches, each with the seconds after which to look.

    `before` is what was known of it. When that is the very same version, the change was our own, and what it means for
    its own key was seen to when it was made.
    """
    kind, namespace, name = obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
    news = before is None or _of(before, "resourceVersion") != _of(obj, "resourceVersion")
    if kind == "Model":
        if news:
            yield Key("Model", namespace, name), 0.0
        for policy in store.all("DriftPolicy", namespace):
            if selects(policy, obj) or (before and selects(policy, before)):
                yield Key("DriftPolicy", namespace, policy["metadata"]["name"]), _SETTLE_SECONDS
    elif kind == "DriftPolicy":
        if news:
            yield Key("DriftPolicy", namespace, name), 0.0
        if before is None or _intent(before) != _intent(obj):
            yield from _watched(obj, before, store)
    elif news:
        for model in sorted({_model(obj), _model(before or obj)} - {""}):
            yield Key("Model", namespace, model), 0.0


def _watched(policy: Object, before: Object | None, store: Store) -> Iterator[tuple[Key, float]]:
    namespace = policy["metadata"].get("namespace", "")
    for model in store.all("Model", namespace):
        if selects(policy, model) or (before and selects(before, model)):
            yield Key("Model", namespace, model["metadata"]["name"]), 0.0


def _intent(policy: Object) -> tuple[object, ...]:
    """What its Models go by: not its status, which counts them."""
    return tuple(_of(policy, name) for name in ("uid", "generation", "deletionTimestamp"))


def _of(obj: Object, name: str) -> object:
    return obj["metadata"].get(name)


def _model(child: Object) -> str:
    return (child["metadata"].get("labels") or {}).get(LABEL_MODEL) or ""
