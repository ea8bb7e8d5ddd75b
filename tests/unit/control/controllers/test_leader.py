"""Leader election as a story of two processes, an API server in memory, and a clock that jumps."""

import asyncio
from collections.abc import Callable

import pytest

from stationkeeper.control.controllers.leader import Leader, LeaseLostError
from stationkeeper.control.kube.errors import UnavailableError
from stationkeeper.control.kube.gateway import Gateway
from tests.support.clock import now, timeless
from tests.support.memory_api import MemoryApi

LEASE = ("leases", "system", "stationkeeper-operator")


class Api(MemoryApi):
    """May hang, too."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs: Callable[[str], bool] = lambda _request: False

    async def send(self, method, path, query, body, content_type, seconds):
        if self.hangs(method):
            await asyncio.sleep(seconds)
            raise UnavailableError("no answer")
        return await super().send(method, path, query, body, content_type, seconds)

    def holder(self) -> str:
        return self.objects[LEASE]["spec"]["holderIdentity"] if LEASE in self.objects else ""


def leader(api: Api, name: str) -> Leader:
    return Leader(Gateway(api), "system", name)


def refuse(_: str) -> None:
    raise UnavailableError("connection refused")


async def lost_after(holding: Leader) -> float:
    """Seconds until the Lease is lost."""
    began = now()
    with pytest.raises(LeaseLostError):
        await holding.hold()
    return now() - began


@timeless
async def test_the_first_one_leads_at_once_and_says_since_when():
    api = Api()
    await leader(api, "first").acquire()
    spec = api.objects[LEASE]["spec"]
    assert now() == 0
    assert spec["holderIdentity"] == "first"
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 0
    assert spec["acquireTime"] == spec["renewTime"]


@timeless
async def test_a_leader_that_renews_is_left_alone():
    api = Api()
    first, second = leader(api, "first"), leader(api, "second")
    await first.acquire()
    holding, standing_by = asyncio.ensure_future(first.hold()), asyncio.ensure_future(second.acquire())
    await asyncio.sleep(600)
    assert api.holder() == "first"
    assert not holding.done()
    assert not standing_by.done()
    spec = api.objects[LEASE]["spec"]
    assert spec["acquireTime"] < spec["renewTime"]
    for task in (holding, standing_by):
        task.cancel()


@timeless
async def test_a_leader_that_died_is_followed_when_its_lease_has_run_out():
    api = Api()
    await leader(api, "first").acquire()
    await leader(api, "second").acquire()
    assert api.holder() == "second"
    assert 15 < now() <= 15 + 2 + 2, "by our own clock, from when we first saw its last renewal"
    assert api.objects[LEASE]["spec"]["leaseTransitions"] == 1


@timeless
async def test_a_lease_that_was_given_back_is_taken_at_once():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    await first.release()
    await leader(api, "second").acquire()
    assert (api.holder(), now()) == ("second", 0)


@timeless
async def test_one_that_comes_back_under_its_name_goes_on():
    api = Api()
    await leader(api, "first").acquire()
    await leader(api, "first").acquire()
    assert now() == 0
    assert api.objects[LEASE]["spec"]["leaseTransitions"] == 0


@timeless
async def test_of_two_that_come_at_the_same_time_one_leads():
    api = Api()
    tasks = [asyncio.ensure_future(leader(api, name).acquire()) for name in ("first", "second")]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.done() for task in tasks].count(True) == 1
    for task in tasks:
        task.cancel()


@timeless
async def test_an_api_server_that_comes_up_late_is_waited_for():
    api = Api()
    api.before = refuse
    standing_by = asyncio.ensure_future(leader(api, "first").acquire())
    await asyncio.sleep(60)
    assert not standing_by.done()
    api.before = lambda _: None
    await standing_by
    assert api.holder() == "first"


@timeless
async def test_a_lease_that_another_took_is_lost():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    api.change(LEASE, lambda lease: lease["spec"].update(holderIdentity="second"))
    assert await lost_after(first) <= 2


@timeless
async def test_a_lease_that_cannot_be_renewed_is_lost_before_another_may_take_it():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    api.before = refuse
    assert 10 <= await lost_after(first) < 15


@timeless
async def test_a_request_that_hangs_does_not_outlast_the_lease():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    api.hangs = lambda _: True
    assert 10 <= await lost_after(first) < 15


@timeless
async def test_one_request_that_hangs_is_not_the_end():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    hung: list[str] = []
    api.hangs = lambda method: not hung and not hung.append(method)
    holding = asyncio.ensure_future(first.hold())
    await asyncio.sleep(60)
    assert hung
    assert not holding.done()
    holding.cancel()


@timeless
async def test_a_hiccup_is_not_the_end():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    for _ in range(10):
        api.before = refuse
        await asyncio.sleep(5)
        api.before = lambda _: None
        await asyncio.sleep(5)
    assert not holding.done()
    holding.cancel()


@timeless
async def test_a_renewal_whose_answer_was_lost_is_not_the_end():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    lost: list[str] = []

    def lose(request: str) -> None:
        if request.startswith("PUT") and not lost:
            lost.append(request)
            raise UnavailableError("the answer was lost")

    api.after = lose
    holding = asyncio.ensure_future(first.hold())
    await asyncio.sleep(60)
    assert lost
    assert not holding.done()
    holding.cancel()


@timeless
async def test_somebodys_touch_of_the_lease_between_read_and_write_is_not_the_end():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    touched: list[str] = []

    def touch(request: str) -> None:
        if request.startswith("PUT") and not touched:
            touched.append(request)
            api.change(LEASE, lambda lease: lease["metadata"].update(labels={"theirs": "x"}))

    api.before = touch
    holding = asyncio.ensure_future(first.hold())
    await asyncio.sleep(60)
    assert touched
    assert not holding.done()
    assert api.holder() == "first"
    holding.cancel()


@timeless
async def test_a_lease_that_somebody_deleted_is_made_again():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    api.remove(LEASE)
    await asyncio.sleep(5)
    assert api.holder() == "first"
    holding.cancel()


@timeless
async def test_what_is_not_held_is_not_given_back():
    api = Api()
    first, second = leader(api, "first"), leader(api, "second")
    await first.release()
    assert api.log == []
    await first.acquire()
    api.change(LEASE, lambda lease: lease["spec"].update(holderIdentity="second"))
    await first.release()
    assert api.holder() == "second", "the version that we knew is an old one"
    await second.release()


@timeless
async def test_giving_back_never_fails():
    api = Api()
    first = leader(api, "first")
    await first.acquire()
    api.before = refuse
    await first.release()
    assert api.holder() == "first"
