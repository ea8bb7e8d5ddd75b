"""What the operator knows of the cluster: filled by lists and watches, read by every reconcile.

Objects are projected when they come in: what no decision needs is not kept. An older version never replaces a newer
one, and what was deleted does not come back through a list that was made before. It does come back in a newer version:
an object that loses the label it is watched by looks deleted, until the label is put right.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from stationkeeper.api.meta import LABEL_MODEL

Object = dict[str, Any]
Key = tuple[str, str]  # namespace, name
_TOMBSTONES = 10_000
_DROPPED_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)


def project(obj: Object) -> Object:
    """The parts of an object that decisions need."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key not in _DROPPED_ANNOTATIONS}
    if annotations:
        meta["annotations"] = annotations
    else:
        meta.pop("annotations", None)
    kept: Object = {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": meta}
    if obj.get("kind") == "Pod":
        status = obj.get("status") or {}
        names = ("phase", "podIP", "initContainerStatuses", "containerStatuses")
        unplaced = [c for c in status.get("conditions") or [] if c.get("type") == "PodScheduled" and c.get("status") == "False"]
        said = {"conditions": unplaced} if unplaced else {}
        return kept | {"status": {name: status[name] for name in names if name in status} | said}
    return kept | {name: obj[name] for name in ("spec", "status") if name in obj}


def _version(obj: Object) -> int:
    return _number(obj["metadata"].get("resourceVersion"))


def _number(resource_version: str | None) -> int:
    text = resource_version or "0"
    return int(text) if text.isdigit() else 0


class Store:
    """All watched objects, by kind, namespace and name; children by their model too."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, dict[str, Object]]] = defaultdict(dict)  # by kind, namespace, name
        self._children: dict[tuple[str, str, str], dict[str, Object]] = defaultdict(dict)
        self._kinds: set[str] = set()  # that were listed
        self._gone: OrderedDict[str, int] = OrderedDict()  # UIDs of what was deleted, and the last version known of each

    def put(self, obj: Object) -> None:
        """Remember an object, unless something newer is known of it."""
        obj = project(obj)
        kind, (namespace, name), uid = obj["kind"], _key(obj), obj["metadata"].get("uid")
        if _version(obj) <= self._gone.get(uid, -1):
            return
        known = self.get(kind, namespace, name)
        if known is not None and _version(known) > _version(obj):
            return
        self._gone.pop(uid, None)
        if known is not None:
            self._forget_child(known)
        self._objects[kind].setdefault(namespace, {})[name] = obj
        if model := _model(obj):
            self._children[(kind, namespace, model)][name] = obj

    def remove(self, obj: Object) -> None:
        """Forget an object that was deleted."""
        kind, (namespace, name), uid = obj["kind"], _key(obj), obj["metadata"].get("uid")
        known = self.get(kind, namespace, name)
        newest = _version(obj)
        if known is not None and known["metadata"].get("uid") == uid:
            newest = max(newest, _version(known))
            del self._objects[kind][namespace][name]
            if not self._objects[kind][namespace]:
                del self._objects[kind][namespace]
            self._forget_child(known)
        if uid:
            self._bury(uid, newest)

    def replace(self, kind: str, items: Iterable[Object], resource_version: str, namespaces: Iterable[str] = ()) -> None:
        """Make a whole kind what a list says (of these namespaces, or of all): what vanished unseen is forgotten.

        What came in after the list was made stays.
        """
        self._kinds.add(kind)
        listed = list(items)
        keys, made, scope = {_key(item) for item in listed}, _number(resource_version), set(namespaces)
        for obj in list(self.all(kind)):
            key = _key(obj)
            in_scope = not scope or key[0] in scope
            if in_scope and key not in keys and _version(obj) <= made:
                self.remove({**obj, "metadata": {**obj["metadata"], "resourceVersion": resource_version}})
        for item in listed:
            self.put(item)

    def knows(self, kind: str) -> bool:
        """Whether the cluster has this kind, and has let it be listed."""
        return kind in self._kinds

    def lose(self, kind: str) -> None:
        """The cluster has this kind no more, or does not show it: nothing of it is known."""
        self._kinds.discard(kind)
        for obj in list(self.all(kind)):
            self.remove(obj)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object, or None. Not to be changed by the caller."""
        return self._objects[kind].get(namespace, {}).get(name)

    def all(self, kind: str, namespace: str | None = None) -> Iterator[Object]:
        """All objects of a kind, of one namespace or of all."""
        where = self._objects[kind]
        for objects in list(where.values()) if namespace is None else [where.get(namespace, {})]:
            yield from list(objects.values())

    def children(self, kind: str, namespace: str, model: str) -> tuple[Object, ...]:
        """The objects of a kind that are labelled as this model's."""
        return tuple(self._children.get((kind, namespace, model), {}).values())

    def _bury(self, uid: str, version: int) -> None:
        self._gone[uid] = max(version, self._gone.pop(uid, 0))
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    def _forget_child(self, obj: Object) -> None:
        key, model = _key(obj), _model(obj)
        if model:
            group = (obj["kind"], key[0], model)
            self._children[group].pop(key[1], None)
            if not self._children[group]:
                del self._children[group]


def _key(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _model(obj: Object) -> str | None:
    if obj["kind"] in ("Model", "DriftPolicy"):
        return None
    return (obj["metadata"].get("labels") or {}).get(LABEL_MODEL)
