"""The schemas of all kinds, walked: each place of a CRD with its path, and the API types behind them."""

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from stationkeeper.api.crd import KINDS, Kind, definition

Schema = dict[str, Any]
OURS = ("spec", "status")  # what stands beside them in an object is Kubernetes' own


def root(kind: Kind) -> Schema:
    (version,) = definition(kind)["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]
    return found


def walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, inside in schema.get("properties", {}).items():
        yield from walk(inside, f"{path}.{name}")
    for key, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], path + sign)


def places() -> dict[str, Schema]:
    """Everything that we define, by its path: `Model.spec.storage.uri`."""
    found: dict[str, Schema] = {}
    for kind in KINDS:
        for part in OURS:
            if part in (properties := root(kind)["properties"]):
                found |= walk(properties[part], f"{kind.kind}.{part}")
    return found


def of_type(name: str) -> dict[str, Schema]:
    return {path: schema for path, schema in places().items() if schema.get("type") == name}


def api_types() -> list[type[BaseModel]]:
    """Every type that a CRD is made of."""
    found: dict[type[BaseModel], None] = {}
    todo: list[Any] = [part for kind in KINDS for part in (kind.spec, kind.status) if part]
    while todo:
        type_ = todo.pop()
        if isinstance(type_, type) and not isinstance(type_, types.GenericAlias) and issubclass(type_, BaseModel):
            if type_ not in found:
                found[type_] = None
                todo += [field.annotation for field in type_.model_fields.values()]
        else:
            todo += typing.get_args(type_)
    return sorted(found, key=lambda type_: type_.__name__)


def defaulted(schema: Schema, value: Any) -> Any:
    """What the API server makes of a value: defaults are filled in from the outside inwards."""
    if isinstance(value, dict):
        filled = dict(value)
        for name, inside in schema.get("properties", {}).items():
            if name not in filled and "default" in inside:
                filled[name] = inside["default"]
        inner = schema.get("properties", {})
        other = schema.get("additionalProperties", {})
        return {name: defaulted(inner.get(name, other), item) for name, item in filled.items()}
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), item) for item in value]
    return value
