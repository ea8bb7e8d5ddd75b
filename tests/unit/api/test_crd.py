"""The CRDs are what the types say, and every place of them is described and bounded."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from stationkeeper.api.crd import KINDS, schema_of
from tests.unit.api import schemas

ROOT = Path(__file__).parents[3]
FILES = [f"{kind.plural}.yaml" for kind in KINDS]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("crds")
    subprocess.run([sys.executable, "-m", "stationkeeper.api.crd", str(directory)], check=True, timeout=60)
    return directory


@pytest.mark.parametrize("where", ["crds", "charts/stationkeeper/crds"])
def test_the_files_are_those_that_the_types_give(generated, where):
    assert sorted(path.name for path in (ROOT / where).iterdir()) == sorted(FILES)
    stale = [name for name in FILES if (ROOT / where / name).read_bytes() != (generated / name).read_bytes()]
    assert stale == [], "run `make crds`"


def test_a_file_is_yaml_without_anchors_that_says_where_it_comes_from(generated):
    for name in FILES:
        text = (generated / name).read_text(encoding="utf-8")
        assert text.startswith("# Generated from operator/stationkeeper/api by `make crds`. Do not edit.\n")
        assert "&id" not in text
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"


def test_every_field_has_a_description_that_is_a_sentence():
    fields = {path: schema for path, schema in schemas.places().items() if not path.endswith(("[]", "{}"))}
    assert len(fields) > 150, "the walk finds them"
    silent = [path for path, schema in fields.items() if not schema.get("description", "").endswith((".", "..."))]
    assert silent == []


def test_every_kind_has_a_description():
    assert [kind.kind for kind in KINDS if not schemas.root(kind)["description"].strip().endswith(".")] == []


def test_every_list_has_a_bound_and_says_what_kind_of_list_it_is():
    lists = schemas.of_type("array")
    assert len(lists) > 10
    assert [path for path, schema in lists.items() if "maxItems" not in schema] == []
    assert {schema["x-kubernetes-list-type"] for schema in lists.values()} <= {"atomic", "map", "set"}


def test_the_key_of_a_list_that_is_a_map_is_required_of_its_items():
    maps = {p: s for p, s in schemas.of_type("array").items() if s["x-kubernetes-list-type"] == "map"}
    assert maps
    for path, schema in maps.items():
        (key,) = schema["x-kubernetes-list-map-keys"]
        assert key in schema["items"]["required"], path


def test_every_map_has_a_bound():
    maps = {path: schema for path, schema in schemas.of_type("object").items() if "properties" not in schema}
    assert maps
    assert [path for path, schema in maps.items() if "maxProperties" not in schema] == []


def test_every_string_has_a_bound():
    strings = schemas.of_type("string")
    assert len(strings) > 50
    free = [p for p, s in strings.items() if not ("maxLength" in s or "enum" in s or s.get("format") == "date-time")]
    assert free == []


def test_whole_numbers_are_of_64_bits():
    assert {schema["format"] for schema in schemas.of_type("integer").values()} == {"int64"}


def test_nothing_is_of_no_type_but_free_json():
    untyped = {path: schema for path, schema in schemas.places().items() if "type" not in schema}
    assert [path for path, schema in untyped.items() if not schema.get("x-kubernetes-preserve-unknown-fields")] == []


# What a structural schema may not hold; the API server would refuse the CRD, or silently ignore it.
FOREIGN = {"$ref", "$defs", "anyOf", "const", "title", "propertyNames", "patternProperties", "discriminator"}


def test_the_schema_is_structural():
    assert [(path, sorted(FOREIGN & set(schema))) for path, schema in schemas.places().items() if FOREIGN & set(schema)] == []


def test_every_rule_says_what_is_wrong():
    rules = [rule for schema in schemas.places().values() for rule in schema.get("x-kubernetes-validations", [])]
    assert len(rules) > 10
    assert [rule["rule"] for rule in rules if len(rule["message"]) < 20] == []


def test_a_column_shows_a_field_that_there_is():
    known = set(schemas.places())
    for kind in KINDS:
        ours = [column.path.split("[")[0] for column in kind.columns if not column.path.startswith(".metadata")]
        assert [path for path in ours if kind.kind + path not in known] == []


def test_a_list_or_map_without_a_bound_is_not_generated():
    class Endless(BaseModel):
        names: list[str] = []

    class Boundless(BaseModel):
        names: dict[str, str] = {}

    for type_, word in ((Endless, "list"), (Boundless, "map")):
        with pytest.raises(ValueError, match=f"the {word} names has no bound"):
            schema_of(type_)
