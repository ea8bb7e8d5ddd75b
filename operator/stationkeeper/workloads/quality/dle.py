"""Direct loss estimation: the error that a regression is to be expected to make, by what it answered and to what.

Reference: NannyML, DLE (2022). The losses were learned at publishing (`training.losses`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.workloads.training import bootstrap
from stationkeeper.workloads.training.losses import Losses

Floats = NDArray[np.float64]

_RESAMPLES: Final = 100
_SCORES: Final[dict[str, tuple[str, Callable[[float], float]]]] = {
    "neg_mean_absolute_error": ("absolute", lambda loss: -loss),
    "neg_mean_squared_error": ("square", lambda loss: -loss),
    "neg_root_mean_squared_error": ("square", lambda loss: -float(np.sqrt(max(loss, 0.0)))),
}
ESTIMABLE: Final = tuple(_SCORES)


@dataclass(frozen=True, slots=True)
class Loss:
    """A mean loss, and by how much the true one may lie off it (a standard deviation)."""

    mean: float
    spread: float

    def score(self, metric: str, deviations: float = 0.0) -> float:
        """As scikit-learn's scorer gives it, greater is better, when the loss lies so many deviations higher."""
        return _SCORES[metric][1](self.mean + deviations * self.spread)


def expected_loss(losses: Losses, points: NDArray[np.float32], metric: str, blocks: NDArray[np.int64] | None, seed: int) -> Loss:
    """The loss to be expected of rows.

    Args:
        losses: of the revision.
        points: the rows, as `Losses.points` gives them.
        metric: one of `ESTIMABLE`.
        blocks: of time. With them the spread holds for rows such as these, without for these very rows.
        seed: of the resamples.
    """
    kind = _SCORES[metric][0]
    each = np.zeros(len(points))
    noise = unknown = 0.0
    for tree in losses.trees:
        leaves = tree.leaves(points)
        means, variances = np.array(getattr(tree, kind)), np.array(getattr(tree, f"{kind}_variance"))
        each += means[leaves] / len(losses.trees)
        noise += float(variances[leaves].sum()) / len(points) ** 2 / len(losses.trees)
        shares = np.bincount(leaves, minlength=len(means)) / len(points)
        # How far the leaf's own mean may be off: it rests on so many rows of the holdout.
        unknown += float((shares**2 * variances / np.maximum(tree.rows, 1)).sum()) / len(losses.trees)
    between = 0.0
    if blocks is not None:
        weights = bootstrap.Resamples(len(each), blocks, np.zeros(len(each), np.int64), seed, _RESAMPLES)
        between = float(np.var([w @ each / w.sum() for w in weights]))
    return Loss(float(each.mean()), float(np.sqrt(noise + unknown + between)))
