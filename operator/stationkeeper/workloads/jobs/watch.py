"""The watching pod: `python -m stationkeeper.workloads.jobs.watch` tells the state of one object, without reading it."""

import logging
import sys
from collections.abc import Callable

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.jobs import WatchConfig
from stationkeeper.api.meta import EXIT_OK
from stationkeeper.api.summary import WatchSummary
from stationkeeper.workloads.artifacts.errors import NotFound
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._run import configure_logging, run

log = logging.getLogger(__name__)
Open = Callable[[WatchConfig, str], Store]


def _open(config: WatchConfig, uri: str) -> Store:
    return S3Store.open(config.storage, uri)


def watch(config: WatchConfig, opened: Open = _open) -> tuple[WatchSummary, int]:
    """Tell the object's state. What it was copied from, and when, is not in it: only another content is a change.

    Raises:
        NotFound: when there is no such object; that is no change.
    """
    folder, _, name = config.uri.rpartition("/")
    if folder == "s3:/":
        raise NotFound(f"{config.uri} names a bucket; training.watch needs an object")
    store = opened(config, folder)
    found = next((item for item in store.list(name) if item.key == name), None)
    if found is None:
        raise NotFound(f"{config.uri} does not exist; write it, or correct training.watch.uri")
    digest = sha256(canonical_json({"etag": found.etag, "size": found.size}))
    log.info("%s has %d bytes, ETag %s", config.uri, found.size, found.etag)
    return WatchSummary(uri=config.uri, digest=digest), EXIT_OK


def main() -> int:
    """Do it; returns the exit code."""
    configure_logging()
    return run(lambda: watch(WatchConfig.from_environment()))


if __name__ == "__main__":
    sys.exit(main())
