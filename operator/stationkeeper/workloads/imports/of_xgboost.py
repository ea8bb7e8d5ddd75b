"""The signature of an XGBoost model, from what it says of itself."""

import json

from stationkeeper.api.manifest import Binding
from stationkeeper.api.source import Source
from stationkeeper.workloads.artifacts.boosters import LABELLING, load_xgboost, objective_of
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.imports.signature import Answer, Signature, mismatch, named, numbers_only, signature, unusable

_BINARY = ("binary:logistic", "binary:hinge")
_MULTI = ("multi:softprob", "multi:softmax")
_RAW = ("binary:logitraw",)


def read(source: Source, data: bytes) -> Signature:
    """What a model is asked and answers.

    Raises:
        AttemptEnded: InvalidData with InvalidModel or SignatureMismatch.
    """
    try:
        booster = load_xgboost(data)
    except MalformedArtifact as error:
        raise unusable(f"{source.uri}: {error}"[:900]) from error
    if "c" in (booster.feature_types or ()):
        raise mismatch(
            "the model learned XGBoost's own categories, which requests do not carry; encode them as numbers before it"
        )
    names = list(booster.feature_names or [f"f{i}" for i in range(booster.num_features())])
    features = numbers_only(named(names, source, "the model"), "XGBoost")
    return signature(source, features, Binding(), _answer(json.loads(booster.save_config()), objective_of(booster)))


def _answer(config: dict[str, dict[str, dict[str, str]]], objective: str) -> Answer:
    if objective in _RAW:
        raise mismatch(f"the objective {objective} answers with margins, not probabilities; train with binary:logistic")
    if objective in _BINARY:
        return Answer(True, ["0", "1"], "integer")
    if objective in _MULTI:
        count = int(config["learner"]["learner_model_param"]["num_class"])
        return Answer(True, [str(label) for label in range(count)], "integer")
    targets = config["learner"]["learner_model_param"].get("num_target", "1")
    if targets != "1":
        raise mismatch(f"the model answers with {targets} values a row; one can be served")
    return Answer(False)


assert set(LABELLING) <= {*_BINARY, *_MULTI}
