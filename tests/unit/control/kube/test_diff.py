"""Whether an object is what it should be: nothing to do must cost no request, and any edit of it must show."""

import copy
from typing import Any

import pytest

from stationkeeper.control.kube.diff import ANNOTATION_APPLIED, Accepted, contains, in_sync, stamped

OWNER = {"apiVersion": "stationkeeper.dev/v1alpha1", "kind": "Model", "name": "flights", "uid": "u", "controller": True}


def desired(**spec: Any) -> dict:
    meta = {"name": "a", "namespace": "ops", "labels": {"team": "ops"}, "ownerReferences": [OWNER]}
    return stamped({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 2, **spec}})


def served(obj: dict, **spec: Any) -> dict:
    """As the API server has it: with its own additions."""
    made = copy.deepcopy(obj)
    made["metadata"] |= {"uid": "d", "resourceVersion": "5", "generation": 1}
    made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    made["spec"] |= {"progressDeadlineSeconds": 600, **spec}
    return made


CONTAINS = [
    ("the same", {"a": 1}, {"a": 1}, True),
    ("what the server added", {"a": 1}, {"a": 1, "b": 2}, True),
    ("another value", {"a": 1}, {"a": 2}, False),
    ("another type", {"a": 1}, {"a": "1"}, False),
    ("a missing field", {"a": 1}, {}, False),
    ("a missing field that is empty", {"a": {}, "b": [], "c": "", "d": None, "e": 0, "f": False}, {}, True),
    ("an empty field that is not", {"a": 0}, {"a": 7}, False),
    ("false that is true", {"a": False}, {"a": True}, False),
    ("lists item by item", {"a": [{"b": 1}, {"c": 2}]}, {"a": [{"b": 1, "x": 0}, {"c": 2}]}, True),
    ("another order", {"a": [1, 2]}, {"a": [2, 1]}, False),
    ("an item more", {"a": [1]}, {"a": [1, 2]}, False),
    ("an item less", {"a": [1, 2]}, {"a": [1]}, False),
    ("a list where a map is wanted", {"a": {"b": 1}}, {"a": [1]}, False),
    ("a map where a list is wanted", {"a": [1]}, {"a": {"b": 1}}, False),
    ("nothing where a map is wanted", {"a": {"b": 1}}, None, False),
]


@pytest.mark.parametrize(("name", "wanted", "live", "there"), CONTAINS, ids=[case[0] for case in CONTAINS])
def test_what_is_wanted_is_there_or_not(name, wanted, live, there):
    assert contains(wanted, live) is there


EDITS = [
    ("nobody edited it", lambda d: None, True),
    ("the server set a default", lambda d: d["spec"].update(strategy={"type": "RollingUpdate"}), True),
    ("somebody labelled it", lambda d: d["metadata"]["labels"].update(theirs="x"), True),
    ("somebody annotated it", lambda d: d["metadata"]["annotations"].update(theirs="x"), True),
    ("it has another owner too", lambda d: d["metadata"]["ownerReferences"].append({"uid": "x"}), True),
    ("somebody scaled it", lambda d: d["spec"].update(replicas=7), False),
    ("a field of ours is gone", lambda d: d["spec"].pop("replicas"), False),
    ("a label of ours is gone", lambda d: d["metadata"].pop("labels"), False),
    ("a label of ours says something else", lambda d: d["metadata"]["labels"].update(team="x"), False),
    ("our annotation is gone", lambda d: d["metadata"].pop("annotations"), False),
    ("its owner is gone", lambda d: d["metadata"].pop("ownerReferences"), False),
    ("its owner does not control it", lambda d: d["metadata"]["ownerReferences"][0].pop("controller"), False),
]


@pytest.mark.parametrize(("name", "edit", "same"), EDITS, ids=[case[0] for case in EDITS])
def test_an_edit_of_what_is_ours_shows(name, edit, same):
    live = copy.deepcopy(served(desired()))
    edit(live)
    assert in_sync(desired(), live) is same


def test_a_field_that_is_wanted_no_more_shows():
    assert not in_sync(desired(), served(desired(paused=True)))


def test_the_stamp_is_of_the_object_and_changes_nothing_else():
    plain = {"kind": "Job", "metadata": {"name": "a", "annotations": {"b": "c"}}, "spec": {"x": 1}}
    before = copy.deepcopy(plain)
    first, second = stamped(plain), stamped({**plain, "spec": {"x": 2}})
    assert plain == before
    assert first["metadata"]["annotations"].keys() == {"b", ANNOTATION_APPLIED}
    assert first["metadata"]["annotations"] != second["metadata"]["annotations"]
    assert first == stamped(copy.deepcopy(plain))


WANTED = desired(cpu="1000m")
ANSWER = served(WANTED, cpu="1")  # the API server's own form
LATER = [
    ("as it was answered", lambda d: None, True),
    (
        "a controller annotated it",
        lambda d: d["metadata"]["annotations"].update({"deployment.kubernetes.io/revision": "2"}),
        True,
    ),
    ("its status changed", lambda d: (d["metadata"].update(resourceVersion="9"), d.update(status={"readyReplicas": 1})), True),
    ("somebody edited the very field", lambda d: d["spec"].update(cpu="2"), False),
    ("somebody edited a field of the server's", lambda d: d["spec"].update(progressDeadlineSeconds=1), False),
    ("a label of ours is gone", lambda d: d["metadata"].pop("labels"), False),
    ("its owner is gone", lambda d: d["metadata"].pop("ownerReferences"), False),
    ("another one has the name", lambda d: d["metadata"].update(uid="other"), False),
]


@pytest.mark.parametrize(("name", "edit", "same"), LATER, ids=[case[0] for case in LATER])
def test_the_servers_own_form_is_believed_until_it_changes(name, edit, same):
    accepted = Accepted()
    assert not accepted.in_sync(WANTED, ANSWER), "before it was asked"
    accepted.remember(WANTED, ANSWER)
    live = copy.deepcopy(ANSWER)
    edit(live)
    assert accepted.in_sync(WANTED, live) is same


def test_another_wish_is_asked_anew():
    accepted = Accepted()
    accepted.remember(WANTED, ANSWER)
    assert not accepted.in_sync(desired(cpu="2000m"), ANSWER)
    accepted.remember(desired(cpu="1"), served(desired(cpu="1")))
    assert not accepted.in_sync(WANTED, ANSWER), "the old answer is forgotten"


def test_answers_are_remembered_up_to_a_bound():
    accepted = Accepted(most=2)
    wanted = [{**WANTED, "metadata": {**WANTED["metadata"], "name": name}} for name in "abc"]
    answers = [{**ANSWER, "metadata": {**ANSWER["metadata"], "name": name}} for name in "abc"]
    for wish, answer in zip(wanted, answers, strict=True):
        accepted.remember(wish, answer)
    assert [accepted.in_sync(wish, answer) for wish, answer in zip(wanted, answers, strict=True)] == [False, True, True]
