"""What a replay is about: the manifest of a Model, or rows alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from stationkeeper.api.base import faults, parse_duration
from stationkeeper.api.model import Labels, ModelSpec
from stationkeeper.cli.cluster import CommandError
from stationkeeper.control.resources.common import Owner

_MANIFESTS: Final = (".yaml", ".yml", ".json")
_ELSEWHERE: Final = "s3://replay/data"  # what a local path is called where an address in S3 must stand
_UID: Final = "backtest"
_LAG: Final = "0s"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say of the rows."""

    timestamp: str | None = None
    predictions: Sequence[str] = ()
    ignore: Sequence[str] = ()
    lag: str | None = None
    endpoint_url: str | None = None
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is replayed. `roles` is None for a Model, whose manifest says what columns are for."""

    owner: Owner
    address: str  # of the rows
    timestamp: str | None
    labels: Labels
    endpoint_url: str | None
    region: str
    roles: Asked | None = None


def subject_of(model: str, data: str | None, asked: Asked) -> Subject:
    """Read MODEL.

    Raises:
        CommandError: when it is neither a Model nor rows; the message names the field and what to do.
    """
    if not model.endswith(_MANIFESTS):
        return _rows_alone(model, data, asked)
    namespace, name, uid, spec, address = _model(Path(model))
    if spec.training is None:
        raise CommandError(
            f"{model}: spec.source says that another pipeline makes this model: only what is trained here can be retrained in a replay"
        )
    if spec.training.data.timestamp is None:
        raise CommandError(f"{model}: spec.training.data.timestamp is not set: without the time of its rows history has no order")
    if spec.training.estimator is None:
        raise CommandError(
            f"{model}: spec.training.estimator is not set: only an estimator can be trained here and now; replay the rows alone, with "
            "the model's answers beside them (--prediction)"
        )
    storage = spec.storage
    # A pin freezes every training: what is asked here is what training would bring.
    owner = Owner(namespace, name, uid, spec.model_copy(update={"revision": None}))
    return Subject(
        owner=owner,
        address=data or address,
        timestamp=spec.training.data.timestamp,
        labels=_labels(spec, asked.lag),
        endpoint_url=asked.endpoint_url or storage.endpoint_url,
        region=asked.region if asked.endpoint_url else storage.region,
    )


def _rows_alone(address: str, data: str | None, asked: Asked) -> Subject:
    if data is not None:
        raise CommandError(f"{address} is rows already: give either a Model with --data, or rows alone")
    spec = ModelSpec.model_validate(
        {
            "storage": {"uri": "s3://replay/model"},
            "training": {
                "estimator": {"class": "sklearn.dummy.DummyClassifier"},  # never fitted
                "data": {"uri": _ELSEWHERE, "target": "\0target", "timestamp": asked.timestamp or "arrived_at"},
                "evaluation": {"gates": [{"metric": "accuracy", "min": 0}]},
            },
        }
    )
    owner = Owner("default", "rows", _UID, spec)
    return Subject(owner, address, asked.timestamp, _labels(spec, asked.lag), asked.endpoint_url, asked.region, roles=asked)


def _model(path: Path) -> tuple[str, str, str, ModelSpec, str]:
    """Namespace, name, uid, spec and the address of the training data, which may be local here."""
    try:
        documents = [found for found in yaml.safe_load_all(path.read_text()) if isinstance(found, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"model {path}: {error}") from error
    models = [found for found in documents if found.get("kind") == "Model"]
    if len(models) != 1:
        raise CommandError(f"model {path}: it holds {len(models)} Models; give a file with exactly one object of kind Model")
    found: dict[str, Any] = models[0]
    address = _localised(found)
    try:
        spec = ModelSpec.model_validate(found.get("spec") or {})
    except ValidationError as error:
        raise CommandError(f"model {path}: {faults(error, 'spec')}; see: kubectl explain model.spec") from error
    meta = found.get("metadata") or {}
    name = str(meta.get("name") or path.stem)[:40]
    return str(meta.get("namespace") or "default"), name, str(meta.get("uid") or _UID), spec, address


def _localised(model: dict[str, Any]) -> str:
    """The address of the training data; a local path gives its place in the spec to an address in S3."""
    try:
        data = model["spec"]["training"]["data"]
        address = str(data["uri"])
    except (KeyError, TypeError):
        return ""  # validation says what lacks
    if not address.startswith("s3://"):
        data["uri"] = _ELSEWHERE
    return address


def _labels(spec: ModelSpec, lag: str | None) -> Labels:
    """How labels come: as the Model says, or with the history, at once."""
    labels = spec.labels or Labels(uri=_ELSEWHERE, lag=_LAG)
    if lag is None:
        return labels
    seconds = int(duration(lag, "--lag").total_seconds())
    return labels.model_copy(update={"lag": f"{seconds // 60}m{seconds % 60}s"})


def duration(text: str, option: str) -> timedelta:
    """A duration with weeks: `90d`, `8w`, `36h`.

    Raises:
        CommandError: when it is none.
    """
    weeks = re.fullmatch(r"([0-9]{1,4})w", text)
    try:
        found = timedelta(weeks=int(weeks[1])) if weeks else parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error} or 8w") from error
    if option != "--lag" and found <= timedelta(0):
        raise CommandError(f"{option} {text}: it must be longer than nothing")
    return found
