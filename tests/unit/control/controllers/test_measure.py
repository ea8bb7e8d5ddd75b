"""The evidence of a canary's step is asked for once a reconcile, and never taken for that of another step."""

import copy
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pytest

from stationkeeper.control.controllers.measure import Measurements
from stationkeeper.control.controllers.prometheus import Inquirer
from stationkeeper.control.controllers.scrape import Scraper
from stationkeeper.control.planning import Observed
from stationkeeper.control.planning.canary import Measured
from stationkeeper.control.planning.queries import Answer
from tests.support import world
from tests.support.site import Site

Object = dict[str, Any]
STEP = "2026-01-05T12:00:00Z"
NOW = datetime.fromisoformat("2026-01-05T12:01:00Z")


class Counting(Scraper):
    """Answers as many requests as it was told of each revision, and remembers what it was asked."""

    def __init__(self, **requests: int) -> None:
        super().__init__()
        self.requests = requests
        self.asked: list[datetime] = []

    async def measure(self, pods: Iterable[Object], since: datetime) -> Mapping[int, Measured]:
        self.asked.append(since)
        count = self.requests.get("each", 0) * len(self.asked)
        return {number: Measured(requests=count, latency=((0.01, count), (float("inf"), count))) for number in (1, 2)}


class CountingInquirer(Inquirer):
    def __init__(self) -> None:
        super().__init__(None)
        self.asked = 0

    async def ask(self, model: Object, now: datetime) -> dict[str, Answer]:
        self.asked += 1
        return {"late": Answer(float(self.asked))}


def pod(uid: str, address: str = "10.0.0.1", revision: str = "2") -> Object:
    meta = {"name": uid, "uid": uid, "labels": {"stationkeeper.dev/revision": revision}}
    return {"metadata": meta, "status": {"podIP": address}}


def at_a_step(**candidate: Any) -> Observed:
    known = {"number": 2, "digest": "sha256:22", "step": 0, "stepSince": STEP, **candidate}
    model = {
        "metadata": {"generation": 3},
        "spec": {},
        "status": {"serving": {"number": 1, "digest": "sha256:11"}, "candidate": known},
    }
    return Observed(model=model, pods=(pod("a"), pod("b", "10.0.0.2", "1")))


def edited(observed: Observed, generation: int) -> Observed:
    return Observed(model={**observed.model, "metadata": {"generation": generation}}, pods=observed.pods)


async def test_the_plans_of_one_reconcile_share_what_was_asked_once():
    scraper, inquirer = Counting(each=10), CountingInquirer()
    measurements = Measurements(scraper, inquirer)
    first = await measurements.added(at_a_step(weight=0), NOW)
    again = await measurements.added(at_a_step(weight=33, analysis="10 requests, 0 errors"), NOW)
    assert (len(scraper.asked), inquirer.asked) == (1, 1)
    assert (first.measured[2].requests, first.answers) == (10, {"late": Answer(1.0)})
    assert (again.measured, again.answers) == (first.measured, first.answers)


OTHERS = {
    "the next step": at_a_step(step=1),
    "the step begun anew": at_a_step(stepSince="2026-01-05T12:00:30Z"),
    "another candidate": at_a_step(digest="sha256:33"),
    "another revision that serves": Observed(
        model={**at_a_step().model, "status": {**at_a_step().model["status"], "serving": {"number": 1, "digest": "sha256:44"}}},
        pods=at_a_step().pods,
    ),
    "an edit, which may name other queries": edited(at_a_step(), generation=4),
    "a pod more": Observed(model=at_a_step().model, pods=(*at_a_step().pods, pod("c", "10.0.0.3"))),
    "a pod less": Observed(model=at_a_step().model, pods=at_a_step().pods[:1]),
    "a pod that has its address now": Observed(model=at_a_step().model, pods=(pod("a", "10.0.0.9"), at_a_step().pods[1])),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_numbers_are_of_the_step_and_the_pods_that_they_were_asked_for(other):
    scraper, inquirer = Counting(each=10), CountingInquirer()
    measurements = Measurements(scraper, inquirer)
    await measurements.added(at_a_step(), NOW)
    found = await measurements.added(other, NOW)
    assert (len(scraper.asked), inquirer.asked) == (2, 2)
    assert (found.measured[2].requests, found.answers) == (20, {"late": Answer(2.0)})
    assert scraper.asked[1] == datetime.fromisoformat(other.model["status"]["candidate"]["stepSince"])


async def test_without_a_step_nothing_is_asked():
    scraper, inquirer = Counting(each=10), CountingInquirer()
    idle = Observed(
        model={"metadata": {"generation": 1}, "spec": {}, "status": {"candidate": {"number": 2, "digest": "sha256:22"}}}
    )
    assert await Measurements(scraper, inquirer).added(idle, NOW) is idle
    assert (scraper.asked, inquirer.asked) == ([], 0)


async def on_the_first_step(scraper: Counting) -> Site:
    """Revision 1 serves, and revision 2 has just begun to answer beside it."""
    model = copy.deepcopy(world.model())
    steps = [{"weight": 20, "hold": "1m"}, {"weight": 50, "hold": "1m"}]
    rollout = {"strategy": "Canary", "steps": steps, "analysis": {"minRequests": 100}}
    model["spec"]["serving"] = {"replicas": 2, "rollout": rollout}
    site = Site(model=model, scraper=scraper)
    await site.fill()
    await site.serve()
    site.advance(hours=2)
    site.api.change(("models", "ops", "flights"), lambda m: m["spec"]["training"]["estimator"].update(params={"max_iter": 200}))
    await site.look()
    site.train("second")
    await site.look()
    site.make_ready()
    assert scraper.asked == [], "nothing has answered beside what serves"
    await site.look()
    assert site.model["status"]["candidate"]["step"] == 0
    return site


async def test_a_reconcile_asks_the_pods_once_for_each_step_that_it_sees():
    scraper = Counting(each=0)
    site = await on_the_first_step(scraper)
    assert scraper.asked == [site.now], "the plans after the one that began the step share one answer"
    scraper.asked.clear()
    site.advance(seconds=5)
    await site.look()
    assert len(scraper.asked) == 1
    scraper.asked.clear()
    scraper.requests = {"each": 150}
    site.advance(minutes=1)
    begun = site.now
    await site.look()
    assert site.model["status"]["candidate"]["step"] == 1
    assert scraper.asked[1:] == [begun], "the step that has just begun is asked for anew, once"
    assert len(scraper.asked) == 2
