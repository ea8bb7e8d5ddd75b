"""What no column shows alone: the domain classifier, and the reconstruction error of the reference's principal components.

A breach exceeds three figures, as in `calibration`: what sampling gives, what stretches of the reference gave (`components`), and
what is worth an alarm. Reference for the reconstruction error: Jackson and Mudholkar, Control procedures for residuals, Technometrics
21 (1979); for the classifier see `domain`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from stationkeeper.api.driftpolicy import MultivariateCheck
from stationkeeper.api.report import MultivariateResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.drift import domain
from stationkeeper.workloads.drift.chance import normal_quantile
from stationkeeper.workloads.drift.components import Array, Components, MultivariateTest, fit_components
from stationkeeper.workloads.drift.encoding import Encoding, height, sampled

__all__ = ["Components", "Samples", "fit_components", "judge_multivariate", "withheld"]

# A shift of one column by a seventh of a standard deviation, alone, gives as much to a classifier; or to the mean of the errors.
_EFFECTS: Final[dict[MultivariateTest, float]] = {"DomainClassifier": 0.54, "PCAReconstruction": 0.143}
_NOTHING_MORE: Final = 0.999  # an AUC that no drift exceeds
_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of two samples, as columns; `reference` is None where no rows of it are kept."""

    current: Mapping[str, Array]
    reference: Mapping[str, Array] | None
    seed: int


def judge_multivariate(
    samples: Samples, check: MultivariateCheck, components: Components | None, alpha: float
) -> list[MultivariateResult]:
    """The tests that a policy asks for; each may breach by chance with probability `alpha`."""
    rng = np.random.default_rng(samples.seed)
    current = sampled(samples.current, check.max_rows, rng)
    reference = None if samples.reference is None else sampled(samples.reference, check.max_rows, rng)
    found = []
    for test in dict.fromkeys(check.tests):
        if test == "DomainClassifier":
            found.append(_domain(Samples(current, reference, samples.seed), components, alpha))
        else:
            found.append(_reconstruction(current, components, alpha))
    return found


def withheld(check: MultivariateCheck | None, why: str, rows: int) -> list[MultivariateResult]:
    """The tests that a policy asks for, where rows are too few to judge them."""
    return [_open(test, why, 0, rows) for test in dict.fromkeys(check.tests)] if check else []


def _domain(samples: Samples, components: Components | None, alpha: float) -> MultivariateResult:
    test: MultivariateTest = "DomainClassifier"
    if samples.reference is None:
        return _open(test, "no rows of the reference are kept to compare with", 0, height(samples.current))
    n, m = height(samples.reference), height(samples.current)
    if min(n, m) < domain.MIN_ROWS:
        return _open(test, f"{n} rows of the reference and {m} of the window are too few to tell apart", n, m)
    together = {name: np.concatenate((samples.reference[name], samples.current[name])) for name in samples.current}
    encoding = Encoding.fit(together)
    if not encoding.dimensions:
        return _open(test, "no column varies", n, m)
    before, now = (encoding.matrix(rows) for rows in (samples.reference, samples.current))
    usual = components.usual(test, m, alpha) if components else 0.0
    if usual > _NOTHING_MORE:
        return _open(
            test, "ordinary stretches of the reference are as easily told from the whole: longer windows may show more", n, m
        )
    auc = domain.separability(before, now, samples.seed)
    threshold = max(domain.noise(n, m, alpha), usual, _EFFECTS[test])
    telling = domain.telling(before, now, encoding.spans, samples.seed)[:_NAMED] if auc > threshold else []
    by = f", mostly by {', '.join(telling[:5])}" if telling else ""
    said = f"a classifier tells the window from the reference with AUC {auc:.3f}{by}"
    return _judged(test, auc, threshold, (n, m), said, telling)


def _reconstruction(current: Mapping[str, Array], components: Components | None, alpha: float) -> MultivariateResult:
    test: MultivariateTest = "PCAReconstruction"
    m = height(current)
    if components is None:
        return _open(test, "the revision has no principal components; the next training stores them", 0, m)
    if m < domain.MIN_ROWS or not components.error_scale:
        why = f"{m} rows are too few" if m < domain.MIN_ROWS else "all rows of the reference lie on its principal components"
        return _open(test, why, components.rows, m)
    lacking = [column.name for column in components.encoding.columns if column.name not in current]
    if lacking:
        return _open(test, f"the column {lacking[0]} is missing", components.rows, m)
    points = components.encoding.matrix(current)
    shift = abs(components.shift(points))
    chance = normal_quantile(alpha / 2) * math.sqrt(1 / components.rows + 1 / m)
    threshold = max(chance, components.usual(test, m, alpha), _EFFECTS[test])
    said = f"the error of the principal components is off the reference's by {shift:.2f} standard deviations"
    return _judged(test, shift, threshold, (components.rows, m), said, [])


def _judged(
    test: MultivariateTest, statistic: float, threshold: float, rows: tuple[int, int], said: str, columns: list[str]
) -> MultivariateResult:
    breached = statistic > threshold
    return MultivariateResult(
        test=test, statistic=statistic, threshold=threshold, reference_rows=rows[0], current_rows=rows[1], columns=columns,
        verdict=Verdict.BREACHED if breached else Verdict.PASSED, message=f"{said}; {'over' if breached else 'within'} {threshold:.3f}",
    )  # fmt: skip


def _open(test: MultivariateTest, why: str, reference_rows: int, current_rows: int) -> MultivariateResult:
    return MultivariateResult(
        test=test, statistic=None, threshold=None, reference_rows=reference_rows, current_rows=current_rows,
        verdict=Verdict.INSUFFICIENT_DATA, message=why,
    )  # fmt: skip
