"""An API server in memory that can be told to fail, to lose answers, or to be written to by others meanwhile."""

import copy
import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from stationkeeper.control.kube.transport import Answer

Object = dict[str, Any]
Key = tuple[str, str, str]  # plural, namespace, name
Hook = Callable[[str], None]  # a request as "PATCH jobs/x"; raises to fail
_PATH = re.compile(
    r"/apis?/(?P<version>.*?)(/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(/(?P<name>[^/]+)(/(?P<sub>status))?)?"
)
_OTHERS = ("labels", "annotations")  # maps that several people write to


class MemoryApi:
    """Implements `Transport` with what the API server is relied on for: versions, preconditions, generations, owners.

    `before` and `after` are called around each request: an error raised in `before` means that nothing happened, one
    raised in `after` that it happened and the answer was lost. `log` lists every request, `events` what a watch shows.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.lacks: set[str] = set()  # plurals of kinds that it does not know
        self.log: list[str] = []
        self.events: list[tuple[str, Object]] = []
        self.before: Hook = lambda _request: None
        self.after: Hook = lambda _request: None
        self.admit: Callable[[Object], None] = lambda _obj: None  # what it makes of what it is given
        self._versions, self._uids = itertools.count(1), itertools.count(1)

    async def send(
        self, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str, seconds: float
    ) -> Answer:
        found = _PATH.fullmatch(path)
        assert found, path
        key = (found["plural"], found["namespace"] or "", found["name"] or "")
        request = f"{method} {found['plural']}" + "".join(f"/{found[part]}" for part in ("name", "sub") if found[part])
        self.log.append(request)
        self.before(request)
        status, answer = self._do(method, key, found["sub"], query, copy.deepcopy(body))
        self.after(request)
        return Answer(status, {}, json.dumps(answer).encode())

    async def close(self) -> None:
        return None

    # -- what people, controllers and the kubelet do -----------------------------------------------------------------

    def create(self, obj: Object, plural: str) -> Object:
        """Somebody creates an object, status and all."""
        made = copy.deepcopy(obj)
        made["metadata"] |= {"uid": f"uid-{next(self._uids)}", "generation": 1}
        return self._keep((plural, made["metadata"]["namespace"], made["metadata"]["name"]), made, "ADDED")

    def change(self, key: Key, change: Callable[[Object], None]) -> Object:
        """Somebody writes to an object."""
        made = copy.deepcopy(self.objects[key])
        change(made)
        return self._keep(key, made, "MODIFIED")

    def remove(self, key: Key) -> None:
        """Somebody deletes an object, and the garbage collector what it controlled."""
        gone = self.objects.pop(key)
        uid = gone["metadata"]["uid"]
        gone["metadata"]["resourceVersion"] = str(next(self._versions))
        self.events.append(("DELETED", copy.deepcopy(gone)))
        for other, obj in list(self.objects.items()):
            if any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences") or []):
                self.remove(other)

    def all(self, plural: str) -> list[Object]:
        """All objects of a kind."""
        return [obj for (kind, _, _), obj in sorted(self.objects.items()) if kind == plural]

    def writes(self) -> list[str]:
        """The requests that were no reads."""
        return [request for request in self.log if not request.startswith("GET")]

    # -- requests ----------------------------------------------------------------------------------------------------

    def _do(self, method: str, key: Key, sub: str | None, query: Mapping[str, str], body: Any) -> tuple[int, Object]:
        live = self.objects.get(key)
        if key[0] in self.lacks:
            return 404, _status("the server could not find the requested resource")
        if method == "GET" and not key[2]:
            return 200, self._list(key, query)
        if method == "POST":
            return self._create(key, body)
        if live is None and (method != "PATCH" or sub):
            return 404, _status(f"{key[0]} {key[2]} not found")
        if method == "GET":
            return 200, live or {}
        wanted = body.get("preconditions") or body["metadata"]
        if live and any(name in wanted and wanted[name] != live["metadata"][name] for name in ("uid", "resourceVersion")):
            return 409, _status("the object has been modified")
        if method == "DELETE":
            self.remove(key)
            return 200, _status("")
        if sub:
            return 200, self._keep(key, {**self.objects[key], "status": body["status"]}, "MODIFIED")
        return 200, self._apply(key, body)

    def _list(self, key: Key, query: Mapping[str, str]) -> Object:
        plural, namespace, _ = key
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        found = [
            {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}
            for obj in self.all(plural)
            if namespace in ("", obj["metadata"]["namespace"]) and wanted.items() <= (obj["metadata"].get("labels") or {}).items()
        ]
        start = int(query.get("continue", 0))
        end = start + int(query.get("limit", 500))
        more = {"continue": str(end)} if end < len(found) else {}
        version = max((int(obj["metadata"]["resourceVersion"]) for obj in self.objects.values()), default=0)
        return {"metadata": {"resourceVersion": str(version), **more}, "items": found[start:end]}

    def _create(self, key: Key, body: Object) -> tuple[int, Object]:
        if (key[0], key[1], body["metadata"]["name"]) in self.objects:
            return 409, _status("already exists")
        return 201, self.create(body, key[0])

    def _apply(self, key: Key, body: Object) -> Object:
        live = self.objects.get(key)
        if live is None:
            body = {**body, "spec": {"replicas": 1, **body["spec"]}} if key[0] == "deployments" else body
            return self.create(body, key[0])
        made = copy.deepcopy({**live, **{part: body[part] for part in ("spec", "status") if part in body}})
        if key[0] == "deployments":  # the number of pods has a manager of its own
            made["spec"] = {**live["spec"], **body["spec"]}
        theirs = {part: {**(live["metadata"].get(part) or {}), **(body["metadata"].get(part) or {})} for part in _OTHERS}
        made["metadata"] = {**live["metadata"], **body["metadata"], **{part: value for part, value in theirs.items() if value}}
        return self._keep(key, made, "MODIFIED")

    def _keep(self, key: Key, obj: Object, event: str) -> Object:
        live, obj = self.objects.get(key), copy.deepcopy(obj)
        self.admit(obj)
        if live == obj:
            return copy.deepcopy(live)  # what changes nothing makes no version
        if live and live.get("spec") != obj.get("spec"):
            obj["metadata"] = {**obj["metadata"], "generation": live["metadata"]["generation"] + 1}
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(next(self._versions))}
        self.objects[key] = obj
        self.events.append((event, copy.deepcopy(obj)))
        return copy.deepcopy(obj)


def _status(message: str) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "message": message}
