"""Which keys are to be looked at when an object has changed. An event says *look*, never *what*."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from stationkeeper.api.meta import LABEL_MODEL
from stationkeeper.control.kube.store import Store
from stationkeeper.control.planning import selects

Object = dict[str, Any]


class Key(NamedTuple):
    """A Model or a DriftPolicy."""

    kind: str
    namespace: str
    name: str


def affected(obj: Object, before: Object | None, store: Store) -> Iterator[Key]:
    """The keys that a change of this object touches; `before` is what was known of it."""
    kind, meta = obj["kind"], obj["metadata"]
    namespace = meta.get("namespace", "")
    if kind == "Model":
        yield Key("Model", namespace, meta["name"])
        for policy in store.all("DriftPolicy", namespace):
            if selects(policy, obj) or (before and selects(policy, before)):
                yield Key("DriftPolicy", namespace, policy["metadata"]["name"])
    elif kind == "DriftPolicy":
        yield Key("DriftPolicy", namespace, meta["name"])
        for model in store.all("Model", namespace):
            if selects(obj, model) or (before and selects(before, model)):
                yield Key("Model", namespace, model["metadata"]["name"])
    elif model_name := (meta.get("labels") or {}).get(LABEL_MODEL):
        yield Key("Model", namespace, model_name)
