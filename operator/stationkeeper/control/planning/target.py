"""Which revision should serve: the pinned one, or the newest that may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.meta import ANNOTATION_REJECT, ANNOTATION_ROLLBACK
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import ModelStatus, Quarantined


@dataclass(frozen=True)
class Target:
    """The revision that should serve; None where none may."""

    record: ModelRevisionSpec | None
    at_once: bool = False  # a person or a rollback wants it: no steps, no approval
    problem: str = ""  # why a wish cannot be followed


def people_quarantine(
    annotations: dict[str, str], status: ModelStatus, stable: ModelRevisionSpec | None, now: datetime
) -> list[Quarantined]:
    """The quarantine with what people said: a rejected candidate, a revision that they rolled back. Saying it twice adds nothing."""
    entries = list(status.quarantine)
    known = {entry.digest for entry in entries}
    rejected, rolled_back = annotations.get(ANNOTATION_REJECT), annotations.get(ANNOTATION_ROLLBACK)
    if status.candidate and status.candidate.digest == rejected and rejected not in known:
        entries.append(Quarantined(digest=rejected, reason="rejected by a person", at=now))
    if stable and stable.digest == rolled_back and rolled_back not in known:
        entries.append(Quarantined(digest=rolled_back, reason="rolled back by a person", at=now, promoted=True))
    return entries


def choose(
    pin: int | None,
    records: Sequence[ModelRevisionSpec],
    quarantine: Sequence[Quarantined],
    stable: ModelRevisionSpec | None,
    rejected: Sequence[ModelRevisionSpec] = (),
) -> Target:
    """The pinned revision, quarantined or not; without a pin the newest good one, and never an older for a newer one that is good.

    `rejected`: challengers that the gates refused; a pin to one of them is answered by saying so.
    """
    if pin is not None:
        pinned = next((record for record in records if record.number == pin), None)
        if pinned is None:
            served = f"revision {stable.number} keeps serving" if stable else "nothing serves"
            refused = next((record for record in rejected if record.number == pin), None)
            known = f"a challenger that the gates refused ({refused.reason})" if refused else "of which there is no record"
            return Target(stable, problem=f"spec.revision names revision {pin}, {known}; {served}")
        return Target(pinned, at_once=True)
    bad = {entry.digest for entry in quarantine}
    good = [record for record in records if record.digest not in bad]
    newest = max(good, key=lambda record: record.number, default=None)
    if newest is None and stable is not None:
        return Target(stable, problem=f"no other revision may serve: revision {stable.number} keeps serving")
    if stable is None or newest is None:
        return Target(newest)
    if stable.digest in bad:  # back to what has served at once; on to what has not, by its steps
        return Target(newest, at_once=newest.number < stable.number)
    return Target(newest if newest.number > stable.number else stable)
