"""Quality before labels come: estimated, or withheld with the reason. An estimate alone never retrains."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.driftpolicy import QualityChecks
from stationkeeper.api.manifest import Manifest, Score, Task
from stationkeeper.api.model import Verdict
from stationkeeper.api.report import LabelCounts, QualityResult
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.artifacts.errors import ArtifactError
from stationkeeper.workloads.drift.baseline import plain
from stationkeeper.workloads.quality.answers import MetricError, answers, blocks, predictions, suitable
from stationkeeper.workloads.quality.cbpe import Cbpe
from stationkeeper.workloads.quality.dle import ESTIMABLE, expected_loss
from stationkeeper.workloads.quality.labels import TRUTH, Joined
from stationkeeper.workloads.quality.score import shown
from stationkeeper.workloads.quality.verdict import Measured, Standard, Withheld, decide
from stationkeeper.workloads.training.estimation import Estimation

__all__ = ["Estimation", "Proof", "estimate"]

MAX_ROWS: Final = 50_000
_UNLEARNED: Final = 0.005  # share of labels of classes that the model never learned, from which on it does not know what it sees
_TOLERATED: Final = 0.1  # of what the model is worth above a constant: an estimate that errs by less is good enough
_INTERVAL: Final = (2.5, 97.5)
_DEVIATIONS: Final = 1.96
_CERTAIN: Final = (0.5, 99.5)
_CERTAIN_DEVIATIONS: Final = 2.576


@dataclass(frozen=True, slots=True)
class Proof:
    """What holds an estimate to the truth, as far as it is known."""

    labelled: Joined | None = None  # the newest rows with matured labels
    broken: str = ""  # what is wrong with the data of the window


class _Estimator(Protocol):
    """One way to estimate the score of rows whose labels are not known."""

    def measured(self) -> Measured:
        """With its interval of 95 %."""
        ...

    def certain(self) -> Score:
        """For these very rows, with the interval that holds 99 % of what their labels may say."""
        ...


def estimate(
    captured: pl.DataFrame,
    manifest: Manifest,
    check: QualityChecks,
    estimation: Estimation | None,
    proof: Proof = Proof(),
    *,
    seed: int = 0,
) -> QualityResult:
    """Estimate a metric on captured rows without their labels.

    Args:
        captured: rows as `artifacts.captured` reads them; of more than 50,000 a part evenly spread is looked at.
        manifest: of the revision that answered.
        check: of the policy.
        estimation: of the revision.
        proof: what may contradict the estimate.
        seed: of the draws.
    """
    regression = manifest.task is Task.REGRESSION
    rows = captured.sort("arrived_at", maintain_order=True).gather_every(-(-captured.height // MAX_ROWS) or 1)
    held = Standard.of(manifest, check.metric, estimation)
    base = QualityResult(
        metric=check.metric,
        method="DLE" if regression else "CBPE",
        expected=held.score,
        labels=LabelCounts(requests=captured.height),
        verdict=Verdict.INSUFFICIENT_DATA,
    )
    if captured.height < check.min_labels:
        return base.model_copy(update={"message": f"{captured.height} rows are fewer than the {check.min_labels} of minLabels"})
    try:
        found, confirmed = _Trusted(manifest, check, held, seed).measured(rows, estimation, proof)
    except Withheld as why:
        return base.model_copy(update={"withheld": str(why), "message": f"no estimate: {why}"})
    except (MetricError, ArtifactError, ColumnError) as error:
        return base.model_copy(update={"verdict": Verdict.ERROR, "withheld": str(error), "message": str(error)[:500]})
    decision = decide(found, held, check)
    said = f"{check.metric} is estimated at {shown(found.score)} on {captured.height} rows; {decision.message}; {confirmed}"
    return base.model_copy(
        update={
            "score": found.score,
            "skill": None if found.skill is None else found.skill.value,
            "threshold": decision.threshold,
            "verdict": decision.verdict,
            "message": said,
        }
    )


@dataclass(frozen=True)
class _Trusted:
    """Estimates that nothing contradicts."""

    manifest: Manifest
    check: QualityChecks
    held: Standard
    seed: int

    def measured(self, rows: pl.DataFrame, estimation: Estimation | None, proof: Proof) -> tuple[Measured, str]:
        """The estimate, and what confirms it.

        Raises:
            Withheld: when something contradicts it.
        """
        if estimation is None:
            raise Withheld("this revision knows nothing of its probabilities or errors; the next training stores it")
        if proof.broken:
            raise Withheld(f"the data is broken ({proof.broken}), so what the holdout said does not hold")
        now = self._estimator(rows, estimation)
        confirmed = self._confirmed(estimation, proof.labelled)
        return now.measured(), confirmed

    def _estimator(self, rows: pl.DataFrame, estimation: Estimation) -> _Estimator:
        if self.manifest.task is Task.REGRESSION:
            return _Regression(self, rows, estimation)
        suitable(self.check.metric, self.manifest, probabilities=True)
        return _Classification(self, rows, estimation)

    def _confirmed(self, estimation: Estimation, labelled: Joined | None) -> str:
        if labelled is None or not labelled.rows.height:
            return "no labels have confirmed it yet"
        known = labelled.rows
        if self.manifest.classes:
            known = known.filter(pl.col(TRUTH).is_in(self.manifest.classes))
            if known.height < (1 - _UNLEARNED) * labelled.rows.height:
                raise Withheld("the last labels name classes that the model never learned, so its probabilities mean little")
        if known.height < self.check.min_labels:
            return f"the last {known.height} labels are too few to confirm it"
        return self._compared(known, self._estimator(known, estimation).certain())

    def _compared(self, known: pl.DataFrame, promised: Score) -> str:
        """The calibration check: whether the labelled rows scored what had been promised of them."""
        true = answers(known, self.manifest, known[TRUTH])
        score = true.score(self.check.metric, true.rows)
        off = score - promised.value
        end = promised.low if off < 0 else promised.high
        allowed = max(abs((promised.value if end is None else end) - promised.value), self._tolerated())
        if not abs(off) <= allowed:
            raise Withheld(
                f"the last {known.height} labels contradict it: {self.check.metric} {score:.4f} where {promised.value:.4f} was promised,"
                f" off by more than {allowed:.4f}: the concept has changed, or the calibration has"
            )
        return f"the last {known.height} labels bear it out ({score:.4f} where {promised.value:.4f} was promised)"

    def _tolerated(self) -> float:
        if self.held.score is None or self.held.constant is None:
            return 0.0
        return _TOLERATED * abs(self.held.score.value - self.held.constant)


@dataclass(frozen=True)
class _Classification:
    asked: _Trusted
    rows: pl.DataFrame
    estimation: Estimation

    @cached_property
    def _cbpe(self) -> Cbpe:
        manifest = self.asked.manifest
        # Any truth will do: it is not looked at.
        given = answers(self.rows, manifest, pl.repeat(manifest.classes[0], self.rows.height, eager=True))
        if given.probabilities is None or not self.estimation.curves:
            raise Withheld(
                "this model gives no probabilities" if given.probabilities is None else "its probabilities were never calibrated"
            )
        return Cbpe(given, self.estimation, self.asked.check.metric, self.asked.seed)

    def measured(self) -> Measured:
        score = _between(self._cbpe.score(), self._cbpe.draws(blocks(self.rows)), _INTERVAL)
        constant = self._cbpe.constant()
        return Measured(score, self.rows.height, _shifted(score, -constant))

    def certain(self) -> Score:
        return _between(self._cbpe.score(), self._cbpe.draws(None), _CERTAIN)


def _between(score: float, draws: NDArray[np.float64], percentiles: tuple[float, float]) -> Score:
    known = draws[np.isfinite(draws)]
    if len(known) < 0.95 * len(draws):
        return Score(value=score)
    low, high = np.percentile(known, percentiles)
    return Score(value=score, low=min(float(low), score), high=max(float(high), score))


def _shifted(score: Score, by: float) -> Score:
    low, high = (None if end is None else end + by for end in (score.low, score.high))
    return Score(value=score.value + by, low=low, high=high)


@dataclass(frozen=True)
class _Regression:
    asked: _Trusted
    rows: pl.DataFrame
    estimation: Estimation

    def measured(self) -> Measured:
        return Measured(self._score(blocks(self.rows), _DEVIATIONS), self.rows.height)

    def certain(self) -> Score:
        return self._score(None, _CERTAIN_DEVIATIONS)

    def _score(self, of: NDArray[np.int64] | None, deviations: float) -> Score:
        metric, losses, features = self.asked.check.metric, self.estimation.losses, self.asked.manifest.features
        suitable(metric, self.asked.manifest, probabilities=False)
        if losses is None or metric not in ESTIMABLE:
            raise Withheld(f"{metric} cannot be estimated, only {', '.join(ESTIMABLE)}")
        given = predictions(self.rows, self.asked.manifest).values
        assert given is not None
        points = losses.points(given, from_frame(plain(self.rows), features), features)
        loss = expected_loss(losses, points, metric, of, self.asked.seed)
        low, high = loss.score(metric, deviations), loss.score(metric, -deviations)
        return Score(value=loss.score(metric), low=low, high=high)
