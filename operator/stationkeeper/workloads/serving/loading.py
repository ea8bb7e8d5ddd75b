"""From a digest to a model that has proven itself: fetch, hash again, load, reproduce the golden rows."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from stationkeeper.api.jobs import ServeConfig
from stationkeeper.api.manifest import FILE_GOLDEN, FILE_REFERENCE, MODEL_FILES, Manifest
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.errors import ArtifactError, MalformedArtifact, StoreError, StoreUnavailable
from stationkeeper.workloads.artifacts.golden import Golden, ParityError
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.serving.answers import Renderer
from stationkeeper.workloads.serving.protocol import Contract
from stationkeeper.workloads.serving.state import Served

log = logging.getLogger(__name__)

T = TypeVar("T")

# Waits between tries of a store that does not answer: about a minute, then the kubelet's own backoff takes over.
WAITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class Stopped(Exception):  # noqa: N818 - the name says what is so
    """The pod is told to end while it loads."""


def load(
    config: ServeConfig, open_store: Callable[[], Store], stop: threading.Event | None = None, waits: tuple[float, ...] = WAITS
) -> Served:
    """Load the revision of a configuration and hold it to its golden rows.

    Raises:
        ArtifactError: DigestMismatch, MalformedArtifact or ParityError: this revision can never be served as it is.
        StoreError: when the store refuses, or does not answer in time (`StoreUnavailable`).
        Stopped: when `stop` is set meanwhile.
    """
    began = time.monotonic()
    served = _persistently(lambda: _load_once(config, open_store()), stop or threading.Event(), waits)
    log.info(
        "revision %d of %s/%s (%s) is loaded from %s and reproduces its golden rows, after %.1f s",
        config.revision.number, config.model.namespace, config.model.name, served.digest, served.manifest.format,
        time.monotonic() - began,
    )  # fmt: skip
    return served


def _persistently(work: Callable[[], T], stop: threading.Event, waits: tuple[float, ...]) -> T:
    for wait in waits:
        if stop.is_set():
            raise Stopped
        try:
            return work()
        except StoreUnavailable as error:
            log.warning("StorageUnreachable: %s; trying again in %.1f s", error, wait)
        stop.wait(wait)
    if stop.is_set():
        raise Stopped
    return work()


def _load_once(config: ServeConfig, store: Store) -> Served:
    manifest = load_manifest(store, config.revision.digest)
    if manifest.number != config.revision.number:  # the digest is the identity; numbers are allocated by each cluster
        log.warning("the manifest calls itself revision %d; it is served as %d", manifest.number, config.revision.number)
    model_file = MODEL_FILES[manifest.format]
    files = {name: _file(store, manifest, name) for name in (model_file, FILE_GOLDEN)}
    golden = Golden.decode(files[FILE_GOLDEN])
    reference = _reference(store, manifest)
    try:
        return _proven(config, manifest, files, golden, reference)
    except (ArtifactError, StoreError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged model does when it is loaded or asked, it cannot be served
        raise ParityError(f"the model cannot answer its golden rows: {type(error).__name__}: {error}") from error


def _proven(
    config: ServeConfig, manifest: Manifest, files: dict[str, bytes], golden: Golden, reference: ReferenceProfile | None
) -> Served:
    if not any(golden.columns.values()):
        raise MalformedArtifact("golden.json holds no rows, so nothing can be proven; retrain")
    predictor = load_model(manifest, files)
    golden.verify(predictor)
    contract = Contract.of(manifest, probabilities=golden.probabilities is not None, event_time=config.capture.event_time)
    renderer = Renderer(config.model.name, config.revision, manifest, contract.outputs)
    return Served(config.revision.digest, manifest, predictor, reference, contract, renderer)


def _reference(store: Store, manifest: Manifest) -> ReferenceProfile | None:
    """What traffic is counted by. Only a model that was made elsewhere may have come without any rows."""
    if manifest.binding is not None and FILE_REFERENCE not in manifest.files:
        return None
    return ReferenceProfile.decode(_file(store, manifest, FILE_REFERENCE))


def _file(store: Store, manifest: Manifest, name: str) -> bytes:
    if name not in manifest.files:
        raise MalformedArtifact(f"revision {manifest.number} of {manifest.model} has no file {name}; retrain")
    return get_blob(store, manifest.files[name])
