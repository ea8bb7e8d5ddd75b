"""What a published file is asked, and what it answers: read from the file itself and from the spec, never guessed from rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from stationkeeper.api.manifest import Binding, Column, ColumnKind, Task
from stationkeeper.api.source import Source, SourceFeature
from stationkeeper.workloads.training.ending import AttemptEnded, invalid

ClassKind = Literal["string", "integer", "boolean"]

_KINDS: Final = {
    "Number": (ColumnKind.NUMERIC, False),
    "Integer": (ColumnKind.NUMERIC, True),
    "Text": (ColumnKind.CATEGORICAL, False),
    "Boolean": (ColumnKind.BOOLEAN, False),
}


@dataclass(frozen=True, slots=True)
class Signature:
    """A file, understood: its meaning (`runtime.Meaning`), and how it is asked."""

    task: Task
    features: list[Column]
    binding: Binding
    classes: list[str] = field(default_factory=list)
    class_kind: ClassKind = "string"
    positive_label: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a file says of its answers; `labels` as it says them itself, None where it does not name its classes."""

    classifies: bool
    labels: list[str] | None = None
    kind: ClassKind = "string"
    count: int | None = None  # of the classes, where the shape of its answers tells


def mismatch(message: str) -> AttemptEnded:
    """The file and the spec do not fit together."""
    return invalid("SignatureMismatch", message)


def unusable(message: str) -> AttemptEnded:
    """The file is no model that can be served."""
    return invalid("InvalidModel", message)


def column(feature: SourceFeature) -> Column:
    """A column of the spec."""
    kind, integer = _KINDS[feature.type]
    return Column(name=feature.name, kind=kind, integer=integer)


def named(names: Sequence[str], source: Source, what: str) -> list[Column]:
    """The columns of a file that names or only counts them; those of the spec where it gives any.

    Raises:
        AttemptEnded: InvalidData with SignatureMismatch.
    """
    if source.features is None:
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice or not names:
            raise mismatch(f"{what} names {'no column' if not names else f'the column {twice[0]!r} twice'}; list source.features")
        return [Column(name=name, kind=ColumnKind.NUMERIC) for name in names]
    if len(source.features) != len(names):
        raise mismatch(f"{what} wants {len(names)} columns, and source.features lists {len(source.features)}")
    return [column(feature) for feature in source.features]


def numbers_only(features: list[Column], library: str) -> list[Column]:
    """The columns of a model that is given one matrix of numbers; booleans are 0 and 1 in it.

    Raises:
        AttemptEnded: InvalidData with SignatureMismatch.
    """
    text = next((feature.name for feature in features if feature.kind is ColumnKind.CATEGORICAL), None)
    if text is not None:
        raise mismatch(f"{library} takes numbers, and source.features says that {text!r} is text")
    return features


def signature(source: Source, features: list[Column], binding: Binding, answer: Answer) -> Signature:
    """Put together what the file and the spec say.

    Raises:
        AttemptEnded: InvalidData with SignatureMismatch, when they contradict each other or say too little.
    """
    if len({feature.name for feature in features}) < len(features):
        raise mismatch("source.features names a column twice")
    if source.target in {feature.name for feature in features}:
        raise mismatch(f"the file takes a column {source.target!r}, which source.target says it predicts; correct source.target")
    classifies = answer.classifies if source.task is None else source.task == "Classification"
    if not classifies:
        if answer.labels is not None:
            raise mismatch("the file answers with classes, and source.task says Regression")
        return Signature(Task.REGRESSION, features, binding)
    labels = answer.labels or _numbered(source, answer)
    classes = source.classes or labels
    if len(classes) != len(labels):
        raise mismatch(f"the file has {len(labels)} classes, and source.classes lists {len(classes)}")
    if len(set(classes)) < len(classes) or len(classes) < 2:
        raise mismatch(f"classes must be at least two, each of another name: {', '.join(classes[:5])}")
    if source.positive_label is not None and source.positive_label not in classes:
        raise mismatch(f"source.positiveLabel {source.positive_label!r} is not a class; the classes are {', '.join(classes[:5])}")
    binary = len(classes) == 2
    return Signature(
        Task.BINARY if binary else Task.MULTICLASS,
        features,
        binding.model_copy(update={"labels": labels}),
        list(classes),
        "string" if source.classes else answer.kind,
        (source.positive_label or classes[1]) if binary else None,
    )


def _numbered(source: Source, answer: Answer) -> list[str]:
    """Classes without names are their positions."""
    count = answer.count or (len(source.classes) if source.classes else None)
    if count is None:
        raise mismatch("the file does not say which classes it knows; list source.classes in the order of its probabilities")
    return [str(position) for position in range(max(count, 2))]
