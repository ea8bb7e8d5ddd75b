"""The signature of a LightGBM model, from the head of its text."""

import re
from typing import Final

from stationkeeper.api.manifest import Binding
from stationkeeper.api.source import Source
from stationkeeper.workloads.artifacts.boosters import load_lightgbm, whole
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.imports.probe import survives
from stationkeeper.workloads.imports.signature import Answer, Signature, mismatch, named, numbers_only, signature, unusable

_OBJECTIVE: Final = re.compile(r"^objective=(\S+)", re.MULTILINE)
_CATEGORIES: Final = re.compile(r"^pandas_categorical:(.*)$", re.MULTILINE)
_SEVERAL: Final = ("multiclass", "softmax", "multiclassova", "multiclass_ova", "ova", "ovr")


def read(source: Source, data: bytes) -> Signature:
    """What a model is asked and answers.

    Raises:
        AttemptEnded: InvalidData with InvalidModel or SignatureMismatch.
    """
    try:
        text = whole(data)
        survives(source, data)
        booster = load_lightgbm(data)
    except MalformedArtifact as error:
        raise unusable(f"{source.uri}: {error}"[:900]) from error
    known = _CATEGORIES.search(text)
    if known and known[1].strip() not in ("", "null", "[]"):
        raise mismatch("the model learned categories of pandas, which requests do not carry; encode them as numbers before it")
    features = numbers_only(named(booster.feature_name(), source, "the model"), "LightGBM")
    objective = _OBJECTIVE.search(text.partition("\nTree=")[0])
    return signature(source, features, Binding(), _answer(objective[1] if objective else "", booster.num_model_per_iteration()))


def _answer(objective: str, width: int) -> Answer:
    if objective in ("binary", "cross_entropy", "xentropy"):
        return Answer(True, ["0", "1"], "integer")
    if objective in _SEVERAL:
        return Answer(True, [str(label) for label in range(width)], "integer")
    if width != 1:
        raise mismatch(
            f"the model answers with {width} values a row, and its objective ({objective or 'none'}) is no classification"
        )
    return Answer(False)
