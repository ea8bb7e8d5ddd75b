"""The restoring pod: `python -m stationkeeper.workloads.jobs.restore` takes a prefix over and tells what it holds."""

import logging
import sys

from stationkeeper.api.jobs import RestoreConfig
from stationkeeper.api.meta import EXIT_OK
from stationkeeper.api.summary import RestoreSummary
from stationkeeper.workloads.artifacts.owner import adopt
from stationkeeper.workloads.artifacts.restoring import survey
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._run import configure_logging, run

log = logging.getLogger(__name__)


def restore(config: RestoreConfig, store: Store) -> tuple[RestoreSummary, int]:
    """Take the prefix over first: whoever had it must not publish while its past is read."""
    lineage = adopt(store, config.model)
    summary = survey(store, lineage, config.most)
    log.info("found %d revisions, %d left out, %d not trusted", len(summary.revisions), summary.left_out, summary.untrusted)
    return summary, EXIT_OK


def _work() -> tuple[RestoreSummary, int]:
    config = RestoreConfig.from_environment()
    return restore(config, S3Store.open(config.storage))


def main() -> int:
    """Do it; returns the exit code."""
    configure_logging()
    return run(_work)


if __name__ == "__main__":
    sys.exit(main())
