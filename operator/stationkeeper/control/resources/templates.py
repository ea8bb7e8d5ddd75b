"""Templates of workloads: what the administrator lets Models train with across machines, and how a Model fills one in. Pure.

A template is a whole object of the cluster (`object`) with places `${name}` in its values. A value that is nothing but a place
takes the filled value as it is, a number, a truth or a list; inside of a text, or as `${name|text}`, it becomes text. Nothing is parsed again after it was
filled in, so what a Model gives can never become structure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from stationkeeper.api.base import ApiModel
from stationkeeper.api.training import TrainingWorkload

_PLACE = re.compile(r"\$\{([A-Za-z][A-Za-z0-9.]*)(\|text)?\}")
# What the operator itself fills in; parameters have no dot in their names.
GIVEN = frozenset(
    {
        "model.name",
        "model.namespace",
        "training.episode",
        "training.attempt",
        "exchange.image",
        "exchange.pullPolicy",
        "exchange.env",
    }
)

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class MisfitError(ValueError):
    """A Model names a template or a value that cannot be; the message names the field and what would do."""


class Parameter(ApiModel):
    """One value that a Model may give, as text, and what it must be."""

    name: Annotated[str, Field(pattern=r"^[a-z][A-Za-z0-9]*$", max_length=63)]
    type: Literal["string", "integer", "number", "boolean"] = "string"
    default: Annotated[str | None, Field(max_length=1024)] = None  # without it a Model must give one
    pattern: Annotated[str | None, Field(max_length=512)] = None  # regular expression that the whole text must match
    minimum: float | None = None
    maximum: float | None = None
    values: Annotated[list[str] | None, Field(min_length=1, max_length=64)] = None  # one of these

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from error
        if self.default is not None:
            self.read(self.default)
        return self

    def read(self, text: str) -> str | int | float | bool:
        """The value that a text stands for.

        Raises:
            MisfitError: when it is none that is allowed.
        """
        value = self._typed(text)
        if self.values is not None and text not in self.values:
            raise MisfitError(f"{text!r} is none of {', '.join(self.values)}")
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            raise MisfitError(f"{text!r} does not match {self.pattern}")
        low, high = self.minimum, self.maximum
        if isinstance(value, int | float) and ((low is not None and value < low) or (high is not None and value > high)):
            raise MisfitError(f"{text} is outside of {'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}")
        return value

    def _typed(self, text: str) -> str | int | float | bool:
        match self.type:
            case "integer" if re.fullmatch(r"-?[0-9]{1,15}", text):
                return int(text)
            case "number" if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text):
                return float(text)
            case "boolean" if text in ("true", "false"):
                return text == "true"
            case "string":
                return text
        raise MisfitError(f"{text!r} is no {self.type}")


class Ending(ApiModel):
    """How the object tells that it has ended, where it has no condition `Failed` or `Complete`: the text at a path of its status."""

    path: Annotated[str, Field(pattern=r"^status(\.[A-Za-z][A-Za-z0-9]*){1,5}$", max_length=253)]  # as in status.jobStatus
    failed: Annotated[list[str], Field(min_length=1, max_length=16)]
    complete: Annotated[list[str], Field(min_length=1, max_length=16)]


class WorkloadTemplate(ApiModel):
    """One way to train across machines."""

    name: Name
    plural: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$", max_length=63)]  # the kind in paths, as in rayjobs
    namespaces: Annotated[list[Name], Field(max_length=1000)] = []  # where Models may name it; empty: everywhere
    parameters: Annotated[list[Parameter], Field(max_length=32)] = []
    endings: Annotated[list[Ending], Field(max_length=4)] = []  # the first that says something counts
    object: dict[str, JsonValue]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not all(isinstance(self.object.get(field), str) for field in ("apiVersion", "kind")):
            raise ValueError("object needs apiVersion and kind")
        known = {parameter.name for parameter in self.parameters}
        if len(known) != len(self.parameters):
            raise ValueError("a parameter's name appears twice")
        if strange := sorted(set(_places(self.object)) - known - GIVEN):
            raise ValueError(f"object has places that nothing fills: {', '.join(strange)}; parameters are {sorted(known)}")
        return self

    @property
    def api_version(self) -> str:
        """Group and version of the object."""
        return str(self.object["apiVersion"])

    @property
    def kind(self) -> str:
        """Kind of the object."""
        return str(self.object["kind"])

    def filled(self, values: Mapping[str, JsonValue]) -> dict[str, Any]:
        """The object with `values` in its places; each place must have one."""
        found: dict[str, Any] = _fill(self.object, values)
        return found


def chosen(templates: Mapping[str, WorkloadTemplate], workload: TrainingWorkload, namespace: str) -> WorkloadTemplate:
    """The template that a Model names.

    Raises:
        MisfitError: when there is none for it.
    """
    template = templates.get(workload.template)
    if template is None or (template.namespaces and namespace not in template.namespaces):
        open_to = sorted(t.name for t in templates.values() if not t.namespaces or namespace in t.namespaces)
        known = (
            f"this namespace may use: {', '.join(open_to)}"
            if open_to
            else "the operator's configuration has none for this namespace"
        )
        raise MisfitError(f"spec.training.workload.template: there is no template {workload.template!r}; {known}")
    return template


def values_of(template: WorkloadTemplate, workload: TrainingWorkload) -> dict[str, JsonValue]:
    """The values of a template's parameters: what the Model gives, else the default.

    Raises:
        MisfitError: when one is missing, unknown or not allowed.
    """
    where = "spec.training.workload.parameters"
    known = {parameter.name for parameter in template.parameters}
    if strange := sorted(set(workload.parameters) - known):
        raise MisfitError(f"{where}.{strange[0]}: template {template.name} has no such parameter; it has {sorted(known)}")
    found: dict[str, JsonValue] = {}
    for parameter in template.parameters:
        text = workload.parameters.get(parameter.name, parameter.default)
        if text is None:
            raise MisfitError(f"{where}.{parameter.name}: template {template.name} needs a value")
        try:
            found[parameter.name] = parameter.read(text)
        except MisfitError as error:
            raise MisfitError(f"{where}.{parameter.name}: {error}") from error
    return found


def _places(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield from (place[1] for place in _PLACE.finditer(value))
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _places(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _places(entry)


def _fill(value: JsonValue, values: Mapping[str, JsonValue]) -> Any:
    if isinstance(value, str):
        whole = _PLACE.fullmatch(value)
        return values[whole[1]] if whole and not whole[2] else _PLACE.sub(lambda place: _text(values[place[1]]), value)
    if isinstance(value, Mapping):
        return {key: _fill(entry, values) for key, entry in value.items()}
    if isinstance(value, list):
        return [_fill(entry, values) for entry in value]
    return value


def _text(value: JsonValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
