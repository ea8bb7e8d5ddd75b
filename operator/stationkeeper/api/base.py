"""Building blocks of the API types: the base classes, bounded scalars, durations, canonical JSON and digests."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from pydantic.alias_generators import to_camel

_DURATION_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FAULTS = 3  # that are told of an object
# Faults that the validator tells in words of Python, by its name for them.
_PLAIN = {
    "extra_forbidden": "there is no such field",
    "model_type": "must be an object with fields of its own",
    "missing": "is required",
}
DURATION_PATTERN = r"^([0-9]{1,6}(ms|s|m|h|d))+$"


class ApiModel(BaseModel):
    """A type of the API: camelCase on the wire, immutable in memory, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def wire(self) -> dict[str, Any]:
        """The plain JSON object as it goes to the API server, to a job or to the store; unset fields are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules of a type, as `(rule, message)`, for the `json_schema_extra` of its model configuration."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def faults(error: ValidationError, at: str = "") -> str:
    """What is wrong with an object that was found `at` a field, the first three faults, for people: `spec.windw: there is no such field`."""
    found = error.errors(include_url=False)
    told = []
    for fault in found[:_FAULTS]:
        field = ".".join(str(part) for part in (at, *fault["loc"]) if part != "")
        told.append(f"{field}: {_PLAIN.get(fault['type']) or fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(told) + (f"; and {len(found) - _FAULTS} more" if len(found) > _FAULTS else "")


class Tolerant(ApiModel):
    """A type that another version of us may have written: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


def _undefaulted(schema: dict[str, Any]) -> None:
    """Take the defaults out of a schema: the API server would write down again what was left out."""
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class Sparse(Tolerant):
    """A type that says only what is: a field that is as its default says is left out, and read as that default again."""

    model_config = ConfigDict(json_schema_extra=_undefaulted)

    @model_serializer(mode="wrap")
    def _said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        silent = {
            name for name, field in fields.items() if self.__dict__.get(name) == field.get_default() and not field.is_required()
        }
        names = silent | {fields[name].alias for name in silent}
        return {name: value for name, value in dump(self).items() if name not in names}


def parse_duration(text: str) -> timedelta:
    """Turn `"1h30m"` into a timedelta.

    Raises:
        ValueError: when the text is not a sequence of number and unit (ms, s, m, h, d).
    """
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"not a duration: {text!r}; write for example 30s, 15m, 6h or 60d")
    return timedelta(seconds=sum(int(n) * _UNIT_SECONDS[unit] for n, unit in _DURATION_PART.findall(text)))


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC; whole seconds as Kubernetes writes them, a fraction only where there is one."""
    text = _utc(value).isoformat()
    return text.replace("+00:00", "Z")


Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32)]
# Windows of traffic are whole minutes, so that flush intervals divide them.
WindowLength = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}(m|h|d)$", max_length=6)]
# Five fields; the meaning (minute 61) is checked by the operator and told in status.
Cron = Annotated[str, Field(pattern=r"^[-0-9*/,?A-Za-z]+( [-0-9*/,?A-Za-z]+){4}$", max_length=100)]
S3Uri = Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()=/-]*)?$", max_length=512)]
# An image by its tag, with the host whose API is asked: a first part without a dot or a port would be no host but a name.
ImageTag = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]{1,5})?|[A-Za-z0-9-]+:[0-9]{1,5}|localhost)"
        r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$",
        max_length=512,
    ),
]
SecretName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=128)]
ScorerName = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=64,
        description="A scikit-learn scorer, greater is better: roc_auc, neg_log_loss, r2 ...",
    ),
]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
Time = Annotated[datetime, AfterValidator(_utc), PlainSerializer(format_time, return_type=str, when_used="json")]


def canonical_json(value: Any) -> bytes:
    """The one byte sequence of a JSON value: sorted keys, no spaces, UTF-8. Digests are made of it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """The digest of bytes in the form `sha256:<64 hex digits>`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def short(digest: str) -> str:
    """The first twelve hex digits of a digest, for names and messages."""
    return digest.removeprefix("sha256:")[:12]
