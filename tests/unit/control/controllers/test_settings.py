"""Flags and their environment variables: what is meant by each, and what a bad value is told."""

import os
from typing import Any

import pytest

from stationkeeper.control.controllers.settings import parse


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("STATIONKEEPER_", "POD_")):
            monkeypatch.delenv(name)


def test_without_a_word_it_runs_on_the_whole_cluster_with_an_election():
    settings = parse([])
    assert settings.namespaces == ()
    assert settings.leader_election is True
    assert (settings.workers, settings.qps, settings.burst, settings.health_port) == (16, 400, 800, 8081)
    assert (settings.resync_seconds, settings.drain_seconds) == (600, 30)
    assert (settings.log_format, settings.log_level, settings.image_pull_policy) == ("json", "info", "IfNotPresent")
    assert settings.identity


MEANT = [
    (["--namespace=ops"], {}, "namespaces", ("ops",)),
    (["--namespace=ops", "--namespace=ml"], {}, "namespaces", ("ops", "ml")),
    (["--namespace=ops, ml,"], {}, "namespaces", ("ops", "ml")),
    ([], {"STATIONKEEPER_NAMESPACE": "ops,ml"}, "namespaces", ("ops", "ml")),
    (["--namespace=ml"], {"STATIONKEEPER_NAMESPACE": "ops"}, "namespaces", ("ml",)),
    (["--namespace="], {}, "namespaces", ()),
    (["--resync=90s"], {}, "resync_seconds", 90),
    ([], {"STATIONKEEPER_RESYNC": "1h30m"}, "resync_seconds", 5400),
    (["--drain=0s"], {}, "drain_seconds", 0),
    ([], {"STATIONKEEPER_WORKERS": "4"}, "workers", 4),
    (["--workers=2"], {"STATIONKEEPER_WORKERS": "4"}, "workers", 2),
    (["--qps=0.5"], {}, "qps", 0.5),
    (["--no-leader-election"], {}, "leader_election", False),
    ([], {"STATIONKEEPER_LEADER_ELECTION": "false"}, "leader_election", False),
    ([], {"STATIONKEEPER_LEADER_ELECTION": "False"}, "leader_election", False),
    (["--leader-election"], {"STATIONKEEPER_LEADER_ELECTION": "0"}, "leader_election", True),
    ([], {"POD_NAME": "operator-7"}, "identity", "operator-7"),
    ([], {"POD_NAMESPACE": "system"}, "lease_namespace", "system"),
    (["--log-level=debug"], {"STATIONKEEPER_LOG_LEVEL": "error"}, "log_level", "debug"),
]


@pytest.mark.parametrize(("flags", "environment", "name", "value"), MEANT, ids=[f"{flags}{env}" for flags, env, _, _ in MEANT])
def test_a_flag_goes_before_the_environment(flags, environment, name, value, monkeypatch):
    for variable, text in environment.items():
        monkeypatch.setenv(variable, text)
    assert getattr(parse(flags), name) == value


BAD: list[tuple[Any, ...]] = [
    (["--workers=0"], {}, "argument --workers: '0' is not a whole number from 1 to 1000"),
    (["--workers=many"], {}, "argument --workers"),
    ([], {"STATIONKEEPER_WORKERS": "-1"}, "argument --workers"),
    (["--qps=0"], {}, "argument --qps: '0' is not a number greater than 0"),
    (["--qps=inf"], {}, "argument --qps"),
    (["--qps=nan"], {}, "argument --qps"),
    (["--burst=0"], {}, "argument --burst"),
    (["--health-port=70000"], {}, "argument --health-port"),
    (["--resync=0s"], {}, "argument --resync: 0s is too short"),
    (["--resync=10"], {}, "argument --resync: not a duration: '10'"),
    (["--drain=soon"], {}, "argument --drain: not a duration: 'soon'; write for example 30s"),
    (["--log-level=loud"], {}, "argument --log-level: 'loud' is none of debug, info, warning, error"),
    ([], {"STATIONKEEPER_LOG_LEVEL": "LOUD"}, "argument --log-level"),
    ([], {"STATIONKEEPER_LOG_FORMAT": "xml"}, "argument --log-format: 'xml' is none of json, text"),
    (["--image-pull-policy=always"], {}, "argument --image-pull-policy: 'always' is none of Always"),
    ([], {"STATIONKEEPER_LEADER_ELECTION": "maybe"}, "STATIONKEEPER_LEADER_ELECTION: 'maybe' is neither true nor false"),
    (["--receivers=/nowhere.yaml"], {}, "argument --receivers: "),
    (["--prometheus=/nowhere.yaml"], {}, "argument --prometheus: "),
    (["--namespaces=ops"], {}, "--namespaces=ops"),
]


@pytest.mark.parametrize(("flags", "environment", "told"), BAD, ids=[f"{flags}{env}" for flags, env, _ in BAD])
def test_a_bad_value_ends_the_program_and_is_named(flags, environment, told, monkeypatch, capsys):
    for variable, text in environment.items():
        monkeypatch.setenv(variable, text)
    with pytest.raises(SystemExit) as caught:
        parse(flags)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_help_describes_every_flag(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--namespace", "--resync", "--leader-election", "--receivers", "--prometheus", "--qps", "--log-level"):
        assert flag in text
