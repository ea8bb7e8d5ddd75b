"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files from what the code gives now")


@pytest.hookimpl(tryfirst=True)  # before the marks are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a cluster stays in one process, where several run side by side (`make test`)."""
    for item in items:
        for tier in ("e2e", "integration"):
            if item.get_closest_marker(tier):
                item.add_marker(pytest.mark.xdist_group(tier))
