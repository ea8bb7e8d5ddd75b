"""The signature of a scikit-learn model that was stored with skops."""

from typing import Any

from sklearn.base import is_classifier, is_regressor

from stationkeeper.api.manifest import Binding
from stationkeeper.api.source import Source
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.foreign import text_of
from stationkeeper.workloads.artifacts.runtime import load_skops
from stationkeeper.workloads.imports.signature import Answer, ClassKind, Signature, named, signature, unusable


def read(source: Source, data: bytes) -> Signature:
    """What a stored model is asked and answers.

    Raises:
        AttemptEnded: InvalidData with InvalidModel or SignatureMismatch.
    """
    try:
        model = load_skops(data)
    except MalformedArtifact as error:
        raise unusable(f"{source.uri}: {str(error)[:700]}") from error
    if not hasattr(model, "predict") or not (is_classifier(model) or is_regressor(model)):
        raise unusable(f"{source.uri} holds a {type(model).__name__}, which is neither classifier nor regressor")
    known = _attribute(model, "feature_names_in_")
    count = _attribute(model, "n_features_in_")
    names = [str(name) for name in known] if known is not None else [f"f{i}" for i in range(int(count or 0))]
    if known is not None and source.features and set(names) == {feature.name for feature in source.features}:
        # In the order in which it was fitted: a frame in another order is refused.
        given = {feature.name: feature for feature in source.features}
        source = source.model_copy(update={"features": [given[name] for name in names]})
    features = named(names, source, "the model")
    return signature(source, features, Binding(named=known is not None), _answer(model))


def _attribute(model: Any, name: str) -> Any:
    try:
        return getattr(model, name, None)
    except (AttributeError, IndexError, TypeError):  # a pipeline asks its first step
        return None


def _answer(model: Any) -> Answer:
    if not is_classifier(model):
        return Answer(False)
    classes = _attribute(model, "classes_")
    if classes is None or getattr(classes, "ndim", 0) != 1:
        raise unusable("the model does not know its classes: was it fitted, and for one target?")
    kinds: dict[str, ClassKind] = {"b": "boolean", "i": "integer", "u": "integer", "f": "integer"}
    return Answer(True, [text_of(label) for label in classes.tolist()], kinds.get(classes.dtype.kind, "string"))
