"""The memory of what another pipeline has published: what is new of it. Pure."""

from datetime import datetime

from stationkeeper.api.source import Source
from stationkeeper.api.status import SourceStatus
from stationkeeper.api.summary import SourceSummary


def seen(source: Source | None, before: SourceStatus | None, summary: SourceSummary | None) -> SourceStatus | None:
    """What lies at the source, by the newest look; the time is that of the first look that found it so.

    A look that found nothing new writes nothing: thousands of models are looked at every few minutes.
    """
    if source is None:
        return None
    known = before if before and before.uri == source.uri else None
    if summary is None or summary.uri != source.uri or (known and summary.seen_at <= known.seen_at):
        return known
    if known and (known.digest, known.message) == (summary.digest, summary.message):
        return known
    return SourceStatus(
        uri=summary.uri, digest=summary.digest, size=summary.size, seen_at=summary.seen_at, message=summary.message
    )


def fetched(before: SourceStatus | None, uri: str, digest: str, at: datetime) -> SourceStatus:
    """What lies at the source once an import has fetched a file that was begun at this moment: it has looked, too.

    Without it an older look would ask for what was there before.
    """
    if before and (before.digest == digest or before.seen_at >= at):
        return before
    return SourceStatus(uri=uri, digest=digest, seen_at=at)
