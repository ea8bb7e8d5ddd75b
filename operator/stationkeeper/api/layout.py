"""The few keys under `spec.storage.uri` that both planes name. The whole layout is in `api.manifest`."""

from datetime import UTC, datetime

from stationkeeper.api.storage import Storage


def uri(storage: Storage, key: str) -> str:
    """The full address of a key under the Model's prefix."""
    return f"{storage.uri.rstrip('/')}/{key}"


def attempt(episode: str, number: int) -> str:
    """Prefix of one attempt of one episode."""
    return f"episodes/{episode}/{number}/"


def outcome(episode: str, number: int) -> str:
    """How an attempt ended."""
    return f"{attempt(episode, number)}outcome.json"


def evaluation(episode: str, number: int) -> str:
    """What the gates said of a challenger that they refused."""
    return f"{attempt(episode, number)}evaluation.json"


def manifest(digest: str) -> str:
    """A manifest, by content."""
    return f"manifests/{digest.removeprefix('sha256:')}.json"


def decision(at: datetime, identity: str) -> str:
    """The evidence of one decision; keys sort by time."""
    return f"decisions/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{identity}.json"
