"""A revision's model, from its manifest and its files: trained here, or made elsewhere."""

from collections.abc import Mapping

from stationkeeper.api.manifest import MODEL_FILES, Manifest
from stationkeeper.workloads.artifacts import foreign
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.runtime import OnnxPredictor, Predictor, SklearnPredictor, load_skops


def load_model(manifest: Manifest, files: Mapping[str, bytes]) -> Predictor:
    """Load the model of a manifest from its files, fetched and hashed by `blobs.get_blob`.

    Raises:
        MalformedArtifact: when the file of the manifest's format is not given, cannot be read, or is not trusted.
    """
    name = MODEL_FILES[manifest.format]
    if name not in files:
        raise MalformedArtifact(f"revision {manifest.number} of {manifest.model} has no file {name}")
    if manifest.binding is not None:
        return foreign.load(manifest, manifest.binding, manifest.format, files[name])
    if manifest.format == "onnx":
        return OnnxPredictor(manifest, files[name])
    return SklearnPredictor(manifest, load_skops(files[name]))
