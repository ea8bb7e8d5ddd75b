"""An image registry on this machine, that the node pulls from, and builds of a team's image in it."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from hack.cluster.network import Ranges
from hack.cluster.nodeconfig import Node
from hack.cluster.state import State
from hack.images.__main__ import build
from hack.images.engine import find
from tests.support.registry import FakeRegistry, serving

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@contextmanager
def running(directory: Path) -> Iterator[FakeRegistry]:
    """A registry at this machine's end of the link to the node whose state is there; containerd speaks plain HTTP with it."""
    state = State.load(directory)
    assert state is not None, "the node runs"
    ranges = Ranges(state.block, state.link)
    with serving(ranges.host) as registry:
        told = Node(directory.name, directory, ranges).registries / registry.host / "hosts.toml"
        told.parent.mkdir(parents=True, exist_ok=True)
        address = f"http://{registry.host}"
        told.write_text(f'server = "{address}"\n\n[host."{address}"]\n', encoding="utf-8")
        try:
            yield registry
        finally:
            told.unlink()
            told.parent.rmdir()


class Trainer:
    """The image of a team that trains: that of our workloads, whose layers nodes have, and another configuration for each build."""

    def __init__(self, registry: FakeRegistry, image: str) -> None:
        self.registry, self.image = registry, image  # as `name:tag`
        self.name = f"{registry.host}/{image}"
        self._archive = build("workloads", find())
        with tarfile.open(self._archive) as archive:
            (entry,) = json.load(_file(archive, "manifest.json"))
            self._config: dict[str, Any] = json.load(_file(archive, entry["Config"]))
            self._layers = [self._layer(archive.getmember(name)) for name in entry["Layers"]]

    def _layer(self, member: tarfile.TarInfo) -> dict[str, Any]:
        """One layer as it lies in the archive: uncompressed, so that its digest is the one in the configuration."""
        digest = self._config["rootfs"]["diff_ids"][len(self.registry.blobs)]
        self.registry.blobs[digest] = partial(_slice, self._archive, member.offset_data, member.size)
        return {"mediaType": _LAYER, "digest": digest, "size": member.size}

    def push(self) -> str:
        """The next build takes the tag, one that no node has seen. Returns its digest."""
        config = json.dumps(self._config | {"config": self._config["config"] | {"Labels": {"build": uuid4().hex}}}).encode()
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        self.registry.blobs[digest] = lambda: config
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": digest, "size": len(config)},
            "layers": self._layers,
        }
        return self.registry.push(self.image, json.dumps(manifest).encode())

    def pulled(self, digest: str) -> bool:
        """Whether the node has asked for a build, by its digest."""
        name = self.image.partition(":")[0]
        return ("GET", f"/v2/{name}/manifests/{digest}") in {(method, path) for method, path, _ in self.registry.log}


def _file(archive: tarfile.TarFile, name: str) -> Any:
    found = archive.extractfile(name)
    assert found is not None
    return found


def _slice(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
