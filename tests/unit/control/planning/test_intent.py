"""What counts as another training: only what a person has written of it."""

import copy
from typing import Any

import pytest

from stationkeeper.api.training import Training
from stationkeeper.control.planning.intent import training_digest

SPEC: dict[str, Any] = {
    "estimator": {"class": "sklearn.linear_model.LogisticRegression", "params": {"C": 0.5}},
    "data": {"uri": "s3://models/flights/", "target": "late", "timestamp": "at", "window": "60d", "features": ["x"]},
    "evaluation": {"holdout": {"fraction": 0.3}, "gates": [{"metric": "roc_auc", "min": 0.6, "maxDrop": 0.01}]},
}
CONTAINER: dict[str, Any] = {
    "container": {"image": "team/trainer:1", "task": "Regression", "pullSecrets": ["a"]},
    "data": {"uri": "s3://models/flights/", "target": "late"},
    "evaluation": {"gates": [{"metric": "r2", "min": 0.6}]},
}
SEARCH = {"params": {"C": [0.1, 1]}}


def digest(spec: dict[str, Any], **changes: Any) -> str:
    changed = copy.deepcopy(spec)
    for path, value in changes.items():
        *parents, last = path.split("__")
        where = changed
        for part in parents:
            where = where[part]
        where[last] = value
    return training_digest(Training.model_validate({name: value for name, value in changed.items() if value is not None}))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SPEC, "sha256:747ba34ea561893860a83c4fa61f8cc0d36856337a224e0f0ba700c124ae4159"),
        (CONTAINER, "sha256:a8f9d38d013b9b446d9b64e6079e276be44aea8032355511289c6a8ce945bc6f"),
    ],
)
def test_a_digest_never_changes_by_itself(spec: dict[str, Any], expected: str) -> None:
    """Written down, because a new one would have every Model of every user trained again."""
    assert digest(spec) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"estimator__params": {"C": 1.0}},
        {"search": SEARCH},
        {"data__window": "90d"},
        {"data": SPEC["data"] | {"window": None, "windows": ["60d", "365d"]}},
    ],
)
def test_another_training(changes: dict[str, Any]) -> None:
    assert digest(SPEC, **changes) != digest(SPEC)


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation__gates": [{"metric": "roc_auc", "min": 0.1, "maxDrop": 0.5, "segments": ["carrier"]}]},
        {"evaluation__budget": {"latency": "5ms"}},
        {"evaluation__holdout": {"uri": "s3://models/frozen/"}},
        {"schedule": "0 3 * * 0"},
        {"timeLimit": "4h"},
    ],
)
def test_the_same_training(changes: dict[str, Any]) -> None:
    assert digest(SPEC, **changes) == digest(SPEC)


def test_the_time_that_a_search_may_take_is_not_what_is_searched() -> None:
    longer = digest(SPEC, search=SEARCH | {"timeLimit": "2h"})
    assert longer == digest(SPEC, search=SEARCH)
    assert digest(SPEC, search=SEARCH | {"trials": 5}) != longer
