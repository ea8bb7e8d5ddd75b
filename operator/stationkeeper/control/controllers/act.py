"""Does what a plan says, in its order: the only writer of children and status."""

import logging
from typing import Any

from stationkeeper.control.controllers.events import Recorder
from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.kube import diff
from stationkeeper.control.kube.errors import ConflictError, NotFoundError, TerminalError
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.kube.kinds import OPTIONAL, kind_of
from stationkeeper.control.kube.store import Store
from stationkeeper.control.planning import Event, Plan, Ref
from stationkeeper.control.planning.evidence import controlled_by

logger = logging.getLogger(__name__)
Object = dict[str, Any]


class StaleError(Exception):
    """The store was behind the cluster; what was planned from it is not done."""


class Actor:
    """Writes to the cluster, and puts what came of it into the store at once."""

    def __init__(self, store: Store, gateway: Gateway, recorder: Recorder) -> None:
        self._store, self._gateway, self._recorder = store, gateway, recorder
        self._accepted = diff.Accepted()
        self._foreign: dict[Key, dict[str, Object]] = {}  # by kind: what has a Model's name and is not ours

    async def act(self, key: Key, obj: Object, plan: Plan, *, last: bool) -> bool:
        """Do what the plan says. Whatever fails here is planned again from what then is.

        Where only children were applied the status is left for the plan that comes next, which knows them: one write
        tells it all, and planning bears that order anyway, for a crash between the two leaves the same. `last`: there is
        no next plan.

        Returns:
            Whether anything has changed, so that a next plan is due.

        Raises:
            ApiError: when a request failed.
            StaleError: when the store was behind.
        """
        recorded = [await self._apply(key, obj, record) for record in plan.records if not self._in_sync(record)]
        changed = [child for child in plan.apply if not self._in_sync(child)]
        wrote = plan.status_first and await self._write_status(key, obj, plan)
        if not wrote:  # else its precondition has answered this
            await self._check_fresh(obj, changed, plan.delete)
        moved = recorded + [await self._apply(key, obj, child) for child in changed]
        for ref in plan.delete:  # evidence may go with them: the status that rests on it is written now
            await self._delete(key, ref)
        if wrote or (any(moved) and not plan.delete and not last):
            return True
        return await self._write_status(key, obj, plan) or any(moved) or bool(plan.delete)

    async def foreign(self, key: Key, model: Object) -> tuple[Object, ...]:
        """The Service and the HTTPRoute that have the Model's name and are somebody else's, where there still are such."""
        for kind in list(self._foreign.get(key, ())):
            self._remember_foreign(key, model, kind, await self._gateway.get(kind_of(kind), key.namespace, key.name))
        return tuple(self._foreign.get(key, {}).values())

    def forget(self, key: Key) -> None:
        """The Model is gone."""
        self._foreign.pop(key, None)

    def _in_sync(self, desired: Object) -> bool:
        live = self._known(desired)
        return live is not None and self._made(desired, live) and self._is_sized(desired, live)

    def _made(self, desired: Object, live: Object) -> bool:
        """Whether the object is what it should be, but for its number of pods."""
        return self._accepted.in_sync(diff.stamped(diff.sized(desired)[0]), live)

    def _is_sized(self, desired: Object, live: Object) -> bool:
        replicas = diff.sized(desired)[1]
        return replicas is None or live["spec"].get("replicas") == replicas

    def _known(self, obj: Object) -> Object | None:
        return self._store.get(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])

    async def _check_fresh(self, obj: Object, changed: list[Object], deletes: tuple[Ref, ...]) -> None:
        """Before what cannot be taken back (a Job, a deletion): is the object still the one that was planned for?"""
        if not deletes and not any(child["kind"] == "Job" for child in changed):
            return
        live = await self._refresh(obj)
        if live is None:
            raise StaleError("it was deleted")
        if live["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise StaleError("it has changed since it was read")

    async def _refresh(self, obj: Object) -> Object | None:
        """Put this object into the store as it is now: its watch may be late, or down."""
        meta = obj["metadata"]
        live = await self._gateway.get(kind_of(obj), meta["namespace"], meta["name"])
        if live is None or live["metadata"]["uid"] != meta["uid"]:
            self._store.remove(obj)
        if live is not None:
            self._store.put({"apiVersion": obj["apiVersion"], "kind": obj["kind"], **live})
        return live

    async def _apply(self, key: Key, owner: Object, child: Object) -> bool:
        """Returns whether the object is another now."""
        known = self._known(child)
        if child["metadata"]["name"] == key.name and (known is None or not controlled_by(known, owner["metadata"]["uid"])):
            # A Service's or a route's name is the Model's own, so somebody else's may be there: it is never adopted.
            kind = child["kind"]
            self._remember_foreign(key, owner, kind, await self._gateway.get(kind_of(kind), key.namespace, key.name))
            if kind in self._foreign.get(key, ()):
                raise StaleError(f"a foreign {kind} has its name")
        name = f"{child['kind']} {child['metadata']['name']}"
        answer = known
        try:
            if answer is None or not self._made(child, answer):
                wanted = diff.stamped(diff.sized(child)[0])
                answer = await self._gateway.apply(wanted)
                self._accepted.remember(wanted, answer)
            if not self._is_sized(child, answer):
                answer = await self._gateway.scale(answer, child["spec"]["replicas"])
        except NotFoundError as error:
            if kind_of(child) not in OPTIONAL:
                raise
            self._store.lose(child["kind"])  # its CRD was taken away: what needs it must not hold up the rest
            raise StaleError(f"the cluster has no {child['kind']} any more") from error
        except TerminalError as error:  # people must hear of it, for trying again will not help
            self._recorder.record(owner, Event("Warning", "ApplyRefused", f"{name}: {error}"))
            raise
        self._store.put(answer)
        logger.info("%s %s", "updated" if known else "created", name, extra={"key": str(key)})
        return known is None or bool(_version(known) != _version(answer))

    async def _delete(self, key: Key, ref: Ref) -> None:
        known = self._store.get(ref.kind, ref.namespace, ref.name)
        try:
            await self._gateway.delete(kind_of(ref.kind), ref.namespace, ref.name, ref.uid)
        except ConflictError as error:  # another one has the name now
            if known:
                await self._refresh(known)
            raise StaleError(f"{ref.kind} {ref.name} is not the one that was seen") from error
        if known and known["metadata"].get("uid") == ref.uid:
            self._store.remove(known)
        logger.info("deleted %s %s", ref.kind, ref.name, extra={"key": str(key)})

    async def _write_status(self, key: Key, obj: Object, plan: Plan) -> bool:
        """Write the status if it is another, and tell its events. Returns whether the object is another now."""
        status = plan.status
        if status is None or status == (obj.get("status") or {}):
            return False
        try:
            live = await self._gateway.apply_status(obj, status)
        except ConflictError as error:
            await self._refresh(obj)
            raise StaleError("its status was planned for an older version") from error
        except NotFoundError as error:
            self._store.remove(obj)
            raise StaleError("it was deleted") from error
        self._store.put(live)
        logger.info("status: %s", _brief(status), extra={"key": str(key)})
        for event in plan.events:
            self._recorder.record(obj, event)
        return bool(_version(obj) != _version(live))

    def _remember_foreign(self, key: Key, model: Object, kind: str, found: Object | None) -> None:
        known = self._foreign.pop(key, {})
        known.pop(kind, None)
        if found and not controlled_by(found, model["metadata"]["uid"]):
            known[kind] = {"apiVersion": kind_of(kind).api_version, "kind": kind, **found}
        if known:
            self._foreign[key] = known


def _version(obj: Object) -> Any:
    return obj["metadata"].get("resourceVersion")


def _brief(status: Object) -> str:
    """The conditions that tell something, in one line."""
    told = [
        c
        for c in status.get("conditions") or []
        if c["type"] in ("Ready", "Drifted", "Retraining", "RolloutProgressing", "Stalled")
    ]
    return ", ".join(f"{c['type']}={c['status']} ({c['reason']})" for c in told)
