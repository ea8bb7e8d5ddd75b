"""Many objects, one after the other, while the next ones are on their way: reading a small object is waiting, not work."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from stationkeeper.workloads.artifacts.store import MAX_OBJECT_BYTES, ObjectInfo, Store

REQUESTS: Final = 8  # at once, of the ten connections that botocore keeps
_AHEAD: Final = 2 * REQUESTS  # objects that nobody has asked for yet
_ROOM: Final = 32 * 2**20  # bytes of these; a larger object comes alone

Got = tuple[ObjectInfo, Future[bytes]]


def get_each(store: Store, wanted: Iterable[ObjectInfo], *, max_bytes: int = MAX_OBJECT_BYTES) -> Iterator[Got]:
    """The objects in their order, each with what `Store.get` gives or raises, as the result of its future.

    Who stops early, by an error too, waits for the requests that are under way and starts no more.
    """
    ahead: deque[Got] = deque()
    size = 0
    pool = ThreadPoolExecutor(REQUESTS)
    try:
        for info in wanted:
            while ahead and (len(ahead) >= _AHEAD or size + info.size > _ROOM):
                size -= ahead[0][0].size
                yield ahead.popleft()
            ahead.append((info, pool.submit(store.get, info.key, max_bytes=max_bytes)))
            size += info.size
        while ahead:
            yield ahead.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
