"""How many columns of a window breach; what all figures of this folder count."""

from typing import Any, Final

import numpy as np

from stationkeeper.api.driftpolicy import DistributionCheck
from stationkeeper.api.status import Verdict
from stationkeeper.workloads.drift.columns import Check, judge_columns
from stationkeeper.workloads.drift.profile import Profile

ALPHA: Final = 0.01  # `falseAlarmRate`

Array = np.ndarray[Any, Any]
Generator = np.random.Generator


def alarms(window: Profile, asked: DistributionCheck, alpha: float = ALPHA, others: int = 0) -> int:
    """Distributions of features that breach; completeness shares `alpha` with them, as it does in a policy."""
    features = window.layout.reference.features
    checks = [Check("features", column, asked) for column in features]
    results = judge_columns(window, checks, alpha, len(features) + others, {})
    return sum(result.verdict is Verdict.BREACHED for result in results)
