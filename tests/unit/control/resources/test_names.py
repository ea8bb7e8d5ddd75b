"""Names: valid in every place they end up in, and never those of another object."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stationkeeper.control.resources import names

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
UID = "9f6f2c1e-0000-4000-8000-000000000001"
OTHER_UID = "9f6f2c1e-0000-4000-8000-000000000002"
DIGEST = "sha256:" + "3" * 64
LONGEST = "a" * 40  # the CRD takes no longer name of a Model
MODELS = ["a", "flights", "flights-r1", "flights-train", "a--b", "x-1-2-3", "r1-r2", "train", LONGEST, "m-" + "9" * 38]

CHILDREN = {
    "revision": lambda model, uid=UID: names.revision(model, uid, 7, DIGEST),
    "revision 2147483647": lambda model, uid=UID: names.revision(model, uid, 2**31 - 1, DIGEST),
    "training job": lambda model, uid=UID: names.training_job(model, uid, "0123456789", 3),
    "check": lambda model, uid=UID: names.check_cronjob(model, uid, "policy-uid"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("child", CHILDREN)
def test_a_childs_name_is_a_dns_label_that_begins_with_the_models(child, model):
    name = CHILDREN[child](model)
    assert LABEL.fullmatch(name)
    assert len(name) <= 63
    assert name.startswith(f"{model}-")


@given(model=st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True), uid=st.uuids())
def test_no_name_of_a_model_that_the_crd_takes_gives_a_bad_name(model, uid):
    for child in CHILDREN.values():
        name = child(model, str(uid))
        assert LABEL.fullmatch(name)
        assert len(name) <= 63


def test_a_cronjob_leaves_room_for_the_eleven_characters_of_its_jobs():
    assert len(names.check_cronjob(LONGEST, UID, "policy-uid")) <= 52


def test_a_jobs_pods_and_a_deployments_pods_keep_the_whole_name_in_front():
    assert len(names.training_job(LONGEST, UID, "0123456789", 10**6)) + len("-xxxxx") <= 63
    assert len(names.revision(LONGEST, UID, 999, DIGEST)) + len("-xxxxxxxxxx") <= 63  # a ReplicaSet's name


@pytest.mark.parametrize("child", CHILDREN)
def test_a_model_that_was_made_anew_has_other_children(child):
    assert CHILDREN[child]("flights", UID) != CHILDREN[child]("flights", OTHER_UID)


def test_no_two_objects_of_two_models_have_the_same_name():
    made = [child(model, f"uid of {model}") for child in CHILDREN.values() for model in MODELS]
    assert len(set(made)) == len(made)


ARGUMENTS = {
    names.revision: [("flights", UID, 1, DIGEST), ("flights", UID, 2, DIGEST), ("flights", UID, 1, "sha256:" + "4" * 64)],
    names.training_job: [("flights", UID, "e", 1), ("flights", UID, "e", 2), ("flights", UID, "f", 1)],
    names.check_cronjob: [("flights", UID, "p"), ("flights", UID, "q")],
    names.episode: [(UID, "Drift", "k"), (UID, "Quality", "k"), (UID, "Drift", "l"), (OTHER_UID, "Drift", "k")],
}


@pytest.mark.parametrize("name", ARGUMENTS, ids=[name.__name__ for name in ARGUMENTS])
def test_each_part_of_what_a_name_stands_for_changes_it_and_nothing_else_does(name):
    made = [name(*arguments) for arguments in ARGUMENTS[name]]
    assert len(set(made)) == len(made)
    assert made == [name(*arguments) for arguments in ARGUMENTS[name]]


# Whoever may choose two neighbouring parts may not move the border between them.
NEIGHBOURS = [
    (names.training_job("m", UID, "1", 11), names.training_job("m", UID, "11", 1)),
    (names.revision("m", UID, 1, "1" + DIGEST), names.revision("m", UID, 11, DIGEST)),
    (names.episode(UID, "Drift", "x"), names.episode(UID, "Drif", "tx")),
    (names.check_cronjob("m", "ab", "c"), names.check_cronjob("m", "a", "bc")),
]


@pytest.mark.parametrize(("one", "other"), NEIGHBOURS)
def test_parts_that_run_into_each_other_are_told_apart(one, other):
    assert one != other


HOSTILE = ["", "\x00", "../../etc/passwd", "a" * 10_000, "$(id)", "Ж日本語", "\n", "' OR 1=1 --"]


@pytest.mark.parametrize(("cause", "key"), list(itertools.product(["Manual"], HOSTILE)))
def test_a_hostile_key_of_an_episode_gives_a_name_like_any_other(cause, key):
    assert re.fullmatch(r"[0-9a-f]{10}", names.episode(UID, cause, key))


def test_the_service_has_the_models_own_name():
    assert names.service("flights") == "flights"
