"""One reconcile: observe from the store, plan (pure), act; again until there is nothing to do."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter, Histogram

from stationkeeper.api.status import Notice
from stationkeeper.control.controllers import workloads
from stationkeeper.control.controllers.act import Actor
from stationkeeper.control.controllers.events import Recorder
from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.controllers.measure import Measurements
from stationkeeper.control.controllers.notify import Notifier
from stationkeeper.control.controllers.prometheus import Inquirer
from stationkeeper.control.controllers.receivers import Message
from stationkeeper.control.controllers.scrape import Scraper
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.kube.store import Store
from stationkeeper.control.planning import Observed, Plan, Settings, plan_model, plan_policy, selects

logger = logging.getLogger(__name__)
Object = dict[str, Any]
RECONCILES = Counter("stationkeeper_reconciles", "Reconciles by kind and result.", ["kind", "result"])
SECONDS = Histogram("stationkeeper_reconcile_seconds", "How long reconciles took.", ["kind"])
_ROUNDS = 10  # plans of one reconcile; what takes more is fought over by somebody
_UNSETTLED_SECONDS = 10.0


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
        inquirer: Inquirer | None = None,
        scraper: Scraper | None = None,
    ) -> None:
        self._store, self._settings, self._notifier, self._clock = store, settings, notifier, clock
        self._gateway = gateway
        self._actor = Actor(store, gateway, recorder)
        self._scraper = scraper or Scraper()
        self._inquirer = inquirer or Inquirer(None)

    async def reconcile(self, key: Key) -> float | None:
        """Look at one Model or DriftPolicy. Returns the seconds after which to look again, if any.

        Our own writes are answered with what they made, so what they make possible is done here and now; that they come
        back through the watch later is no news.

        Raises:
            ApiError: when a request failed.
            StaleError: when the store was behind; look again at once.
        """
        with SECONDS.labels(key.kind).time():
            return await self._reconcile(key, self._clock())

    async def _reconcile(self, key: Key, now: datetime) -> float | None:
        measurements = Measurements(self._scraper, self._inquirer)
        for number in range(_ROUNDS):
            obj = self._store.get(key.kind, key.namespace, key.name)
            if obj is None:
                self._actor.forget(key)
                return None
            plan = await self._plan(key, obj, now, measurements)
            if not await self._actor.act(key, obj, plan, last=number == _ROUNDS - 1):
                self._tell(key, obj, plan.status)
                RECONCILES.labels(key.kind, "changed" if number else "unchanged").inc()
                return plan.requeue_after
        logger.warning("still not at rest after %d plans", _ROUNDS, extra={"key": str(key)})
        RECONCILES.labels(key.kind, "unsettled").inc()
        return _UNSETTLED_SECONDS

    async def _plan(self, key: Key, obj: Object, now: datetime, measurements: Measurements) -> Plan:
        if key.kind == "DriftPolicy":
            return plan_policy(obj, list(self._store.all("Model", key.namespace)), now, self._settings)
        observed = self._observe(key, obj, await self._actor.foreign(key, obj))
        observed = replace(observed, workload=await workloads.live(self._gateway, self._store, obj, self._settings))
        return plan_model(await measurements.added(observed, now), now, self._settings)

    def _observe(self, key: Key, model: Object, foreign: tuple[Object, ...]) -> Observed:
        def children(kind: str) -> tuple[Object, ...]:
            return self._store.children(kind, key.namespace, key.name)

        def with_foreign(kind: str) -> tuple[Object, ...]:
            return (*children(kind), *(obj for obj in foreign if obj["kind"] == kind))

        return Observed(
            model=model,
            policies=tuple(p for p in self._store.all("DriftPolicy", key.namespace) if selects(p, model)),
            revisions=children("ModelRevision"),
            deployments=children("Deployment"),
            services=with_foreign("Service"),
            cronjobs=children("CronJob"),
            jobs=children("Job"),
            pods=children("Pod"),
            guards=(*children("HorizontalPodAutoscaler"), *children("PodDisruptionBudget")),
            routes=with_foreign("HTTPRoute"),
            routable=self._store.knows("HTTPRoute"),
            delivered=self._notifier.delivered(_notices(model)),
        )

    def _tell(self, key: Key, obj: Object, status: Object | None) -> None:
        """Hand over what people are still to be told; it stands in the status until they have heard it."""
        meta = obj["metadata"]
        notices = [Notice.model_validate(notice) for notice in (status or {}).get("notices") or []]
        if notices:
            messages = [Message(meta["namespace"], meta["name"], meta["uid"], notice) for notice in notices]
            self._notifier.submit(key, (obj.get("spec") or {}).get("notify") or [], messages)


def _notices(model: Object) -> list[str]:
    return [notice["id"] for notice in (model.get("status") or {}).get("notices") or []]
