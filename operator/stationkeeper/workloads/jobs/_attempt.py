"""How an attempt ends, in the steps of a training's pod and of an import's alike."""

import logging

from stationkeeper.api.meta import EXIT_INVALID, EXIT_OK
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import Summary, TrainingSummary
from stationkeeper.workloads.training import outcomes
from stationkeeper.workloads.training.handover import Paths

log = logging.getLogger(__name__)

Report = tuple[Summary | None, int]


def early(summary: TrainingSummary, paths: Paths) -> Report:
    """The attempt had ended before its last step: told at once where the same would come again, else by the last container."""
    log.info("this attempt has ended: %s, %s: %s", summary.outcome, summary.reason, summary.message)
    if exit_code(summary) == EXIT_INVALID:
        return summary, EXIT_INVALID
    outcomes.mark(paths, summary)  # the publishing container, the last one, reports it
    return None, EXIT_OK


def last(summary: TrainingSummary) -> Report:
    """What the publishing step reports."""
    log.info("%s, %s: %s", summary.outcome, summary.reason, summary.message)
    return summary, exit_code(summary)


def exit_code(summary: TrainingSummary) -> int:
    """Refused, and waiting for labels, are successful runs; the others would end the same again."""
    return EXIT_INVALID if summary.outcome in (TrainingOutcome.INVALID_DATA, TrainingOutcome.FAILED) else EXIT_OK
