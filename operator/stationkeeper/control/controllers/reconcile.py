"""One reconcile: observe from the store, plan (pure), act. The only writer of children and status."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter, Histogram

from stationkeeper.api.base import canonical_json
from stationkeeper.api.model import Notice
from stationkeeper.control.controllers.events import Recorder
from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.controllers.notify import Notifier
from stationkeeper.control.controllers.receivers import Message
from stationkeeper.control.controllers.scrape import Scraper
from stationkeeper.control.kube import diff
from stationkeeper.control.kube.errors import ConflictError, NotFoundError, TerminalError
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.kube.kinds import kind_of
from stationkeeper.control.kube.store import Store
from stationkeeper.control.planning import Event, Observed, Plan, Ref, Settings, plan_model, plan_policy, selects

logger = logging.getLogger(__name__)
Object = dict[str, Any]
RECONCILES = Counter("stationkeeper_reconciles", "Reconciles by kind and result.", ["kind", "result"])
SECONDS = Histogram("stationkeeper_reconcile_seconds", "How long reconciles took.", ["kind"])


class StaleError(Exception):
    """The store was behind the cluster; what was planned from it is not done."""


class Reconciler:
    """Brings what is to what is wanted, one key at a time."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        recorder: Recorder,
        settings: Settings,
        notifier: Notifier,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._gateway, self._recorder = store, gateway, recorder
        self._settings, self._notifier, self._clock = settings, notifier, clock
        self._accepted = diff.Accepted()
        self._scraper = Scraper()
        self._foreign: dict[tuple[str, str], Object] = {}  # Services that have a Model's name and are not ours

    async def reconcile(self, key: Key) -> float | None:
        """Look at one Model or DriftPolicy. Returns the seconds after which to look again, if any.

        Raises:
            ApiError: when a request failed.
            StaleError: when the store was behind; look again at once.
        """
        started = time.monotonic()
        obj = self._store.get(key.kind, key.namespace, key.name)
        if obj is None:
            return None
        plan = await self._plan_model(key, obj) if key.kind == "Model" else self._plan_policy(key, obj)
        changed = await self._act(key, obj, plan)
        self._tell(key, obj, plan.status)
        RECONCILES.labels(key.kind, "changed" if changed else "unchanged").inc()
        SECONDS.labels(key.kind).observe(time.monotonic() - started)
        return plan.requeue_after

    async def _plan_model(self, key: Key, model: Object) -> Plan:
        foreign = self._foreign.get((key.namespace, key.name))
        if foreign:  # look again whether it is still there
            found = await self._gateway.get(kind_of("Service"), key.namespace, key.name)
            foreign = found if found and not _controlled(found, model) else None
            self._remember_foreign(key, foreign)
        observed = replace(self._observe(key, model, foreign), delivered=self._notifier.delivered(_notices(model)))
        return plan_model(await self._measured(observed), self._clock(), self._settings)

    def _tell(self, key: Key, obj: Object, status: Object | None) -> None:
        """Hand over what people are still to be told; it stands in the status until they have heard it."""
        meta = obj["metadata"]
        notices = [Notice.model_validate(notice) for notice in (status or {}).get("notices") or []]
        if notices:
            messages = [Message(meta["namespace"], meta["name"], meta["uid"], notice) for notice in notices]
            self._notifier.submit(key, (obj.get("spec") or {}).get("notify") or [], messages)

    async def _measured(self, observed: Observed) -> Observed:
        """With what the pods counted since the canary's step began, while there is one."""
        since = ((observed.model.get("status") or {}).get("candidate") or {}).get("stepSince")
        if not since:
            return observed
        measured = await self._scraper.measure(observed.pods, datetime.fromisoformat(since))
        return replace(observed, measured=measured)

    def _plan_policy(self, key: Key, policy: Object) -> Plan:
        models = list(self._store.all("Model", key.namespace))
        return plan_policy(policy, models, self._clock(), self._settings)

    def _observe(self, key: Key, model: Object, foreign: Object | None) -> Observed:
        def children(kind: str) -> tuple[Object, ...]:
            return self._store.children(kind, key.namespace, key.name)

        services = children("Service")
        return Observed(
            model=model,
            policies=tuple(p for p in self._store.all("DriftPolicy", key.namespace) if selects(p, model)),
            revisions=children("ModelRevision"),
            deployments=children("Deployment"),
            services=(*services, foreign) if foreign else services,
            cronjobs=children("CronJob"),
            jobs=children("Job"),
            pods=children("Pod"),
        )

    async def _act(self, key: Key, obj: Object, plan: Plan) -> bool:
        """Do what the plan says, in its order. Whatever fails here is planned again from what then is."""
        wanted = [diff.stamped(child) for child in plan.apply]
        changed = [child for child in wanted if not self._in_sync(child)]
        if not plan.status_first:
            await self._check_fresh(obj, changed, plan.delete)
        wrote = await self._write_status(key, obj, plan.status) if plan.status_first else False
        for child in changed:
            await self._apply(key, obj, child)
        for ref in plan.delete:
            await self._delete(key, ref)
        if not plan.status_first:
            wrote = await self._write_status(key, obj, plan.status)
        if wrote:
            for event in plan.events:
                await self._recorder.record(obj, event)
        return bool(changed or plan.delete or wrote)

    def _in_sync(self, desired: Object) -> bool:
        meta = desired["metadata"]
        live = self._store.get(desired["kind"], meta["namespace"], meta["name"])
        return live is not None and self._accepted.in_sync(desired, live)

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

    async def _apply(self, key: Key, owner: Object, child: Object) -> None:
        meta = child["metadata"]
        known = self._store.get(child["kind"], meta["namespace"], meta["name"])
        if child["kind"] == "Service" and (known is None or not _controlled(known, owner)):
            # Its name is the Model's own, so somebody else's may be there: it is never adopted.
            found = await self._gateway.get(kind_of(child), meta["namespace"], meta["name"])
            if found and not _controlled(found, owner):
                self._remember_foreign(key, {"apiVersion": "v1", "kind": "Service", **found})
                raise StaleError("a foreign Service has its name")
        try:
            answer = await self._gateway.apply(child)
        except TerminalError as error:  # people must hear of it, for trying again will not help
            await self._recorder.record(owner, Event("Warning", "ApplyRefused", f"{child['kind']} {meta['name']}: {error}"))
            raise
        self._store.put(answer)
        self._accepted.remember(child, answer)
        logger.info("%s %s %s", "updated" if known else "created", child["kind"], meta["name"], extra={"key": _text(key)})

    async def _delete(self, key: Key, ref: Ref) -> None:
        await self._gateway.delete(kind_of(ref.kind), ref.namespace, ref.name, ref.uid)
        known = self._store.get(ref.kind, ref.namespace, ref.name)
        if known and known["metadata"].get("uid") == ref.uid:
            self._store.remove(known)
        logger.info("deleted %s %s", ref.kind, ref.name, extra={"key": _text(key)})

    async def _write_status(self, key: Key, obj: Object, status: Object | None) -> bool:
        if status is None or canonical_json(status) == canonical_json(obj.get("status") or {}):
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
        logger.info("status: %s", _brief(status), extra={"key": _text(key)})
        return True

    def _remember_foreign(self, key: Key, service: Object | None) -> None:
        if service:
            self._foreign[(key.namespace, key.name)] = service
        else:
            self._foreign.pop((key.namespace, key.name), None)


def _controlled(obj: Object, owner: Object) -> bool:
    uid = owner["metadata"].get("uid")
    return any(ref.get("controller") and ref.get("uid") == uid for ref in obj["metadata"].get("ownerReferences") or [])


def _text(key: Key) -> str:
    return f"{key.kind.lower()}/{key.namespace}/{key.name}"


def _brief(status: Object) -> str:
    """The conditions that tell something, in one line."""
    told = [
        c
        for c in status.get("conditions") or []
        if c["type"] in ("Ready", "Drifted", "Retraining", "RolloutProgressing", "Stalled")
    ]
    return ", ".join(f"{c['type']}={c['status']} ({c['reason']})" for c in told)


def _notices(model: Object) -> list[str]:
    return [notice["id"] for notice in (model.get("status") or {}).get("notices") or []]
