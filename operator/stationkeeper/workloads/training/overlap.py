"""Which rows an earlier revision may have learned: they do not compare it with a new one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.base import parse_duration
from stationkeeper.api.evaluation import Holdout
from stationkeeper.api.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Judging:
    """How the rows that judge were kept apart from training."""

    rule: Holdout
    frozen: str | None = None  # digest of a holdout of its own
    apart: bool = False  # none of its rows was ever in the data

    def known_through(self, revision: Manifest) -> datetime | None:
        """Up to when rows may have taught a revision, also by labels that tell of what came after them; None: by none."""
        if revision.data.through is None or self._never_learned(revision):
            return None
        return revision.data.through + parse_duration(self.rule.gap or "0s")

    def shares_split(self, revision: Manifest, features: Iterable[str]) -> bool:
        """Whether the same rows were kept from a revision, where no time tells.

        A hash over the features keeps the same rows apart, as long as the features are the same.
        """
        made_here = revision.binding is None  # what one that was made elsewhere learned, no holdout of ours decided
        if self.frozen or (made_here and revision.evaluation.frozen):
            return self._never_learned(revision)
        return {column.name for column in revision.features} == set(features)

    def _never_learned(self, revision: Manifest) -> bool:
        return self.frozen is not None and (self.apart or revision.evaluation.frozen == self.frozen)
