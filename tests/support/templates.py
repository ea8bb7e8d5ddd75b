"""The templates of workloads of the documentation, as they stand there."""

import re

import yaml

from hack.cluster.paths import REPOSITORY
from stationkeeper.control.resources.templates import WorkloadTemplate


def documented() -> dict[str, dict]:
    page = (REPOSITORY / "docs/reference/workloads.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    return {block["name"]: block for block in blocks if "plural" in block}


def template(name: str) -> WorkloadTemplate:
    return WorkloadTemplate.model_validate(documented()[name])
