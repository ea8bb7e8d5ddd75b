"""Which rows an earlier revision may have learned: they do not compare it with a new one."""

from collections.abc import Iterable
from datetime import datetime

from stationkeeper.api.base import parse_duration
from stationkeeper.api.manifest import Manifest
from stationkeeper.api.training import Holdout


def known_through(revision: Manifest, rule: Holdout, frozen: str | None) -> datetime | None:
    """Up to when rows may have taught the revision, also by labels that tell of what came after them; None: by none.

    Parameters:
        revision: the earlier one.
        rule: of the spec, for its gap.
        frozen: digest of a holdout of its own; a revision that was judged by it has never learned it.
    """
    if revision.data.through is None or (frozen and revision.evaluation.frozen == frozen):
        return None
    return revision.data.through + parse_duration(rule.gap or "0s")


def shares_split(revision: Manifest, frozen: str | None, features: Iterable[str]) -> bool:
    """Whether the same rows were kept from the revision, where no time tells.

    A hash over the features keeps the same rows apart, as long as the features are the same.
    """
    if frozen or revision.evaluation.frozen:
        return revision.evaluation.frozen == frozen
    return {column.name for column in revision.features} == set(features)
