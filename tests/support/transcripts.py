"""Golden transcripts: what happens in a world, line by line, against what was written down. `--update-golden` writes it anew."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.world import World

FOLDER = Path(__file__).parents[1] / "unit" / "control" / "planning" / "golden"


def check(scenario: Callable[[], World], request: pytest.FixtureRequest) -> None:
    """Play a scenario; its name is that of the file."""
    golden = FOLDER / f"{scenario.__name__}.txt"
    text = "\n".join(scenario().transcript) + "\n"
    if request.config.getoption("--update-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
