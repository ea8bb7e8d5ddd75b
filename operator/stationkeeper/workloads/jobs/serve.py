"""The serving pod: `python -m stationkeeper.workloads.jobs.serve`."""

import asyncio
import logging
import sys
from collections.abc import Callable

from stationkeeper.api.jobs import ServeConfig
from stationkeeper.api.meta import EXIT_OK, EXIT_TRANSIENT
from stationkeeper.api.summary import FailureSummary, Summary
from stationkeeper.workloads.artifacts.errors import DigestMismatch, MalformedArtifact, StoreDenied
from stationkeeper.workloads.artifacts.golden import ParityError
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._run import configure_logging, failure, run
from stationkeeper.workloads.serving.process import Process

log = logging.getLogger(__name__)

_REASONS: dict[type[Exception], str] = {
    DigestMismatch: "DigestMismatch",
    ParityError: "ParityFailed",
    MalformedArtifact: "MalformedArtifact",
}


def serve(config: ServeConfig, open_store: Callable[[], Store] | None = None) -> tuple[Summary | None, int]:
    """Serve until told to end. Returns the termination message, None after a good end, and the exit code."""

    async def process() -> None:
        await Process(config, open_store or (lambda: S3Store.open(config.storage))).run()

    try:
        asyncio.run(process())
    except Exception as error:  # `failure` knows them all; here only what serving says more precisely
        summary, code = told(error)
        log.error("%s: %s", summary.reason, summary.message, exc_info=error if summary.reason == "InternalError" else None)
        return summary, code
    return None, EXIT_OK


def told(error: Exception) -> tuple[FailureSummary, int]:
    """The termination message and exit code of a failure.

    A store that refuses says nothing about the revision: it ends as transient, so that wrong credentials never
    quarantine a good model.
    """
    summary, code = failure(error)
    if reason := _REASONS.get(type(error)):
        summary = summary.model_copy(update={"reason": reason})
    return summary, EXIT_TRANSIENT if isinstance(error, StoreDenied) else code


def main() -> int:
    """Run the pod; returns the exit code."""
    configure_logging()
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return run(lambda: serve(ServeConfig.from_environment()))


if __name__ == "__main__":
    sys.exit(main())
