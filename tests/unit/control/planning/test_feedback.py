"""What the operator tells a training of labels, and which edits of the data are a change of code."""

import json
from typing import Any

import pytest

from stationkeeper.api.training import Training
from stationkeeper.control.planning.intent import training_digest
from tests.support.world import World, model

LABELS = {"uri": "s3://data/labels/", "lag": "2d"}
DATA = {"uri": "s3://data/flights/", "target": "late", "timestamp": "departed_at"}


def told(data: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the first training's pod."""
    flights = model(data=DATA | data)
    flights["spec"]["labels"] = LABELS
    world = World(flights)
    world.settle()
    (container,) = [c for c in world.training_job()["spec"]["template"]["spec"]["initContainers"] if c["name"] == "prepare"]
    (value,) = [variable["value"] for variable in container["env"] if variable["name"] == "STATIONKEEPER_CONFIG"]
    config: dict[str, Any] = json.loads(value)
    return config


def test_a_training_with_feedback_knows_where_labels_arrive():
    config = told({"feedback": {}})
    assert (config["labels"]["uri"], config["labels"]["lag"]) == ("s3://data/labels/", "2d")
    assert config["training"]["data"]["feedback"] == {"sampling": "Even", "incidents": "LeaveOut"}


def test_a_training_without_feedback_is_what_it_always_was():
    assert "labels" not in told({})


def digest(**data: Any) -> str:
    return training_digest(Training.model_validate(model()["spec"]["training"] | {"data": DATA | data}))


@pytest.mark.parametrize(
    "data",
    [{"feedback": {}}, {"feedback": {"sampling": "All"}}, {"sources": [{"uri": "s3://data/old/"}]}, {"maxRows": 10_000}],
    ids=str,
)
def test_other_rows_are_a_change_of_code(data: dict[str, Any]):
    assert digest(**data) != digest()


@pytest.mark.parametrize(
    "data",
    [{"sources": []}, {"validation": {}}, {"validation": {"poisonedLabels": "Accept", "maxDuplicateShare": 0.1}}],
    ids=str,
)
def test_defaults_and_what_is_accepted_of_rows_retrain_nobody(data: dict[str, Any]):
    assert digest(**data) == digest()
