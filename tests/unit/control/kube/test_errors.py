"""Every HTTP status as one of three kinds of error: again later, never again, or throttled until a time."""

import pytest

from stationkeeper.control.kube import errors
from stationkeeper.control.kube.errors import from_status

KINDS = [
    (400, errors.InvalidError, False),
    (401, errors.ForbiddenError, False),
    (403, errors.ForbiddenError, False),
    (404, errors.NotFoundError, False),
    (405, errors.InvalidError, False),
    (409, errors.ConflictError, True),
    (410, errors.GoneError, True),
    (415, errors.InvalidError, False),
    (422, errors.InvalidError, False),
    (429, errors.ThrottledError, True),
    (500, errors.UnavailableError, True),
    (503, errors.UnavailableError, True),
    (504, errors.UnavailableError, True),
]


@pytest.mark.parametrize(("status", "kind", "again"), KINDS, ids=[str(case[0]) for case in KINDS])
def test_a_status_is_an_error_of_its_kind(status, kind, again):
    error = from_status(status, "apply /x: no")
    assert type(error) is kind
    assert isinstance(error, errors.RetriableError if again else errors.TerminalError)
    assert (str(error), error.status) == ("apply /x: no", status)


MISTYPED = "apply /x: failed to create typed patch object (ops/flights; {}): {}"


def test_crds_that_are_older_than_the_operator_are_told_with_what_to_do():
    message = MISTYPED.format("stationkeeper.dev/v1alpha1, Kind=Model", ".status.checks: field not declared in schema")
    error = from_status(500, message)
    assert isinstance(error, errors.InvalidError), "asking again does not help"
    assert str(error).startswith("the cluster's CRDs are older than this operator: kubectl apply --server-side -f crds/")
    assert message in str(error)


def test_a_field_of_another_type_is_refused_for_good():
    message = MISTYPED.format("batch/v1, Kind=Job", '.env[name="WORLD_SIZE"].value: expected string, got 2')
    error = from_status(500, message)
    assert isinstance(error, errors.InvalidError)
    assert str(error) == message


RETRY_AFTER = [
    ("seconds", "7", 7.0),
    ("nothing", None, 1.0),
    ("a date, which the API server does not send", "Fri, 31 Dec 1999 23:59:59 GMT", 1.0),
    ("nonsense", "-3", 1.0),
]


@pytest.mark.parametrize(("name", "header", "seconds"), RETRY_AFTER, ids=[case[0] for case in RETRY_AFTER])
def test_a_throttled_request_says_when_to_come_back(name, header, seconds):
    error = from_status(429, "busy", header)
    assert isinstance(error, errors.ThrottledError)
    assert error.retry_after == seconds
