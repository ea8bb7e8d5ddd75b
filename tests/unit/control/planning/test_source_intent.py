"""What makes a model another one, and what does not."""

import pytest
from pydantic import ValidationError

from stationkeeper.api.model import ModelSpec
from stationkeeper.control.planning.intent import intent_digest, training_digest
from tests.support.world import model, sourced


def spec(**source) -> ModelSpec:
    return ModelSpec.model_validate(sourced(**source)["spec"])


BEFORE = intent_digest(spec())
GATES = {"uri": "s3://rows/x/", "gates": [{"metric": "roc_auc", "min": 0.5}]}


@pytest.mark.parametrize(
    ("change", "another"),
    [
        pytest.param({"uri": "s3://elsewhere/model.onnx"}, False, id="where it lies"),
        pytest.param({"schedule": "0 * * * *"}, False, id="how often it is looked at"),
        pytest.param({"evaluation": GATES}, False, id="what it must prove"),
        pytest.param({"resources": {"requests": {"cpu": "2"}}}, False, id="what its import may use"),
        pytest.param({"target": "target"}, False, id="a default, written out"),
        pytest.param({"format": "skops"}, True, id="what it is"),
        pytest.param({"features": [{"name": "x"}]}, True, id="what it is asked"),
        pytest.param({"task": "Regression"}, True, id="what its answers mean"),
        pytest.param({"classes": ["no", "yes"]}, True, id="what its classes are called"),
    ],
)
def test_a_published_file_is_taken_for_something_else(change, another):
    assert (intent_digest(spec(**change)) != BEFORE) is another


def test_a_trained_model_keeps_the_digest_that_it_had():
    trained = ModelSpec.model_validate(model()["spec"])
    assert intent_digest(trained) == training_digest(trained.trained)


@pytest.mark.parametrize("parts", [(), ("training", "source")])
def test_a_model_comes_about_in_one_way(parts):
    whole = model()["spec"] | sourced()["spec"]
    whole = {name: value for name, value in whole.items() if name in parts or name not in ("training", "source")}
    with pytest.raises(ValidationError, match="exactly one of training and source"):
        ModelSpec.model_validate(whole)
    with pytest.raises(ValueError, match="another pipeline"):
        _ = ModelSpec.model_validate(sourced()["spec"]).trained
