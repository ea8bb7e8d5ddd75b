"""Paths of the API."""

import pytest

from stationkeeper.control.kube.kinds import EVENT, LEASE, WATCHED, kind_of

PATHS = [
    ("Model", ("ops", "flights", None), "/apis/stationkeeper.dev/v1alpha1/namespaces/ops/models/flights"),
    ("Model", ("ops", "flights", "status"), "/apis/stationkeeper.dev/v1alpha1/namespaces/ops/models/flights/status"),
    ("Pod", ("ops", None, None), "/api/v1/namespaces/ops/pods"),
    ("Service", (None, None, None), "/api/v1/services"),
    ("CronJob", (None, None, None), "/apis/batch/v1/cronjobs"),
    ("Lease", ("system", "x", None), "/apis/coordination.k8s.io/v1/namespaces/system/leases/x"),
]


@pytest.mark.parametrize(("kind", "what", "path"), PATHS, ids=[case[2] for case in PATHS])
def test_an_object_has_its_path(kind, what, path):
    assert kind_of(kind).path(*what) == path


def test_an_object_tells_its_kind():
    assert kind_of({"kind": "Event"}) is EVENT
    with pytest.raises(KeyError):
        kind_of("Secret")


def test_only_what_people_write_is_watched_without_a_selector():
    open_to_all = {kind.kind for kind in WATCHED if not kind.selector}
    assert open_to_all == {"Model", "DriftPolicy", "ModelRevision"}
    assert LEASE not in WATCHED
