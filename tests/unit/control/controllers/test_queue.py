"""The work queue: every key is worked on once at a time, again when it changed meanwhile, and after a failure later and later."""

import asyncio
import itertools

import pytest

from stationkeeper.control.controllers.queue import WorkQueue
from tests.support.clock import now, timeless


async def waiting(queue: WorkQueue[str]) -> list[str]:
    """The keys that a worker would get now, each worked on and done."""
    found = []
    while queue._waiting:
        key = await queue.get()
        queue.done(key)
        found.append(key)
    return found


async def arrivals(queue: WorkQueue[str], seconds: float) -> list[tuple[float, str]]:
    """The keys that come in this time, and when."""
    found: list[tuple[float, str]] = []

    async def work() -> None:
        while True:
            key = await queue.get()
            found.append((round(now(), 1), key))
            queue.done(key)

    tasks = [asyncio.ensure_future(work()), asyncio.ensure_future(queue.run_timer())]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


@timeless
async def test_a_key_waits_once_and_keys_keep_their_order():
    queue = WorkQueue[str]()
    for key in "abab":
        queue.add(key)
    assert await waiting(queue) == ["a", "b"]


@timeless
async def test_a_key_that_changes_while_it_is_worked_on_comes_again_after_it_is_done():
    queue = WorkQueue[str]()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    assert not queue._waiting, "nobody else gets it meanwhile"
    queue.done("a")
    assert await waiting(queue) == ["a"]


@timeless
async def test_a_key_that_is_done_does_not_come_by_itself():
    queue = WorkQueue[str]()
    queue.add("a")
    assert await waiting(queue) == ["a"]
    assert await arrivals(queue, 1000) == []


LATER = [
    ("at its time", [("a", 5)], [(5.0, "a")]),
    ("in the order of the times", [("a", 9), ("b", 5)], [(5.0, "b"), (9.0, "a")]),
    ("the earlier of two times", [("a", 9), ("a", 5)], [(5.0, "a")]),
    ("a later time changes nothing", [("a", 5), ("a", 9)], [(5.0, "a")]),
    ("no time is at once", [("a", 0)], [(0.0, "a")]),
    ("a time that has passed is at once", [("a", -3)], [(0.0, "a")]),
    ("at once makes the later time needless", [("a", 5), ("a", 0)], [(0.0, "a")]),
]


@pytest.mark.parametrize(("name", "asked", "come"), LATER, ids=[case[0] for case in LATER])
@timeless
async def test_a_key_comes_later(name, asked, come):
    queue = WorkQueue[str]()
    for key, seconds in asked:
        queue.add_after(key, seconds)
    assert await arrivals(queue, 20) == come


@timeless
async def test_a_time_that_is_asked_for_while_the_timer_waits_is_kept():
    queue = WorkQueue[str]()
    queue.add_after("late", 100)

    async def ask() -> None:
        await asyncio.sleep(1)
        queue.add_after("early", 2)

    asking = asyncio.ensure_future(ask())
    assert await arrivals(queue, 50) == [(3.0, "early")]
    await asking


@timeless
async def test_failures_in_a_row_come_after_a_doubled_distance_up_to_the_longest():
    queue = WorkQueue[str](base=1, most=60)
    distances = [queue.failed("a") for _ in range(9)]
    for distance, middle in zip(distances, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.8 * middle <= distance <= 1.2 * middle
    assert queue.failed("b") <= 1.2, "each key has its own"
    queue.succeeded("a")
    assert queue.failed("a") <= 1.2, "a success makes good"


@timeless
async def test_a_thousand_failures_do_not_overflow():
    queue = WorkQueue[str]()
    assert max(queue.failed("a") for _ in range(3000)) <= 120 * 1.2


@pytest.mark.parametrize(("asked", "least", "most"), [(0, 0.4, 0.6), (7, 7, 7), (9999, 120, 120)])
@timeless
async def test_a_server_that_asks_for_a_distance_gets_it_within_reason(asked, least, most):
    assert least <= WorkQueue[str]().failed("a", asked) <= most


@timeless
async def test_a_change_is_not_kept_waiting_by_a_failure():
    queue = WorkQueue[str](base=100)
    queue.failed("a")
    queue.add("a")
    assert await arrivals(queue, 1000) == [(0.0, "a")], "and the later look is not needed any more"


@timeless
async def test_times_that_were_overtaken_do_not_pile_up():
    queue = WorkQueue[str]()
    for number in range(10_000):  # a weekly schedule, looked at again and again
        queue.add_after("a", 600_000 - number)
        queue.add("a")
        await waiting(queue)
    assert len(queue._later) < 200
    queue.add_after("a", 5)
    assert await arrivals(queue, 10) == [(5.0, "a")], "the one that counts is kept"


@timeless
async def test_nothing_is_remembered_of_keys_that_are_gone():
    queue = WorkQueue[str]()
    for number in range(100):
        queue.add(f"key-{number}")
        queue.failed(f"key-{number}")
    for key in await waiting(queue):
        queue.succeeded(key)
    assert len(await arrivals(queue, 10)) == 100
    left = [queue._waiting, queue._working, queue._again, queue._failures, queue._due, queue._later]
    assert not any(left)


@timeless
async def test_a_worker_that_is_cancelled_while_it_waits_takes_nothing_with_it():
    queue = WorkQueue[str]()
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert await waiting(queue) == ["a"]


@timeless
async def test_no_two_workers_have_one_key():
    queue, busy, count = WorkQueue[str](), set[str](), itertools.count()

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            next(count)
            await asyncio.sleep(1)
            busy.discard(key)
            queue.done(key)

    workers = [asyncio.ensure_future(work()) for _ in range(4)]
    for _ in range(30):
        for key in "abcdef":
            queue.add(key)
        await asyncio.sleep(0.3)
    for worker in workers:
        assert not worker.done() or worker.exception() is None
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert next(count) > 20


@timeless
async def test_times_that_lie_a_rounding_apart_do_not_make_it_spin():
    queue: WorkQueue[str] = WorkQueue()
    timer = asyncio.ensure_future(queue.run_timer())
    queue.add_after("exact", 0.3)
    queue.add_after("rounded", 0.1 + 0.2)  # 0.30000000000000004
    assert {await queue.get(), await queue.get()} == {"exact", "rounded"}
    timer.cancel()
