"""What is reported of a challenger that was judged: refused, or published."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from stationkeeper.api.jobs import AttemptConfig
from stationkeeper.api.manifest import Candidate, GateResult, Manifest, Score
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.evaluate import Verdict
from stationkeeper.workloads.training.handover import Prepared

_SHIFT_CLASSES: Final = 16
_SHIFT_BYTES: Final = 768  # of the termination message


def refused(config: AttemptConfig, prepared: Prepared, verdict: Verdict) -> TrainingSummary:
    """The summary of a challenger that did not pass."""
    message = "; ".join([verdict.decision.message, *prepared.data.notes])
    message += _chosen("; the challenger knew the last", verdict.candidates)
    base = _base(config, TrainingOutcome.REFUSED, verdict.decision.reason, message)
    data = {"data_digest": prepared.data.digest, "data_through": prepared.data.through, "resolves": _resolves(verdict.gates)}
    scores = {"metrics": _values(verdict.metrics), "champion_metrics": _values(verdict.champion_metrics)}
    return TrainingSummary.model_validate(base | data | scores)


def published(config: AttemptConfig, store: Store, manifest: Manifest, digest: str, message: str = "") -> TrainingSummary:
    """The summary of a new revision; `message` in place of what is said of a training."""
    judged = manifest.evaluation
    scores, champion = _values(judged.metrics), _values(judged.champion_metrics)
    name, value = next(iter(scores.items()), ("score", float("nan")))
    against = f", revision {judged.champion_number}: {champion[name]:.4f}" if name in champion else ""
    learned = f"learned {manifest.data.rows} rows{_chosen(' of the last', judged.candidates)}"
    rows = "rows of the holdout" if judged.frozen else "later rows"
    resolved = _resolves(judged.gates)
    told = "" if resolved is None else f"; a drop of {resolved:.4f} or more would have been seen"
    said = message or f"{learned}; {name} {value:.4f} on {judged.holdout_rows} {rows}{against}{told}"
    message = "; ".join([said, *manifest.data.notes])
    summary = TrainingSummary.model_validate(
        _base(config, TrainingOutcome.PUBLISHED, "Published", message)
        | {
            "digest": digest,
            "manifest_uri": store.uri(keys.manifest(digest)),
            "revision": manifest.number,
            "data_digest": manifest.data.digest,
            "data_since": manifest.data.start,
            "data_through": manifest.data.through,
            "metrics": scores,
            "champion_metrics": champion,
            "champion_shift": _most(judged.prediction_shift) or None,
            "window": manifest.data.window,
            "resolves": resolved,
        }
    )
    try:
        summary.encode()
    except ValueError:  # the manifest has it too; without it a canary is judged by the plain shift
        return summary.model_copy(update={"champion_shift": None})
    return summary


def _most(shift: Mapping[str, float]) -> dict[str, float]:
    """The classes that moved most, as far as the message has room: what is left out counts as no move."""
    kept: dict[str, float] = {}
    room = _SHIFT_BYTES
    for name, moved in sorted(shift.items(), key=lambda item: (-abs(item[1]), item[0])):
        room -= len(name.encode()) + 16
        if room < 0 or len(kept) == _SHIFT_CLASSES or len(name) > 128 or abs(moved) < 0.0005:
            break
        kept[name] = round(moved, 4)
    return kept


def _chosen(words: str, candidates: Sequence[Candidate]) -> str:
    """Which window won, and what the others scored."""
    if not candidates:
        return ""
    won = next(candidate for candidate in candidates if candidate.chosen)
    scores = ", ".join(f"{c.window} {'-' if c.score is None else format(c.score, '.4f')}" for c in candidates)
    ahead = any(won.score is not None and c.score is not None and c.score > won.score for c in candidates)
    why = "; no shorter one is surely better" if ahead else ""
    return f"{words} {won.window} (chosen on the older half of the holdout: {scores}{why})"


def _resolves(gates: Sequence[GateResult]) -> float | None:
    """The smallest drop that the holdout can tell from none, of the first gate that compares."""
    return next((gate.resolves for gate in gates if gate.bound == "maxDrop" and gate.resolves is not None), None)


def _cut(message: str) -> str:
    return message if len(message) <= 1000 else message[:997] + "..."


def _base(config: AttemptConfig, outcome: TrainingOutcome, reason: str, message: str) -> dict[str, Any]:
    return {
        "episode": config.episode,
        "attempt": config.attempt,
        "outcome": outcome,
        "reason": reason,
        "message": _cut(message),
        "finished_at": datetime.now(UTC).replace(microsecond=0),
        "champion_digest": config.champion.digest if config.champion else None,
        "champion_number": config.champion.number if config.champion else None,
    }


def _values(scores: dict[str, Score]) -> dict[str, float]:
    return {name: score.value for name, score in scores.items()}
