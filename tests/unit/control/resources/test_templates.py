"""Templates of workloads: what may be filled in, and that it stays a value."""

import pytest
from pydantic import ValidationError

from stationkeeper.api.training import TrainingWorkload
from stationkeeper.control.resources.templates import MisfitError, WorkloadTemplate, chosen, values_of
from tests.support.templates import documented, template


def made(**change):
    parameters = [
        {"name": "workers", "type": "integer", "default": "2", "minimum": 1, "maximum": 8},
        {"name": "rate", "type": "number", "default": "0.5"},
        {"name": "spot", "type": "boolean", "default": "false"},
        {"name": "image", "pattern": "team/.+"},
        {"name": "size", "default": "small", "values": ["small", "large"]},
    ]
    spec = {
        "workers": "${workers}",
        "rate": "${rate}",
        "spot": "${spot}",
        "text": "x-${workers}-${spot}-${image}",
        "list": ["${size}", "$HOME", "$${notours", "${workers|text}"],
        "env": "${exchange.env}",
    }
    text = {
        "name": "big",
        "plural": "bigjobs",
        "parameters": parameters,
        "object": {"apiVersion": "x/v1", "kind": "BigJob", "spec": spec},
    }
    return WorkloadTemplate.model_validate(text | change)


def asked(**parameters: str) -> TrainingWorkload:
    return TrainingWorkload(template="big", task="Regression", parameters=parameters)


def test_a_place_alone_takes_the_value_as_it_is_and_within_a_text_it_is_text():
    values = values_of(made(), asked(image="team/a:1", workers="4", spot="true")) | {
        "exchange.env": [{"name": "A", "value": "${image}"}]
    }
    assert made().filled(values)["spec"] == {
        "workers": 4,
        "rate": 0.5,
        "spot": True,
        "text": "x-4-true-team/a:1",
        "list": ["small", "$HOME", "$${notours", "4"],
        "env": [{"name": "A", "value": "${image}"}],
    }


def test_what_a_model_gives_never_becomes_structure_or_another_place():
    hostile = 'team/a", hostPID: true, x: "${exchange.env}'
    filled = made().filled(values_of(made(), asked(image=hostile)) | {"exchange.env": []})
    assert filled["spec"]["text"] == f"x-2-false-{hostile}"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "parameters.image: template big needs a value"),
        ({"image": "other/a"}, "parameters.image: 'other/a' does not match team/.+"),
        ({"image": "team/a", "workers": "9"}, "parameters.workers: 9 is outside of 1..8"),
        ({"image": "team/a", "workers": "0"}, "outside of 1..8"),
        ({"image": "team/a", "workers": "two"}, "'two' is no integer"),
        ({"image": "team/a", "workers": "1e3"}, "'1e3' is no integer"),
        ({"image": "team/a", "rate": "nan"}, "'nan' is no number"),
        ({"image": "team/a", "spot": "yes"}, "'yes' is no boolean"),
        ({"image": "team/a", "size": "huge"}, "'huge' is none of small, large"),
        ({"image": "team/a", "wrokers": "2"}, "parameters.wrokers: template big has no such parameter"),
    ],
)
def test_a_value_that_is_not_allowed_is_told_by_its_field(parameters, words):
    with pytest.raises(MisfitError, match=r"spec\.training") as error:
        values_of(made(), asked(**parameters))
    assert words in str(error.value)


def test_a_template_is_for_its_namespaces():
    templates = {"big": made(namespaces=["ops"])}
    assert chosen(templates, asked(), "ops").name == "big"
    with pytest.raises(MisfitError, match="has none for this namespace"):
        chosen(templates, asked(), "other")
    with pytest.raises(MisfitError, match="this namespace may use: big"):
        chosen(templates, TrainingWorkload(template="gone", task="Regression"), "ops")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"object": {"apiVersion": "x/v1", "kind": "K", "a": "${nobody}"}}, "places that nothing fills: nobody"),
        ({"object": {"kind": "K"}}, "apiVersion and kind"),
        ({"parameters": [{"name": "a", "pattern": "("}]}, "no regular expression"),
        ({"parameters": [{"name": "a", "type": "integer", "default": "x"}]}, "is no integer"),
        ({"parameters": [{"name": "a"}, {"name": "a"}], "object": {"apiVersion": "v1", "kind": "K"}}, "appears twice"),
        ({"nme": "x"}, "nme"),
    ],
)
def test_a_wrong_template_is_refused_at_the_start(change, words):
    with pytest.raises(ValidationError) as error:
        made(**change)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["torch", "kubeflow", "ray"])
def test_the_documented_templates_are_templates(name):
    assert set(documented()) == {"torch", "kubeflow", "ray"}
    wanted = TrainingWorkload(template=name, task="Regression", parameters={"image": "registry.example.com/ops/a:1"})
    values = values_of(template(name), wanted) | dict.fromkeys(
        ("exchange.image", "exchange.pullPolicy", "model.name", "model.namespace", "training.episode"), "x"
    )
    assert "${" not in str(template(name).filled(values | {"exchange.env": [], "training.attempt": 1}))
