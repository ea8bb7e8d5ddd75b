"""What the program says is documented, and what is linked exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stationkeeper.api.conditions import ConditionType, Reason
from stationkeeper.workloads.jobs import _run

ROOT = Path(__file__).parents[2]
CONDITIONS = (ROOT / "docs/reference/conditions.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_ENDINGS = {"invalid", "failed", "Decision", "FailureSummary"}  # calls whose string of one CamelCase word is a reason


def reasons_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ENDINGS:
            for argument in [*node.args[:2], *(k.value for k in node.keywords if k.arg == "reason")]:
                if (
                    isinstance(argument, ast.Constant)
                    and isinstance(argument.value, str)
                    and re.fullmatch(r"([A-Z][a-z]+)+", argument.value)
                ):
                    yield argument.value


def test_every_condition_and_reason_is_documented():
    said = {*Reason, *ConditionType} | {reason for _, reason, _ in _run._FAILURES}
    for part in ("workloads", "control"):
        for path in (ROOT / "operator/stationkeeper" / part).rglob("*.py"):
            said |= set(reasons_in(path))
    assert len(said) > 70, "the search for reasons finds them"
    assert sorted(word for word in said if f"`{word}`" not in CONDITIONS) == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_inside_the_repository_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
