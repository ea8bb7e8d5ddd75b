"""What is reported of a challenger that was judged: refused, or published."""

from datetime import UTC, datetime
from typing import Any

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Manifest, Score
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.evaluate import Verdict
from stationkeeper.workloads.training.handover import Prepared


def refused(config: TrainConfig, prepared: Prepared, verdict: Verdict) -> TrainingSummary:
    """The summary of a challenger that did not pass."""
    base = _base(config, TrainingOutcome.REFUSED, verdict.decision.reason, verdict.decision.message)
    data = {"data_digest": prepared.data.digest, "data_through": prepared.data.through}
    scores = {"metrics": _values(verdict.metrics), "champion_metrics": _values(verdict.champion_metrics)}
    return TrainingSummary.model_validate(base | data | scores)


def published(config: TrainConfig, store: Store, manifest: Manifest, digest: str) -> TrainingSummary:
    """The summary of a new revision."""
    judged = manifest.evaluation
    scores, champion = _values(judged.metrics), _values(judged.champion_metrics)
    name, value = next(iter(scores.items()), ("score", float("nan")))
    against = f", revision {judged.champion_number}: {champion[name]:.4f}" if name in champion else ""
    learned = f"learned {manifest.data.rows} rows"
    message = f"{learned}; {name} {value:.4f} on {judged.holdout_rows} later rows{against}"
    return TrainingSummary.model_validate(
        _base(config, TrainingOutcome.PUBLISHED, "Published", message)
        | {
            "digest": digest,
            "manifest_uri": store.uri(keys.manifest(digest)),
            "revision": manifest.number,
            "data_digest": manifest.data.digest,
            "data_through": manifest.data.through,
            "metrics": scores,
            "champion_metrics": champion,
        }
    )


def _base(config: TrainConfig, outcome: TrainingOutcome, reason: str, message: str) -> dict[str, Any]:
    return {
        "episode": config.episode,
        "attempt": config.attempt,
        "outcome": outcome,
        "reason": reason,
        "message": message if len(message) <= 1000 else message[:997] + "...",
        "finished_at": datetime.now(UTC).replace(microsecond=0),
        "champion_digest": config.champion.digest if config.champion else None,
        "champion_number": config.champion.number if config.champion else None,
    }


def _values(scores: dict[str, Score]) -> dict[str, float]:
    return {name: score.value for name, score in scores.items()}
