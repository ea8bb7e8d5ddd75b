"""`stationkeeper report`: which report is meant, and what is said where there is none."""

import pytest
from typer.testing import CliRunner

from stationkeeper.cli import report
from stationkeeper.cli.cluster import CommandError
from stationkeeper.cli.main import app
from stationkeeper.workloads.artifacts.errors import StoreUnavailable
from stationkeeper.workloads.artifacts.s3 import S3Store
from tests.support import world
from tests.support.memory_store import MemoryStore


def model(**reports: str | None) -> dict:
    checks = [
        {"policy": name, "report": f"s3://models/{uri}.json" if uri else None, "page": f"s3://models/{uri}.html" if uri else None}
        for name, uri in reports.items()
    ]
    return world.model() | {"status": {"checks": checks}}


@pytest.mark.parametrize(
    ("found", "policy", "output", "uri"),
    [
        (model(watch="a/b"), None, "html", "s3://models/a/b.html"),
        (model(watch="a/b"), None, "json", "s3://models/a/b.json"),
        (model(watch="a/b", other="c"), "other", "html", "s3://models/c.html"),
        (model(watch="a/b", young=None), None, "html", "s3://models/a/b.html"),
    ],
)
def test_the_newest_report_of_the_policy_that_is_meant(found, policy, output, uri):
    assert report.address(found, policy, output) == uri


@pytest.mark.parametrize(
    ("found", "policy", "words"),
    [
        (world.model(), None, "flights has no report yet; see: stationkeeper status flights"),
        (model(watch="a", other="b"), None, "several policies watch flights: name one by --policy (other, watch)"),
        (model(watch="a"), "wacth", "no report of policy wacth yet; there are those of: watch"),
        (model(watch=None), "watch", "no report of policy watch yet"),
    ],
)
def test_what_there_is_not_is_told(found, policy, words):
    with pytest.raises(CommandError) as error:
        report.address(found, policy, "html")
    assert words in str(error.value)


@pytest.fixture
def stored(monkeypatch) -> MemoryStore:
    """A cluster with one Model, and a store with its page."""
    store, opened = MemoryStore({"b.html": b"<p>drift</p>"}), []

    class Site:
        def __init__(self, *_: object) -> None: ...

        def model(self, _name: str) -> dict:
            return model(watch="a/b")

    monkeypatch.setattr(report, "Cluster", Site)
    monkeypatch.setattr(S3Store, "open", lambda storage, uri: opened.append((storage.endpoint_url, uri)) or store)
    store.opened = opened  # type: ignore[attr-defined]
    return store


def test_piped_it_is_the_page_itself(stored):
    done = CliRunner().invoke(app, ["report", "flights", "--endpoint-url", "http://localhost:7070"])
    assert (done.exit_code, done.stdout) == (0, "<p>drift</p>")
    assert stored.opened == [("http://localhost:7070", "s3://models/a")]


def test_a_file_is_written_where_one_is_named(stored, tmp_path):
    done = CliRunner().invoke(app, ["report", "flights", "--file", str(tmp_path / "x.html")])
    assert done.exit_code == 0
    assert done.stdout == ""
    assert (tmp_path / "x.html").read_bytes() == b"<p>drift</p>"


def test_a_store_that_is_not_reached_is_told_with_the_way_out(stored):
    def away(_operation: str, _key: str) -> None:
        raise StoreUnavailable("cannot reach http://s3:7070")

    stored.before = away
    done = CliRunner().invoke(app, ["report", "flights"])
    assert isinstance(done.exception, CommandError)
    assert "cannot reach http://s3:7070; is the server's address one that you reach from here? (--endpoint-url)" in str(
        done.exception
    )
