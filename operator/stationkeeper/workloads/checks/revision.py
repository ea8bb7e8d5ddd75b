"""What a revision keeps for its checks: the reference, and for checks of rows a sample of its training rows and their components."""

import io
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import polars as pl
from polars.exceptions import PolarsError

from stationkeeper.api.manifest import FILE_PCA, Manifest
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.errors import ArtifactError, NotFound
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift.collect import load_reference
from stationkeeper.workloads.drift.components import Components
from stationkeeper.workloads.drift.reference import ReferenceProfile

log = logging.getLogger(__name__)

MAX_SAMPLE_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows to compare rows with, and why there are none where there are none."""

    sample: pl.DataFrame | None = None
    components: Components | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revision:
    """The revision whose traffic is checked."""

    store: Store
    digest: str
    manifest: Manifest
    reference: ReferenceProfile | None  # None where no rows were known

    @classmethod
    def load(cls, store: Store, digest: str) -> Self:
        """Fetch what counts are compared with.

        Raises:
            StoreError, ArtifactError: when the manifest or its reference is not there or not what it must be.
        """
        manifest = load_manifest(store, digest)
        return cls(store, digest, manifest, load_reference(store, manifest))

    @property
    def trained_with(self) -> ReferenceProfile:
        """The reference of a revision that was trained here: it always has one."""
        assert self.reference is not None
        return self.reference

    @cached_property
    def kept(self) -> Kept:
        """What rows are compared with. Trouble is told, not raised: counts are judged without it."""
        sample, first = self._sample()
        components, second = self._components()
        return Kept(sample, components, tuple(note for note in (first, second) if note))

    def _sample(self) -> tuple[pl.DataFrame | None, str]:
        key = keys.sample(self.digest)
        try:
            return pl.read_parquet(io.BytesIO(self.store.get(key, max_bytes=MAX_SAMPLE_BYTES))), ""
        except NotFound:
            return None, f"{self.store.uri(key)} is not there: no rows of the training are kept to compare rows with"
        except (ArtifactError, PolarsError) as error:
            return None, f"{self.store.uri(key)} cannot be read ({line(error)}): no rows to compare rows with"

    def _components(self) -> tuple[Components | None, str]:
        ref = self.manifest.files.get(FILE_PCA)
        if ref is None:
            return None, ""  # a revision from before there were any: the test says so itself
        try:
            return Components.decode(get_blob(self.store, ref)), ""
        except (ArtifactError, NotFound) as error:
            return None, f"{FILE_PCA} cannot be used: {line(error)}"


def line(error: Exception) -> str:
    """An error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
