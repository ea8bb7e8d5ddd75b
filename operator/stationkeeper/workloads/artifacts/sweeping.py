"""Mark and sweep: delete what no revision that matters needs, and nothing else.

Marked is what the operator names, what is young, and what is pinned. A manifest goes before the files that only it names: one
that is there is whole, after a crash too; files that nothing names any more are found by the next sweep. If a single manifest
that must stay cannot be read, nothing is deleted, for nobody knows what it needs.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from stationkeeper.api.base import parse_duration
from stationkeeper.api.jobs import SweepConfig
from stationkeeper.api.summary import SweepSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import ArtifactError, NotFound, StoreUnavailable
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.store import ObjectInfo, Store

log = logging.getLogger(__name__)
MOST = 20_000  # deletions of one run: its Job has a deadline


@dataclass
class _Count:
    """How much was deleted, and whether more is left."""

    left: int
    deleted: dict[str, int] = field(default_factory=lambda: {"manifests": 0, "files": 0, "captured": 0, "reports": 0})

    def delete(self, store: Store, what: str, found: Iterator[ObjectInfo]) -> None:
        for item in found:
            if self.left <= 0:
                return
            log.info("deleting %s, last written %s", store.uri(item.key), item.modified.isoformat())
            store.delete(item.key)
            self.left -= 1
            self.deleted[what] += 1


def sweep(store: Store, config: SweepConfig, most: int = MOST) -> SweepSummary:
    """Delete what may go, at most so many objects.

    Raises:
        ArtifactError, NotFound: when a manifest that must stay cannot be read; nothing was deleted of revisions then.
        StoreError: when the store fails. What was deleted until then was right to go.
    """
    now, count = server_time(store), _Count(most)
    _captured(store, config, now, count)
    _reports(store, config, now, count)
    if config.retention.artifacts == "Sweep":
        before = now - parse_duration(config.retention.grace)
        _marked_files(store, config, before)  # before anything goes: can everything that must stay be read?
        count.delete(store, "manifests", _unmarked(store, config, before))
        count.delete(store, "files", _orphaned_samples(store, before))
        count.delete(store, "files", _exchanged(store, before))
        # Read again: what was published meanwhile marks its files too.
        marked = _marked_files(store, config, before)
        orphans = (item for item in store.list(keys.BLOBS) if item.modified < before and item.key not in marked)
        count.delete(store, "files", orphans)
    return SweepSummary(**count.deleted, complete=count.left > 0)


def server_time(store: Store) -> datetime:
    """Now, by the clock that dates the objects: ours may be wrong by more than the grace."""
    store.put(keys.SWEEP, b"{}")
    found = next((item for item in store.list(keys.SWEEP) if item.key == keys.SWEEP), None)
    if found is None:
        raise StoreUnavailable(f"{store.uri(keys.SWEEP)} was written and is not listed; without its time nothing is swept")
    return found.modified


def _kept(config: SweepConfig) -> set[str]:
    return {keys.manifest(digest) for digest in config.kept}


def _digest(key: str) -> str:
    return f"sha256:{key.removeprefix(keys.MANIFESTS).removesuffix('.json')}"


def _unmarked(store: Store, config: SweepConfig, before: datetime) -> Iterator[ObjectInfo]:
    """Manifests that may go. One that cannot be read and that nobody asks for serves nobody."""
    kept = _kept(config)
    for item in list(store.list(keys.MANIFESTS)):
        if item.modified < before and item.key not in kept and not _is_pinned(store, config, item.key):
            yield item


def _orphaned_samples(store: Store, before: datetime) -> Iterator[ObjectInfo]:
    """Rows of the training of revisions that are no more."""
    there = {item.key.removeprefix(keys.MANIFESTS).removesuffix(".json") for item in store.list(keys.MANIFESTS)}
    for item in list(store.list(keys.SAMPLES)):
        name = item.key.removeprefix(keys.SAMPLES).removesuffix(".parquet")
        if item.modified < before and name not in there:
            yield item


def _exchanged(store: Store, before: datetime) -> Iterator[ObjectInfo]:
    """Rows and models that went from machine to machine. No sweep runs beside a training, so whoever wanted them has had them."""
    return (item for item in store.list(keys.EPISODES) if keys.EXCHANGE in item.key and item.modified < before)


def _is_pinned(store: Store, config: SweepConfig, key: str) -> bool:
    if config.pinned is None:
        return False
    try:
        return load_manifest(store, _digest(key)).number == config.pinned
    except (ArtifactError, NotFound):
        return False


def _marked_files(store: Store, config: SweepConfig, before: datetime) -> set[str]:
    """Keys of the files of every manifest that stays.

    Raises:
        ArtifactError, NotFound: when one of them cannot be read.
    """
    kept = _kept(config)
    young = {item.key for item in store.list(keys.MANIFESTS) if item.modified >= before or item.key in kept}
    pinned = {item.key for item in store.list(keys.MANIFESTS) if _is_pinned(store, config, item.key)}
    manifests = [load_manifest(store, _digest(key)) for key in sorted(kept | young | pinned)]
    return {keys.blob(ref.digest) for manifest in manifests for ref in manifest.files.values()}


def _captured(store: Store, config: SweepConfig, now: datetime, count: _Count) -> None:
    """Rows by the time of their traffic, which their keys tell."""
    if config.retention.captured is None:
        return
    before = now - parse_duration(config.retention.captured)
    count.delete(store, "captured", (item for item in store.list(keys.CAPTURED) if _arrived_before(item.key, before)))


def _arrived_before(key: str, before: datetime) -> bool:
    try:
        return keys.slot_start(key) < before
    except ValueError:
        return False  # none of ours


def _reports(store: Store, config: SweepConfig, now: datetime, count: _Count) -> None:
    """Not those of what serves: checks look there for what they have done already."""
    if config.retention.reports is None:
        return
    before = now - parse_duration(config.retention.reports)
    asked = {keys.hexadecimal(digest)[:12] for digest in config.serving}

    def may_go(key: str) -> bool:
        parts = key.split("/")
        return len(parts) > 4 and parts[3] not in asked

    old = (item for item in store.list(keys.CHECKS) if item.modified < before and may_go(item.key))
    count.delete(store, "reports", old)
