"""The recording pod: `python -m stationkeeper.workloads.jobs.record` writes one decision down."""

import logging
import sys

from stationkeeper.api.jobs import RecordConfig
from stationkeeper.api.meta import EXIT_OK
from stationkeeper.api.summary import RecordSummary
from stationkeeper.workloads.artifacts import decisions
from stationkeeper.workloads.artifacts.owner import claim
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._run import configure_logging, run

log = logging.getLogger(__name__)


def record(config: RecordConfig, store: Store) -> tuple[RecordSummary, int]:
    """Write the decision under the prefix that must be the Model's own."""
    claim(store, config.model)
    uri = decisions.record(store, config)
    log.info("%s of revision %d: %s", config.decision.kind, config.decision.revision, uri)
    return RecordSummary(id=config.decision.id, uri=uri), EXIT_OK


def _work() -> tuple[RecordSummary, int]:
    config = RecordConfig.from_environment()
    return record(config, S3Store.open(config.storage))


def main() -> int:
    """Do it; returns the exit code."""
    configure_logging()
    return run(_work)


if __name__ == "__main__":
    sys.exit(main())
