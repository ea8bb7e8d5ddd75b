"""Options of the whole suite."""

import pytest
from xdist.scheduler import LoadScopeScheduling


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files from what the code gives now")


class ByCluster(LoadScopeScheduling):
    """What shares a cluster stays in one process, where several run side by side (`make test`); other files go where there is room."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next((tier for tier in ("tests/e2e", "tests/integration") if path.startswith(tier)), path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByCluster:
    return ByCluster(config, log)
