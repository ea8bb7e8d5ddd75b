"""Log lines: one JSON object each, or text for people."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from stationkeeper.control.controllers import logs


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys, form: str, level: str = "info") -> list[str]:
    """What some messages look like."""
    logs.configure(form, level)
    logger = logging.getLogger("stationkeeper.control.controllers.test")
    logger.info("created %s", "Job x", extra={"key": "model/ops/flights"})
    logger.debug("hidden")
    try:
        raise ValueError("boom: Zoë")
    except ValueError:
        logger.exception("a bug")
    logging.getLogger("kopf.reactor").info("chatter")
    logging.getLogger("kopf.reactor").warning("OS signals are ignored: running not in the main thread.")
    logging.getLogger("kopf.reactor").warning("watching failed")
    return capsys.readouterr().err.splitlines()


def test_json_is_one_object_a_line_with_all_that_was_given(capsys):
    first, second, third = map(json.loads, lines(capsys, "json"))
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "logger": "control.controllers.test",
        "message": "created Job x",
        "key": "model/ops/flights",
    }
    assert "ValueError: boom: Zoë" in second["exception"]
    assert third["message"] == "watching failed", "of others only what matters"


def test_what_is_no_json_is_told_as_text(capsys):
    logs.configure("json", "info")
    logging.getLogger("x").info("hello", extra={"what": {1, 2}, "error": ValueError("no")})
    assert json.loads(capsys.readouterr().err)["what"] == "{1, 2}"


def test_text_begins_with_time_level_and_model(capsys):
    found = lines(capsys, "text")
    assert found[0][8:] == " INFO    model/ops/flights created Job x"
    assert found[1][8:] == " ERROR   a bug"
    assert found[2] == "Traceback (most recent call last):"


def test_the_level_is_the_least_that_is_told(capsys):
    assert len(lines(capsys, "json", "warning")) == 2
    assert len(lines(capsys, "json", "debug")) == 4


def test_logs_go_to_stderr_once(capsys):
    for _ in range(3):
        logs.configure("json", "info")
    logging.getLogger("x").info("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert [handler.stream for handler in logging.getLogger().handlers] == [sys.stderr]  # type: ignore[attr-defined]
