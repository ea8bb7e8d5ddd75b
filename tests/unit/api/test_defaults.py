"""A default is one default: the API server's and the types' are the same, and writing what was read changes nothing."""

import pytest

from stationkeeper.api.crd import schema_of
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.model import ModelSpec
from tests.support import world
from tests.unit.api import schemas

TYPES = schemas.api_types()
OPTIONAL = [type_ for type_ in TYPES if not any(field.is_required() for field in type_.model_fields.values())]


def test_the_walk_finds_the_types():
    assert {ModelSpec, DriftPolicySpec} < set(TYPES)
    assert len(OPTIONAL) > 10


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.__name__)
def test_the_api_server_fills_in_what_the_type_would(type_):
    filled = schemas.defaulted(schema_of(type_), {})
    assert filled == type_.model_construct().model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize("type_", OPTIONAL, ids=lambda type_: type_.__name__)
def test_what_is_filled_in_is_valid(type_):
    assert type_.model_validate(schemas.defaulted(schema_of(type_), {})) == type_()


SPECS = {"Model": (ModelSpec, world.model()["spec"]), "DriftPolicy": (DriftPolicySpec, world.policy()["spec"])}


@pytest.mark.parametrize("kind", SPECS)
def test_a_spec_reads_the_same_before_and_after_the_api_server(kind):
    type_, spec = SPECS[kind]
    filled = schemas.defaulted(schema_of(type_), spec)
    assert type_.model_validate(filled) == type_.model_validate(spec)
    assert type_.model_validate(spec).wire() == filled


@pytest.mark.parametrize("kind", SPECS)
def test_writing_and_reading_change_nothing(kind):
    type_, spec = SPECS[kind]
    once = type_.model_validate(spec)
    assert type_.model_validate(once.wire()) == once
    assert type_.model_validate_json(once.model_dump_json(by_alias=True)) == once
