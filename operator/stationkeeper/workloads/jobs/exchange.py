"""In the pods of a workload that trains across machines: `python -m stationkeeper.workloads.jobs.exchange fetch|deliver`.

`fetch` brings the rows to /mnt/data before training starts. `deliver` runs beside it: when training has left its model in
/mnt/model, and `done` beside it, the model goes to the attempt that waits for it. Both have the store's credentials; training, in a
container of its own, has none.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.meta import EXIT_INVALID, EXIT_OK
from stationkeeper.api.summary import Summary
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.jobs._run import configure_logging, run
from stationkeeper.workloads.training.exchange import deliver, fetch
from stationkeeper.workloads.training.handover import Paths

log = logging.getLogger(__name__)

Report = tuple[Summary | None, int]


def _fetch(config: TrainConfig, paths: Paths) -> Report:
    fetch(config, S3Store.open(config.storage), paths)
    return None, EXIT_OK


def _deliver(config: TrainConfig, paths: Paths) -> Report:
    """Until this pod ends: a container that ends beside training may be started again by the kubelet."""
    end = threading.Event()

    def told(*_: Any) -> None:
        end.set()

    signal.signal(signal.SIGTERM, told)
    paths.make()
    if not deliver(config, S3Store.open(config.storage), paths, end.is_set, end.wait):
        log.info("training left nothing on this machine")
    end.wait()
    return None, EXIT_OK


STEPS: dict[str, Callable[[TrainConfig, Paths], Report]] = {"fetch": _fetch, "deliver": _deliver}


def main(arguments: Sequence[str]) -> int:
    """Run one step; returns the exit code."""
    configure_logging()
    if len(arguments) != 1 or arguments[0] not in STEPS:
        log.error("usage: python -m stationkeeper.workloads.jobs.exchange %s", "|".join(STEPS))
        return EXIT_INVALID
    return run(lambda: STEPS[arguments[0]](TrainConfig.from_environment(), Paths.from_environment()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
