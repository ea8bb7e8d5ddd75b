"""Which findings come first: the order of every table for people."""

from collections.abc import Sequence

from stationkeeper.api.report import ColumnResult
from stationkeeper.api.verdicts import Verdict

_GRAVITY = (Verdict.ERROR, Verdict.BREACHED, Verdict.PASSED, Verdict.INSUFFICIENT_DATA)


def excess(column: ColumnResult) -> float:
    """How many times its threshold a statistic is: above 1 it breaches; 0 where nothing could be compared."""
    if column.statistic is None or column.threshold is None:
        return 0.0
    return column.statistic / max(column.threshold, 1e-9)


def ranked(columns: Sequence[ColumnResult]) -> list[ColumnResult]:
    """What is wrong with the policy, what drifted the most, what did not, what could not be compared; equals stay in order."""
    return sorted(columns, key=lambda column: (_GRAVITY.index(column.verdict), -excess(column)))
