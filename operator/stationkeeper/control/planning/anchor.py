"""The anchor: an earlier revision that no challenger may fall below (SEMANTICS §8.9).

Each challenger may lose up to `maxDrop` against its champion, so a row of them could lose without end, and no gate would have seen
it. Records hold what each revision lost or gained against the one before, each pair on the same rows; summed up along the line
they say who was the best. That is a guess from other rows than today's, so the training asks that revision anew.
"""

from collections.abc import Collection, Sequence

from stationkeeper.api.revision import ModelRevisionSpec


def anchor(
    serving: ModelRevisionSpec | None, records: Sequence[ModelRevisionSpec], bad: Collection[str], metric: str
) -> ModelRevisionSpec | None:
    """The retained revision that stands highest above the serving one; None when none does.

    Parameters:
        serving: the champion, which is compared with anyhow.
        records: every revision of which there is a record.
        bad: digests that are quarantined. They stand in the line, and are no anchor.
        metric: of the first gate; a revision that was not compared by it ends the line.
    """
    known = {record.digest: record for record in records}
    best, highest, ahead = None, 0.0, 0.0
    seen: set[str] = set()
    revision = serving
    while revision is not None and revision.champion is not None and revision.digest not in seen:
        seen.add(revision.digest)
        ours, theirs = revision.metrics.get(metric), revision.champion.metrics.get(metric)
        if ours is None or theirs is None:
            break
        ahead += theirs - ours  # of the champion, above the serving revision
        revision = known.get(revision.champion.digest)
        if revision is not None and ahead > highest and revision.digest not in bad:
            best, highest = revision, ahead
    return None if best is None or serving is None or best.digest == serving.digest else best
