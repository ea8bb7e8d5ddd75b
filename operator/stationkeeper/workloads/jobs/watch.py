"""The watching pod: `python -m stationkeeper.workloads.jobs.watch` tells the state of one object or image, without reading it."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.jobs import WatchConfig
from stationkeeper.api.meta import EXIT_OK, FILE_PULL_SECRET, PATH_PULL_SECRET
from stationkeeper.api.summary import WatchSummary
from stationkeeper.workloads.artifacts.errors import NotFound
from stationkeeper.workloads.artifacts.registry import Reference, Registry, credentials
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._run import configure_logging, run

log = logging.getLogger(__name__)
Open = Callable[[WatchConfig, str], Store]


def _open(config: WatchConfig, uri: str) -> Store:
    return S3Store.open(config.storage, uri)


def watch(config: WatchConfig, opened: Open = _open, secret: Path | None = None) -> tuple[WatchSummary, int]:
    """Tell the state of the object or the image.

    `secret`: where the pull secret is; a pod without one has no such file.

    Raises:
        NotFound: when there is no such object; that is no change.
        StoreError: when the store fails.
        RegistryError: when the registry does not tell.
    """
    if config.image is not None:
        reference = Reference.of(config.image)
        basic = credentials(secret or Path(PATH_PULL_SECRET, FILE_PULL_SECRET), reference)
        digest, what = Registry(reference, config.insecure, basic).digest(), config.image
    else:
        assert config.uri is not None, "the API asks for one of the two"
        digest, what = _state(config, config.uri, opened), config.uri
    log.info("%s is %s", what, digest)
    return WatchSummary(uri=what, digest=digest), EXIT_OK


def _state(config: WatchConfig, uri: str, opened: Open) -> str:
    """A digest of an object's size and ETag. What it was copied from, and when, is not in it: only another content is a change."""
    folder, _, name = uri.rpartition("/")
    if folder == "s3:/":
        raise NotFound(f"{uri} names a bucket; training.watch needs an object")
    store = opened(config, folder)
    found = next((item for item in store.list(name) if item.key == name), None)
    if found is None:
        raise NotFound(f"{uri} does not exist; write it, or correct training.watch.uri")
    return sha256(canonical_json({"etag": found.etag, "size": found.size}))


def main() -> int:
    """Do it; returns the exit code."""
    configure_logging()
    return run(lambda: watch(WatchConfig.from_environment()))


if __name__ == "__main__":
    sys.exit(main())
