"""From the API types to CustomResourceDefinitions: structural schemas, defaults, CEL rules, columns.

`python -m stationkeeper.api.crd DIRECTORY` writes one YAML file per kind. The types are the truth; the files are output.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from stationkeeper.api.driftpolicy import DriftPolicy, DriftPolicySpec, DriftPolicyStatus
from stationkeeper.api.meta import GROUP, VERSION
from stationkeeper.api.model import Model, ModelSpec
from stationkeeper.api.revision import ModelRevision, ModelRevisionSpec
from stationkeeper.api.status import ModelStatus

JsonObject = dict[str, Any]

# Lists that are maps in truth: server-side apply then merges, and the API server refuses doubles.
_MAP_KEYS = {"conditions": "type", "checks": "policyUID", "columns": "name", "quarantine": "digest", "queries": "name"}
_SET_FIELDS = {"features", "causes"}


@dataclass(frozen=True)
class Column:
    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""

    def wire(self) -> JsonObject:
        """The printer column as the CRD wants it."""
        column: JsonObject = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.priority:
            column["priority"] = self.priority
        return column | ({"description": self.description} if self.description else {})


@dataclass(frozen=True)
class Kind:
    """What a CRD says beyond its schema."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    description: str
    spec: type[BaseModel]
    status: type[BaseModel] | None
    columns: tuple[Column, ...]
    rules: tuple[tuple[str, str], ...] = ()
    scale: JsonObject | None = None


