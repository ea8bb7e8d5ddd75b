"""The administrator's templates of workloads: read at the start, and what lives of them."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from stationkeeper.control.kube import kinds
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.kube.kinds import Kind, kind_of
from stationkeeper.control.kube.store import Store
from stationkeeper.control.planning import Settings, workload_of
from stationkeeper.control.planning.types import Object
from stationkeeper.control.resources.templates import WorkloadTemplate


class TemplatesError(Exception):
    """The file of templates cannot be used; the message names the entry and the field."""


def read_templates(path: str) -> dict[str, WorkloadTemplate]:
    """The templates of a YAML file `workloads: [{name, plural, parameters, object}]` (docs/reference/workloads.md), and their kinds.

    Raises:
        TemplatesError: when the file cannot be read, or what is in it.
    """
    try:
        entries = (yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}).get("workloads") or []
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise TemplatesError(f"{path}: {error}") from error
    found: dict[str, WorkloadTemplate] = {}
    for position, entry in enumerate(entries):
        template = _read(entry, f"{path}: workloads[{position}]")
        if template.name in found:
            raise TemplatesError(f"{path}: two templates are named {template.name}")
        found[template.name] = template
    return found


def _read(entry: object, where: str) -> WorkloadTemplate:
    try:
        template = WorkloadTemplate.model_validate(entry)
        kinds.register(Kind(template.api_version, template.kind, template.plural))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise TemplatesError(f"{where}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise TemplatesError(f"{where}: {error}") from error
    return template


async def live(gateway: Gateway, store: Store, model: Object, settings: Settings) -> Object | None:
    """What trains across machines for a Model at this moment. It is asked for, for no watch tells of it.

    Raises:
        ApiError: when the request failed.
    """
    wanted = workload_of(model, settings)
    if wanted is None:
        return None
    template, name = wanted
    namespace, known = model["metadata"]["namespace"], store.get(template.kind, model["metadata"]["namespace"], name)
    found = await gateway.get(kind_of(template.kind), namespace, name)
    if found is None:
        if known:
            store.remove(known)
        return None
    found = {**found, "apiVersion": template.api_version, "kind": template.kind}
    store.put(found)
    return found
