"""How often the gates of one episode have been asked.

A challenger that was refused is followed by another, judged on newer rows. Each may pass by luck, and asked often enough one does.
So each look may err by half as much as the one before: all looks of an episode together err by less than twice what the first may,
however much their rows overlap (Bonferroni's inequality; error is spent by halves, after Lan and DeMets, 1983).
"""

import logging

from stationkeeper.api.jobs import AttemptConfig
from stationkeeper.api.manifest import EvaluationRecord
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.store import Store

log = logging.getLogger(__name__)


def look(config: AttemptConfig, store: Store) -> int:
    """Which look of its episode an attempt takes: one more than there are challengers that the gates have refused.

    What they said stands in storage before an attempt ends, with the rows that judged, and never changes: a retried pod counts the
    same, and so does an operator that has lost its status.

    Raises:
        StoreError: when the store fails.
    """
    before, after = keys.evaluations(config.episode)
    numbers = [item.key[len(before) : -len(after)] for item in store.list(before) if item.key.endswith(after)]
    records = [_record(store, config, int(number)) for number in numbers if int(number) < config.attempt]
    count = 1 + sum(_decided(record) for record in records)
    if count > 1:
        log.info("this is look %d at the gates of its episode", count)
    return count


def _record(store: Store, config: AttemptConfig, attempt: int) -> EvaluationRecord:
    return EvaluationRecord.model_validate_json(store.get(keys.evaluation(config.episode, attempt)))


def _decided(record: EvaluationRecord) -> bool:
    """Whether the gates said anything: rows that were too few to judge have left nothing to luck."""
    verdicts = {gate.verdict for gate in record.gates}
    return "Refused" in verdicts or "InsufficientData" not in verdicts