def _condition(condition: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{condition}")].{field}'


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_NAME_RULE = (
    "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
    "a Model's name is a DNS label of at most 40 characters that starts with a letter: it names a Service",
)

KINDS = (
    Kind(
        kind="Model",
        plural="models",
        short_names=("mdl",),
        description=Model.__doc__ or "",
        spec=ModelSpec,
        status=ModelStatus,
        columns=(
            Column("Ready", _condition("Ready")),
            Column("Revision", ".status.serving.number", "integer", description="Number of the revision that serves."),
            Column("Replicas", ".status.readyReplicas", "integer"),
            Column("Drifted", _condition("Drifted")),
            Column("Data", _condition("DataValid", "reason")),
            Column("Training", _condition("Retraining", "reason")),
            Column("Skewed", _condition("Skewed"), priority=1),
            Column("Status", _condition("Ready", "message"), priority=1),
            Column("URL", ".status.url", priority=1),
            _AGE,
        ),
        rules=(_NAME_RULE,),
        scale={
            "specReplicasPath": ".spec.serving.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ),
    Kind(
        kind="DriftPolicy",
        plural="driftpolicies",
        short_names=("dp",),
        description=DriftPolicy.__doc__ or "",
        spec=DriftPolicySpec,
        status=DriftPolicyStatus,
        columns=(
            Column("Ready", _condition("Ready")),
            Column("Models", ".status.models", "integer"),
            Column("Drifted", ".status.drifted", "integer"),
            Column("Schedule", ".spec.schedule"),
            Column("Window", ".spec.window"),
            Column("Action", ".spec.action"),
            Column("Suspended", ".spec.suspend", "boolean", priority=1),
            _AGE,
        ),
    ),
    Kind(
        kind="ModelRevision",
        plural="modelrevisions",
        short_names=("mrev",),
        description=ModelRevision.__doc__ or "",
        spec=ModelRevisionSpec,
        status=None,
        columns=(
            Column("Model", ".spec.modelName"),
            Column("Number", ".spec.number", "integer"),
            Column("Outcome", ".spec.outcome", description="Published, or Rejected by the gates."),
            Column("Cause", ".spec.cause"),
            Column("Reason", ".spec.reason", description="Why it was judged so."),
            Column("Data through", ".spec.dataThrough"),
            Column("Digest", ".spec.digest", priority=1),
            Column("Evidence", ".spec.evidence", priority=1),
            Column("Why", ".spec.message", priority=1),
            _AGE,
        ),
    ),
)


def _resolve(node: Any, definitions: JsonObject) -> Any:
    """Inline references and drop what a structural schema may not hold."""
    if isinstance(node, list):
        return [_resolve(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _resolve({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    if "anyOf" in node:  # Optional[X] is X, not required
        (choice,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        rest = {key: value for key, value in node.items() if key != "anyOf" and not (key == "default" and value is None)}
        return _resolve({**choice, **rest}, definitions)
    return _structural({key: _resolve(value, definitions) for key, value in node.items() if key != "$defs"})


def _structural(schema: JsonObject) -> JsonObject:
    kept = {key: value for key, value in schema.items() if key not in ("title", "const", "propertyNames")}
    if "const" in schema:
        kept |= {"type": "string", "enum": [schema["const"]]}
    if kept.get("additionalProperties") is False:
        del kept["additionalProperties"]  # the API server prunes or refuses unknown fields by itself
    if "maxLength" in kept and kept.get("format") == "date-time":
        del kept["maxLength"]
    if kept.get("type") == "integer":
        kept.setdefault("format", "int64")
    if isinstance(kept.get("default"), dict):
        full = "x-kubernetes-validations" in kept  # rules are checked before the defaults inside are filled in
        properties = {} if full else kept.get("properties", {})
        kept["default"] = _own_default(kept["default"], properties)
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in kept:  # a number in today's JSON Schema, a boolean in Kubernetes' dialect
            kept |= {bound: kept[exclusive], exclusive: True}
    for inside in ("additionalProperties", "items"):
        if kept.get(inside) == {}:  # free JSON values
            kept[inside] = {"x-kubernetes-preserve-unknown-fields": True}
    if isinstance(values := kept.get("additionalProperties"), dict):
        kept["additionalProperties"] = _listed("", values)
    if isinstance(fields := kept.get("properties"), dict):
        kept["properties"] = {name: _listed(name, value) for name, value in fields.items()}
    return kept


def _own_default(default: JsonObject, properties: JsonObject) -> JsonObject:
    """What a default says beyond the defaults of the fields inside, which the API server fills in by itself."""
    own = {}
    for name, value in default.items():
        inside = properties.get(name, {}).get("default")
        said = _own_default(value, properties.get(name, {}).get("properties", {})) if isinstance(value, dict) else value
        if said is not None and said != inside and value != inside:
            own[name] = said
    return own


def _listed(name: str, schema: JsonObject) -> JsonObject:
    if schema.get("type") == "object" and "properties" not in schema and "maxProperties" not in schema:
        raise ValueError(f"the map {name} has no bound: give its field a max_length")
    if schema.get("type") != "array":
        return schema
    if "maxItems" not in schema:
        raise ValueError(f"the list {name} has no bound: give its field a max_length")
    if name in _MAP_KEYS:
        return schema | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [_MAP_KEYS[name]]}
    unique = name in _SET_FIELDS and schema["items"].get("type") != "object"  # a set holds scalars only
    return schema | {"x-kubernetes-list-type": "set" if unique else "atomic"}


def schema_of(type_: type[BaseModel]) -> JsonObject:
    """The structural OpenAPI v3 schema of an API type.

    Raises:
        ValueError: when a list or map has no bound (CEL's cost would be unbounded).
    """
    raw = type_.model_json_schema(by_alias=True, mode="validation")
    schema: JsonObject = _resolve(raw, raw.get("$defs", {}))
    return schema


def definition(kind: Kind) -> JsonObject:
    """The complete CustomResourceDefinition of one kind."""
    properties: JsonObject = {
        "apiVersion": {"type": "string", "description": "Version of the API that this object is written in."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object"},
        "spec": schema_of(kind.spec) | {"description": "What people want."},
    }
    subresources: JsonObject = {}
    if kind.status:
        properties["status"] = schema_of(kind.status) | {"description": "What is, written by the operator alone."}
        subresources["status"] = {}
    if kind.scale:
        subresources["scale"] = kind.scale
    schema: JsonObject = {"type": "object", "description": kind.description, "required": ["spec"], "properties": properties}
    if kind.rules:
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in kind.rules]
    version: JsonObject = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [column.wire() for column in kind.columns],
    }
    if subresources:
        version["subresources"] = subresources
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "shortNames": list(kind.short_names),
        "categories": ["ml", "stationkeeper"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "stationkeeper"}},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def render(kind: Kind) -> str:
    """The YAML text of the kind's CRD, as it is committed."""
    head = "# Generated from operator/stationkeeper/api by `make crds`. Do not edit.\n"
    return head + yaml.safe_dump(definition(kind), sort_keys=False, width=120, allow_unicode=True)


def main() -> None:
    """Write the CRDs of all kinds into a directory."""
    parser = argparse.ArgumentParser(description="Write the CustomResourceDefinitions of all kinds.")
    parser.add_argument("directory", type=Path, help="where the files go, one per kind")
    directory: Path = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        (directory / f"{kind.plural}.yaml").write_text(render(kind), encoding="utf-8")


if __name__ == "__main__":
    main()
