"""What a score is held against, and what follows from it.

A drop is the model's fault only as far as both have fallen, the score and its skill: how far it lies above the best constant on the
same rows. Base rates move without any fault of the model. Where outcomes become harder to tell, the log loss falls and the constant's
with it; where one class becomes the rule, a constant is hard to beat, though every answer is as good as before.
"""

from dataclasses import dataclass
from math import hypot, isclose, sqrt
from typing import Final

from stationkeeper.api.driftpolicy import QualityChecks
from stationkeeper.api.manifest import Manifest, Score
from stationkeeper.api.report import QualityResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.training.estimation import Estimation, Expected

_ROUNDED: Final = 1e-6
_UNSURE: Final = "the rows lie so that no interval can be given, and so nothing is sure"


class Withheld(Exception):  # noqa: N818 - a finding
    """Why no estimate is given."""


@dataclass(frozen=True, slots=True)
class Standard:
    """What the holdout said of a metric; nothing where it is not known."""

    score: Score | None = None
    constant: float | None = None  # the best constant's score there
    rows: int = 0

    @classmethod
    def of(cls, manifest: Manifest, metric: str, estimation: Estimation | None) -> "Standard":
        """For the whole traffic of a revision."""
        score, rows = manifest.evaluation.metrics.get(metric), manifest.evaluation.holdout_rows
        known = estimation.expected.get(metric) if estimation else None
        if estimation is None or known is None:
            return cls(score, None, rows)
        # Beside a champion the gates score the rows only that it did not know; a constant has a score on all of them.
        same = score is not None and isclose(score.value, known.score, rel_tol=_ROUNDED, abs_tol=_ROUNDED)
        return cls(score if same else Score(value=known.score), known.constant, estimation.rows)

    @classmethod
    def of_segment(cls, estimation: Estimation | None, column: str, value: str | None, metric: str) -> "Standard":
        """For one value of a feature."""
        part = next((s for s in estimation.segments if (s.column, s.value) == (column, value)), None) if estimation else None
        known: Expected | None = part.expected.get(metric) if part else None
        return cls(Score(value=known.score), known.constant, part.rows) if part and known else cls()


@dataclass(frozen=True, slots=True)
class Measured:
    """A score, measured or estimated."""

    score: Score
    rows: int
    skill: Score | None = None  # above the best constant on the same rows


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, the score below which it breaches, and why."""

    verdict: Verdict
    threshold: float | None
    message: str


def concluded(base: QualityResult, found: Measured, decision: Decision, message: str) -> QualityResult:
    """A result with its score and what follows from it."""
    skill = None if found.skill is None else found.skill.value
    said = {"score": found.score, "skill": skill, "threshold": decision.threshold, "verdict": decision.verdict}
    return base.model_copy(update=said | {"message": message})


def decide(found: Measured, held: Standard, check: QualityChecks) -> Decision:
    """Whether the whole traffic's score breaches.

    Below `min`, the score itself decides. A drop below the holdout must be sure: both may err.
    """
    low = check.min is not None and found.score.value < check.min
    said = [f"below the {check.min:g} of min"] if low else []
    floors = [] if check.min is None else [check.min]
    drop = _drop(found, held)
    if check.max_drop is not None and drop is not None:
        floors.append(found.score.value + drop.value - check.max_drop)
        low = low or _sure(drop, check.max_drop)
        said.append(_told(drop, check.max_drop))
        if drop.low is None and not low:
            return Decision(Verdict.INSUFFICIENT_DATA, max(floors), _UNSURE)
    elif check.max_drop is not None and not low:
        why = "the holdout has no score of this metric to compare with: give the training a gate with it"
        return Decision(Verdict.INSUFFICIENT_DATA, max(floors, default=None), why)
    verdict = Verdict.BREACHED if low else Verdict.PASSED
    return Decision(verdict, max(floors, default=None), " and ".join(said) or f"not below the {check.min:g} of min")


def decide_segment(found: Measured, held: Standard, check: QualityChecks) -> Decision:
    """Whether the score of one segment breaches: against its own past, and surely, because there are many segments.

    A segment that was below `min` on the holdout was accepted so.
    """
    if held.score is None:
        return Decision(Verdict.INSUFFICIENT_DATA, None, "the holdout had too few rows of it to compare with")
    held_to = check.model_copy(update={"min": None})
    floor = check.min if check.min is not None and held.score.value >= check.min else None
    if floor is not None and found.score.high is not None and found.score.high < floor:
        return Decision(Verdict.BREACHED, floor, f"surely below the {floor:g} of min")
    if check.max_drop is None:
        if floor is not None and found.score.high is None:
            return Decision(Verdict.INSUFFICIENT_DATA, floor, _UNSURE)
        said = f"not surely below the {floor:g} of min" if floor is not None else "below min on the holdout already"
        return Decision(Verdict.PASSED, floor, said)
    return decide(found, held, held_to)


def _drop(found: Measured, held: Standard) -> Score | None:
    """How far the score lies below the holdout's, or its skill where that fell less; `low` is the sure end."""
    if held.score is None:
        return None
    drops = [_below(found.score, held.score.value, found.rows, held)]
    if found.skill is not None and held.constant is not None:
        drops.append(_below(found.skill, held.score.value - held.constant, found.rows, held))
    return min(drops, key=lambda drop: drop.value)


def _below(now: Score, before: float, rows: int, held: Standard) -> Score:
    if now.high is None:
        return Score(value=before - now.value)
    ours = now.high - now.value
    theirs = ours * sqrt(rows / held.rows) if held.rows else 0.0  # the same metric on more rows, or on fewer
    if held.score is not None and held.score.low is not None:
        theirs = held.score.value - held.score.low
    return Score(value=before - now.value, low=before - now.value - hypot(ours, theirs))


def _sure(drop: Score, limit: float) -> bool:
    return drop.low is not None and drop.low > limit


def _told(drop: Score, limit: float) -> str:
    if drop.value <= 0:
        return f"{-drop.value:.4f} above the holdout's"
    if _sure(drop, limit):
        return f"{drop.value:.4f} below the holdout's, surely more than the {limit:g} of maxDrop"
    return (
        f"{drop.value:.4f} below the holdout's, {'within' if drop.value <= limit else 'not surely over'} the {limit:g} of maxDrop"
    )
