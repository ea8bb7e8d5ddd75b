"""What every workload does around its work: logs as JSON, a termination message, an exit code that means something."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stationkeeper.api.jobs import ConfigurationError
from stationkeeper.api.meta import EXIT_INVALID, EXIT_OK, EXIT_TRANSIENT, TERMINATION_LOG
from stationkeeper.api.summary import FailureSummary, Summary
from stationkeeper.workloads.artifacts.errors import (
    ArtifactError,
    BucketMissing,
    NotFound,
    OwnerConflict,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from stationkeeper.workloads.artifacts.registry import ImageMissing, RegistryDenied, RegistryUnavailable

log = logging.getLogger(__name__)

ENV_TERMINATION_LOG: Final = "STATIONKEEPER_TERMINATION_LOG"
ENV_LOG_FORMAT: Final = "STATIONKEEPER_LOG_FORMAT"  # json (default) or text

# What may be raised, the reason that it gives, and whether another pod could do better. First match wins.
_FAILURES: Final[tuple[tuple[type[BaseException], str, int], ...]] = (
    (ConfigurationError, "InvalidSpec", EXIT_INVALID),
    (OwnerConflict, "StorageInUse", EXIT_INVALID),
    (BucketMissing, "BucketMissing", EXIT_INVALID),
    (StoreDenied, "StorageDenied", EXIT_INVALID),
    (StoreUnavailable, "StorageUnreachable", EXIT_TRANSIENT),
    (NotFound, "ArtifactMissing", EXIT_INVALID),
    (ArtifactError, "ArtifactCorrupt", EXIT_INVALID),
    (StoreError, "StorageFailed", EXIT_TRANSIENT),
    (RegistryUnavailable, "RegistryUnreachable", EXIT_TRANSIENT),
    (RegistryDenied, "RegistryDenied", EXIT_INVALID),
    (ImageMissing, "ImageMissing", EXIT_INVALID),
    (MemoryError, "OutOfMemory", EXIT_TRANSIENT),
)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def configure_logging() -> None:
    """Send logs to standard error, one JSON object a line, or as text when `STATIONKEEPER_LOG_FORMAT=text`."""
    handler = logging.StreamHandler(sys.stderr)
    text = os.environ.get(ENV_LOG_FORMAT) == "text"
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s") if text else _Json())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "skl2onnx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def run(work: Callable[[], tuple[Summary | None, int]]) -> int:
    """Do the work, report, and return the exit code.

    `work` returns the summary for the termination message (None for no message) and the exit code.
    """
    try:
        summary, code = work()
    except Exception as error:  # the outermost frame: whatever it is, it is reported
        summary, code = failure(error)
        log.error("%s: %s", summary.reason, summary.message, exc_info=error if summary.reason == "InternalError" else None)
    if summary is not None:
        report(summary)
    return code


def failure(error: BaseException) -> tuple[FailureSummary, int]:
    """The summary and the exit code for an exception."""
    for kind, reason, code in _FAILURES:
        if isinstance(error, kind):
            return FailureSummary(reason=reason, message=_bounded(str(error) or kind.__name__)), code
    # A bug, or the machine: the Job's backoff limit decides how often it is tried again.
    return FailureSummary(reason="InternalError", message=_bounded(f"{type(error).__name__}: {error}")), EXIT_TRANSIENT


def report(summary: Summary) -> None:
    """Write the termination message. That it cannot be written is logged: the outcome is in the store anyway."""
    path = Path(os.environ.get(ENV_TERMINATION_LOG, TERMINATION_LOG))
    try:
        path.write_bytes(summary.encode())
    except (OSError, ValueError) as error:
        log.error("cannot write the termination message to %s: %s", path, error)


def _bounded(text: str, limit: int = 1000) -> str:
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 3] + "..."


__all__ = ["EXIT_INVALID", "EXIT_OK", "EXIT_TRANSIENT", "configure_logging", "failure", "report", "run"]
