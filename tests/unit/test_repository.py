"""What the repository promises about itself: its source root, its locked dependencies, its one version."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stationkeeper
from stationkeeper.control.controllers.settings import parse

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
SHIPPED = [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
DEVELOPMENT = PROJECT["dependency-groups"]["dev"]
SPEAK_FOR_THEMSELVES = {"mypy", "pytest", "pytest-asyncio", "ruff", "types-PyYAML"}  # tools that every Python project has


def name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def pins(lock: Path) -> dict[str, str]:
    """Version by name."""
    text = lock.read_text(encoding="utf-8")
    return {canonicalize_name(found[1]): found[2] for found in re.finditer(r"^([A-Za-z0-9._-]+)==([^ ]+)", text, re.MULTILINE)}


def reason(requirement: str) -> str:
    """What stands beside a dependency in pyproject.toml."""
    beside = re.search(
        rf'^\s*"{re.escape(requirement)}",[ \t]*# (.+)$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    return beside[1] if beside else ""


def test_the_source_root_is_no_package():
    # As a package it would stand before the `operator` of the standard library.
    assert [path.name for path in (ROOT / "operator").iterdir() if path.suffix == ".py"] == []
    assert Path(stationkeeper.__file__).parent == ROOT / "operator" / "stationkeeper"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_line_of_a_lock_is_a_version_or_its_hash(lock):
    entries = re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").strip())
    entry = re.compile(r"[a-z0-9._-]+==[^\s;]+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+")
    assert len(entries) > 20
    assert [text.splitlines()[0] for text in entries if not entry.fullmatch(text)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_address(lock):
    assert re.findall(r".*(?:://|--(?:extra-)?index|--find-links|git\+).*", lock.read_text(encoding="utf-8")) == []


def test_no_file_says_where_packages_come_from():
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    tracked = [ROOT / line for line in files.stdout.split("\0") if line]
    assert len(tracked) > 100
    assert [path.name for path in tracked if path.name in ("pip.conf", "pip.ini", ".pypirc", ".npmrc", ".netrc", "uv.toml")] == []
    address = re.compile(
        rb"(?:index-url|index_url|INDEX_URL|UV_INDEX\w*|GOPROXY|find-links)[\"']?[ \t]*[=:]?[ \t]*[\"']?https?://"
    )
    assert [str(path) for path in tracked if path.is_file() and address.search(path.read_bytes())] == []


@pytest.mark.parametrize("requirement", SHIPPED, ids=name)
def test_a_shipped_dependency_has_a_reason_and_a_size_beside_it(requirement):
    assert re.search(r"\w{3,}.*\([^()]*\d+ [kM]B\b", reason(requirement)), "what it is for, and its installed size"


@pytest.mark.parametrize("requirement", DEVELOPMENT, ids=name)
def test_a_dependency_of_development_has_a_reason_beside_it(requirement):
    assert reason(requirement) or Requirement(requirement).name in SPEAK_FOR_THEMSELVES


WANTED = {
    "operator.txt": PROJECT["project"]["dependencies"],
    "workloads.txt": [*PROJECT["project"]["dependencies"], *EXTRAS["workloads"]],
    "dev.txt": [*SHIPPED, *DEVELOPMENT],
}


def test_there_is_a_lock_for_each_image_and_for_development():
    assert {lock.name for lock in LOCKS} == set(WANTED)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_what_is_asked_for(lock):
    pinned = pins(lock)
    wanted = {name(line): Requirement(line).specifier for line in WANTED[lock.name]}
    assert [one for one, versions in wanted.items() if one not in pinned or pinned[one] not in versions] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_the_images_get_the_versions_that_are_tested(lock):
    assert pins(lock).items() <= pins(ROOT / "requirements" / "dev.txt").items()


@pytest.mark.parametrize("heavy", ["numpy", "boto3", "botocore", "polars", "scikit-learn", "onnxruntime", "pandas", "scipy"])
def test_the_operators_image_is_slim(heavy):
    assert heavy not in pins(ROOT / "requirements" / "operator.txt")


def test_there_is_one_version():
    chart = yaml.safe_load((ROOT / "charts" / "stationkeeper" / "Chart.yaml").read_text(encoding="utf-8"))
    image = parse([]).workloads_image.rpartition(":")[2]
    said = {PROJECT["project"]["version"], stationkeeper.__version__, chart["version"], chart["appVersion"], image}
    assert said == {stationkeeper.__version__}
