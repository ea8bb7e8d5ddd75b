"""What may be wrong in the store: bytes that changed, and revisions that were never published by a training."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.workloads.artifacts.keys import blob
from stationkeeper.workloads.artifacts.keys import manifest as manifest_key
from tests.e2e.place import ARTIFACTS, Place

LOADED = {"onnx": "model.onnx", "skops": "model.skops"}


def model_file(place: Place, name: str) -> str:
    """Key of the file that the serving pods of revision 1 load."""
    record = place.first(name)
    manifest = place.manifest(name, record["spec"]["digest"])
    return f"{name}/{blob(manifest['files'][LOADED[manifest['format']]]['digest'])}"


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@dataclass(frozen=True)
class Forgery:
    """A published revision that is not what it says."""

    number: int
    reason: str
    files: Callable[[Any], dict[str, bytes]]  # of the golden rows
    edited: bool = False  # the manifest is, after its digest was taken


def otherwise(golden: Any) -> bytes:
    return json.dumps(golden | {"probabilities": [row[::-1] for row in golden["probabilities"]]}).encode()


FORGERIES = (
    Forgery(2, "MalformedArtifact: model.skops is not a skops archive", lambda golden: {"model.skops": pickle.dumps(print)}),
    Forgery(3, "DigestMismatch: .* does not hash to its name", lambda golden: {}, edited=True),
    Forgery(4, "ParityFailed: .* golden answers differ", lambda golden: {"golden.json": otherwise(golden)}),
)


def forge(place: Place, name: str, forgery: Forgery) -> str:
    """Put it into the store of a Model, after its revision 1. Returns its digest."""
    record = place.first(name)
    manifest = place.manifest(name, record["spec"]["digest"])
    golden = json.loads(place.read(f"{name}/{blob(manifest['files']['golden.json']['digest'])}"))
    for file, content in forgery.files(golden).items():
        digest = sha256(content)
        place.put(ARTIFACTS, f"{name}/{blob(digest)}", content)
        manifest["files"][file] = {"digest": digest, "size": len(content)}
        manifest["format"] = "skops" if file == "model.skops" else manifest["format"]
    text = canonical_json(manifest | {"number": forgery.number})
    place.put(ARTIFACTS, f"{name}/{manifest_key(sha256(text))}", text + b" " * forgery.edited)
    return sha256(text)
