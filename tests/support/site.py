"""The operator's reconciler on an API server in memory; tests play the people, the controllers and the kubelet."""

import copy
from datetime import timedelta
from typing import Any

from stationkeeper.control.controllers.events import Recorder
from stationkeeper.control.controllers.informer import Informer
from stationkeeper.control.controllers.keys import Key
from stationkeeper.control.controllers.notify import Notifier
from stationkeeper.control.controllers.reconcile import Reconciler
from stationkeeper.control.controllers.scrape import Scraper
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.kube.kinds import OPTIONAL, WATCHED, kind_of
from stationkeeper.control.kube.store import Store
from tests.support import kubelet, world
from tests.support.memory_api import MemoryApi

Object = dict[str, Any]
FLIGHTS, WATCH = Key("Model", "ops", "flights"), Key("DriftPolicy", "ops", "watch")
MODEL = ("models", "ops", "flights")


class Site:
    """One Model and its policy, and an operator that may be started anew."""

    def __init__(self, api: MemoryApi | None = None, model: Object | None = None, scraper: Scraper | None = None) -> None:
        self.api = api or MemoryApi()
        self._scraper = scraper
        self.now = world.START
        self.api.create(model or world.model(), "models")
        self.api.create(world.policy(), "driftpolicies")
        self.start()

    def start(self) -> None:
        """Begin with an empty memory; `fill` must follow."""
        self.store, gateway = Store(), Gateway(self.api, rate=1e9, burst=10**9)
        self.recorder = Recorder(gateway, "me", clock=lambda: self.now)
        self.notifier = Notifier({}, lambda _key: None)
        self.reconciler = Reconciler(
            self.store, gateway, self.recorder, world.SETTINGS, self.notifier, lambda: self.now, scraper=self._scraper
        )
        self.looks: list[Key] = []
        self._informer = Informer(self.store, lambda key, _seconds: self.looks.append(key), ())
        self._gateway = gateway

    async def fill(self) -> None:
        """List everything."""
        for kind in (*WATCHED, *OPTIONAL):
            listing = await self._gateway.list(kind)
            self.store.replace(kind.kind, listing.items, listing.resource_version)
        self.api.events.clear()

    def watch(self) -> list[Key]:
        """Let the watches tell what has happened. Returns the keys that are to be looked at."""
        self.looks.clear()
        for event, obj in self.api.events:
            if obj["kind"] not in ("Event", "Lease"):
                self._informer.see(kind_of(obj["kind"]), event, obj)
        self.api.events.clear()
        return sorted(set(self.looks))

    async def look(self, key: Key = FLIGHTS, *, watch: bool = True) -> list[str]:
        """One reconcile. Returns the requests that it took."""
        if watch:
            self.watch()
        self.api.log.clear()
        await self.reconciler.reconcile(key)
        return list(self.api.log)

    # -- what the cluster does ---------------------------------------------------------------------------------------

    def train(self, text: str = "first") -> None:
        """The training Job's pod ends, and has published a revision."""
        job = self.api.all("jobs")[-1]
        pod = kubelet.pod_of(job)
        status = kubelet.published(self.model["status"]["episode"], text)
        self.api.create({**pod, "status": status}, "pods")

    def make_ready(self) -> None:
        """All Deployments have their pods ready."""
        for deployment in self.api.all("deployments"):
            key = ("deployments", "ops", deployment["metadata"]["name"])
            self.api.change(key, lambda d: d.update(status=kubelet.ready(d)))

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    @property
    def model(self) -> Object:
        return copy.deepcopy(self.api.objects[MODEL])

    def condition(self, type_: str) -> tuple[str, str]:
        """Status and reason of a condition of the Model."""
        found = next(c for c in self.model["status"]["conditions"] if c["type"] == type_)
        return found["status"], found["reason"]

    def events(self) -> list[str]:
        """Reasons of what people would be told."""
        return [event["reason"] for _, event in self.recorder._waiting._queue]  # type: ignore[attr-defined]

    async def serve(self) -> None:
        """Up to revision 1 serving, and everything at rest."""
        await self.look()
        self.train()
        await self.look()
        self.make_ready()
        await self.look()
        self.advance(minutes=1)
        await self.look()
        await self.look(WATCH)
        self.watch()
