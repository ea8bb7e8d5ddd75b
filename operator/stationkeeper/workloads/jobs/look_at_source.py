"""The look at a published file: `python -m stationkeeper.workloads.jobs.look_at_source`."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from stationkeeper.api.jobs import LookConfig
from stationkeeper.api.meta import EXIT_OK
from stationkeeper.api.summary import Summary
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.imports.look import look
from stationkeeper.workloads.jobs._run import configure_logging, run


def work() -> tuple[Summary, int]:
    """Read the configuration, look, and say what is there; what it raises is reported by `run`."""
    config = LookConfig.from_environment()
    with tempfile.TemporaryDirectory() as scratch:
        store = S3Store.open(config.storage)
        return look(config, store, lambda uri: S3Store.open(config.storage, uri), Path(scratch), datetime.now(UTC)), EXIT_OK


def main() -> int:
    """The process: returns its exit code."""
    configure_logging()
    return run(work)


if __name__ == "__main__":
    sys.exit(main())
