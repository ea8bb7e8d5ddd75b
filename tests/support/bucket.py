"""A store in memory with a clock, and revisions in it as small as can be."""

from datetime import UTC, datetime, timedelta
from typing import Any

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.manifest import Manifest
from stationkeeper.api.status import Cause, TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import get_blob, put_blob
from stationkeeper.workloads.artifacts.manifests import load_manifest, publish_manifest
from tests.support.memory_store import MemoryStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(days=30), NOW - timedelta(days=2)


def manifest(number: int) -> dict[str, Any]:
    return {
        "model": "ops/flights",
        "modelUid": "uid-1",
        "number": number,
        "cause": Cause.INITIAL,
        "episode": f"e{number}",
        "attempt": 1,
        "templateDigest": sha256(b"template"),
        "trainedAt": OLD,
        "estimator": "sklearn.linear_model.LogisticRegression",
        "seed": 1,
        "task": "binary",
        "features": [],
        "target": "late",
        "format": "skops",
        "data": {"uri": "s3://data/x", "objects": 1, "digest": sha256(b"data"), "rows": 9},
        "evaluation": {"holdoutRows": 0, "metrics": {}, "gates": [], "refit": "None"},
    }


class Bucket(MemoryStore):
    """A store with a clock, and revisions in it."""

    def __init__(self) -> None:
        super().__init__({keys.OWNER: canonical_json({"namespace": "ops", "name": "flights", "uid": "uid-1"})})

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        self.modified[key] = NOW

    def publish(self, number: int, *contents: bytes, at: datetime = OLD, episode: str = "") -> str:
        """A revision with these files and one that all share."""
        before = set(self.objects)
        files = {f"file{n}": put_blob(self, content) for n, content in enumerate((*contents, b"shared"))}
        changes = {"files": files, "trainedAt": at} | ({"episode": episode} if episode else {})
        made = Manifest.model_validate(manifest(number) | changes)
        digest = publish_manifest(self, made)
        self.objects[keys.sample(digest)] = b"rows"
        self.create(keys.outcome(made.episode, 1), self.outcome(made, digest))
        for key in set(self.objects) - before:
            self.modified[key] = at
        return digest

    @staticmethod
    def outcome(made: Manifest, digest: str) -> bytes:
        """What the training of this revision left as its word."""
        return TrainingSummary(
            episode=made.episode,
            attempt=made.attempt,
            outcome=TrainingOutcome.PUBLISHED,
            reason="Published",
            message="all gates passed",
            finished_at=made.trained_at,
            digest=digest,
            manifest_uri="s3://test/model/x",
            revision=made.number,
            data_digest=made.data.digest,
        ).encode()

    def is_whole(self, digest: str) -> bool:
        return all(get_blob(self, ref) for ref in load_manifest(self, digest).files.values())

    def below(self, prefix: str) -> int:
        return len([key for key in self.objects if key.startswith(prefix)])
