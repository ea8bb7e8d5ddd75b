"""The sweeping pod: `python -m stationkeeper.workloads.jobs.sweep` deletes from storage what `spec.retention` lets go."""

import logging
import sys

from stationkeeper.api.jobs import SweepConfig
from stationkeeper.api.meta import EXIT_OK
from stationkeeper.api.summary import SweepSummary
from stationkeeper.workloads.artifacts import sweeping
from stationkeeper.workloads.artifacts.owner import claim
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._run import configure_logging, run

log = logging.getLogger(__name__)


def sweep(config: SweepConfig, store: Store) -> tuple[SweepSummary, int]:
    """Sweep a prefix that must be the Model's own."""
    claim(store, config.model)
    summary = sweeping.sweep(store, config)
    log.info("%s", summary.model_dump_json(exclude={"schema_version", "kind"}))
    return summary, EXIT_OK


def _work() -> tuple[SweepSummary, int]:
    config = SweepConfig.from_environment()
    return sweep(config, S3Store.open(config.storage))


def main() -> int:
    """Do it; returns the exit code."""
    configure_logging()
    return run(_work)


if __name__ == "__main__":
    sys.exit(main())
