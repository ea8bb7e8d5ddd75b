"""Quality before labels come: estimated, or withheld with the reason. An estimate alone never retrains."""

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from stationkeeper.api.driftpolicy import QualityChecks
from stationkeeper.api.manifest import Manifest, Score, Task
from stationkeeper.api.report import LabelCounts, QualityResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts.captured import event_at
from stationkeeper.workloads.artifacts.columns import ColumnError
from stationkeeper.workloads.artifacts.errors import ArtifactError
from stationkeeper.workloads.quality.answers import MetricError, answers, sound
from stationkeeper.workloads.quality.labels import TRUTH, Joined
from stationkeeper.workloads.quality.measure import shown
from stationkeeper.workloads.quality.methods import Asked
from stationkeeper.workloads.quality.verdict import Measured, Standard, Withheld, concluded, decide
from stationkeeper.workloads.training.estimation import Estimation

MAX_ROWS: Final = 50_000
_UNLEARNED: Final = 0.005  # share of labels of classes that the model never learned, from which on it does not know what it sees
_TOLERATED: Final = 0.1  # of what the model is worth above a constant: an estimate that errs by less is good enough


@dataclass(frozen=True, slots=True)
class Proof:
    """What holds an estimate to the truth, as far as it is known."""

    labelled: Joined | None = None  # the newest rows with matured labels
    broken: str = ""  # what is wrong with the data of the window


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
    rows = captured.sort(event_at(captured), maintain_order=True).gather_every(-(-captured.height // MAX_ROWS) or 1)
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
    return concluded(base, found, decision, said)


@dataclass(frozen=True, slots=True)
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
            MetricError, ArtifactError, ColumnError: when the metric or the rows do not fit the model.
        """
        if estimation is None:
            raise Withheld("this revision knows nothing of its probabilities or errors; the next training stores it")
        if proof.broken:
            raise Withheld(f"the data is broken ({proof.broken}), so what the holdout said does not hold")
        asked = Asked(self.manifest, self.check.metric, estimation, self.seed)
        now, odd = sound(rows, self.manifest)
        method = asked.of(now)
        confirmed = self._confirmed(asked, proof.labelled)
        return method.measured(), "; ".join(part for part in (odd, confirmed) if part)

    def _confirmed(self, asked: Asked, labelled: Joined | None) -> str:
        if labelled is None or not labelled.rows.height:
            return "no labels have confirmed it yet"
        known, _ = sound(labelled.rows, self.manifest)
        if self.manifest.classes:
            whole = known.height
            known = known.filter(pl.col(TRUTH).is_in(self.manifest.classes))
            if known.height < (1 - _UNLEARNED) * whole:
                raise Withheld("the last labels name classes that the model never learned, so its probabilities mean little")
        if known.height < self.check.min_labels:
            return f"the last {known.height} labels are too few to confirm it"
        return self._compared(known, asked.of(known).certain())

    def _compared(self, known: pl.DataFrame, promised: Score) -> str:
        """The calibration check: whether the labelled rows scored what had been promised of them."""
        true = answers(known, self.manifest, known[TRUTH])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of labels of one class, say
            score = true.score_or_nan(self.check.metric)
        if not np.isfinite(score):
            return f"{self.check.metric} has no value on the last {known.height} labels: they do not confirm it"
        off = score - promised.value
        end = promised.low if off < 0 else promised.high
        allowed = max(abs((promised.value if end is None else end) - promised.value), self._tolerated())
        if abs(off) > allowed:
            raise Withheld(
                f"the last {known.height} labels contradict it: {self.check.metric} {score:.4f} where {promised.value:.4f} was promised,"
                f" off by more than {allowed:.4f}: the concept has changed, or the calibration has"
            )
        return f"the last {known.height} labels bear it out ({score:.4f} where {promised.value:.4f} was promised)"

    def _tolerated(self) -> float:
        if self.held.score is None or self.held.constant is None:
            return 0.0
        return _TOLERATED * abs(self.held.score.value - self.held.constant)
