"""The outputs of a model as named columns: what profiles count and captured rows keep."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from stationkeeper.api.manifest import Manifest, Task
from stationkeeper.api.meta import COUNTED_CLASSES, OTHER_CLASSES
from stationkeeper.workloads.artifacts.columns import Array
from stationkeeper.workloads.artifacts.runtime import Predictions

LABEL: Final = "label"
PROBABILITY: Final = "probability"  # of the positive class
VALUE: Final = "prediction"  # of a regression
MAX_CLASSES: Final = 64  # of more, captured rows keep no probabilities


class Answering(Protocol):
    """What is known of a model's answers: its manifest, or the schema that becomes one."""

    @property
    def task(self) -> Task:
        """See `Task`."""

    @property
    def classes(self) -> list[str]:
        """Class labels in the order of the probabilities."""

    @property
    def positive_label(self) -> str | None:
        """The positive class, where one was named."""


def positive(model: Answering) -> str:
    """The class that counts as positive in a binary task."""
    return model.positive_label or model.classes[-1]


def probability_of(label: str) -> str:
    """The column with the probability of one class of many."""
    return f"{PROBABILITY}.{label}"


def watched(model: Answering, answers: Predictions) -> dict[str, Array]:
    """The outputs whose distribution drift checks watch: `prediction`, or `label` and, of binary models, `probability`.

    Training makes the reference profile of them and serving counts them, so both agree on names and the positive class.
    """
    if answers.values is not None:
        return {VALUE: answers.values}
    assert answers.labels is not None
    found: dict[str, Array] = {LABEL: answers.labels}
    if model.task is Task.BINARY and answers.probabilities is not None:
        found[PROBABILITY] = answers.probabilities[:, model.classes.index(positive(model))]
    return found


def kept(manifest: Manifest, answers: Predictions) -> dict[str, Array]:
    """The outputs that captured rows keep: those that are watched and, of models of at most 64 classes, every probability."""
    found = watched(manifest, answers)
    if manifest.task is Task.MULTICLASS and answers.probabilities is not None and len(manifest.classes) <= MAX_CLASSES:
        found |= {probability_of(name): answers.probabilities[:, i] for i, name in enumerate(manifest.classes)}
    return found


def moved(classes: Sequence[str], ours: Array, theirs: Array) -> dict[str, float]:
    """By class, as serving pods count them: the share of the same rows that we give it, less the share that they give it.

    Half of the absolute values' sum is the total variation distance. Classes that did not move are left out.

    Parameters:
        classes: in the order of the manifest.
        ours, theirs: class labels, one for each row.
    """
    found = {name: float(np.mean(ours == name) - np.mean(theirs == name)) for name in classes[:COUNTED_CLASSES]}
    found[OTHER_CLASSES] = found.get(OTHER_CLASSES, 0.0) - sum(found.values())  # shares add up to one on both sides
    return {name: round(difference, 6) for name, difference in found.items() if abs(difference) > 1e-9}
