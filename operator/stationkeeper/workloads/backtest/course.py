"""What a replay found: courses of windows and trainings, variants of the policy, and all of it together. The JSON of `-o json`."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Literal

from pydantic import computed_field

from stationkeeper.api.base import Time, Tolerant
from stationkeeper.api.manifest import Score
from stationkeeper.api.status import Cause, TrainingOutcome
from stationkeeper.api.verdicts import Verdict

_TRAINED: Final = (TrainingOutcome.PUBLISHED, TrainingOutcome.REFUSED)


class Training(Tolerant):
    """One attempt to train."""

    at: Time
    cause: Cause
    outcome: TrainingOutcome
    reason: str
    message: str
    revision: int | None = None  # that it published
    metrics: dict[str, float] = {}
    champion_metrics: dict[str, float] = {}


class Part(Tolerant):
    """What a revision answered of a window in which another one took over, and what the policy said of that."""

    revision: int
    rows: int
    verdict: Verdict
    message: str


class Played(Tolerant):
    """One window: who answered, how well, and what the policy said of it."""

    start: Time
    end: Time
    rows: int
    labelled: int = 0
    revision: int  # that answered last
    score: float | None = None  # greater is better
    verdict: Verdict | None = None  # None where nobody listens
    data: Verdict | None = None
    features: Verdict | None = None
    predictions: Verdict | None = None
    drifted_share: float | None = None
    message: str = ""
    quality: Verdict | None = None  # on labels; None where nobody asked, or another revision serves by then
    quality_message: str = ""
    before: list[Part] = []  # of the revisions that answered before the last one, which the verdicts are about

    @property
    def gravest(self) -> Verdict:
        """The verdict on rows, or a breach on labels; labels that could not be judged leave nothing passed."""
        rows = self.verdict or Verdict.INSUFFICIENT_DATA
        if Verdict.BREACHED in (self.quality, rows):
            return Verdict.BREACHED
        return Verdict.ERROR if self.quality is Verdict.ERROR else rows

    @property
    def overall(self) -> Verdict:
        """The verdict on all parts: a breach or an error of any, and passed where one has and the others hold too little."""
        gravity = (Verdict.BREACHED, Verdict.ERROR, Verdict.PASSED, Verdict.INSUFFICIENT_DATA)
        found = {self.gravest, *(part.verdict for part in self.before)}
        return next(verdict for verdict in gravity if verdict in found)

    @property
    def why(self) -> str:
        """The findings on rows and labels."""
        return "; ".join(part for part in (self.message, self.quality_message) if part)


class Course(Tolerant):
    """History under one rule of training."""

    name: str
    windows: list[Played]
    trainings: list[Training]  # the first model's among them
    gain: Score | None = None  # of the mean score over never training again, with its interval; None where that is not known

    @computed_field  # type: ignore[prop-decorator]
    @property
    def score(self) -> float | None:
        """The mean over all labelled rows of the windows, greater is better."""
        known = [(w.score, w.labelled) for w in self.windows if w.score is not None and w.labelled]
        total = sum(rows for _, rows in known)
        return sum(score * rows for score, rows in known) / total if total else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def trained(self) -> int:
        """Trainings after the first, published or refused."""
        return len(self._later(_TRAINED))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def refused(self) -> int:
        """Challengers that the gates refused."""
        return len(self._later((TrainingOutcome.REFUSED,)))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def failed(self) -> int:
        """Trainings after the first that broke, or whose data was invalid."""
        return len(self._later((TrainingOutcome.FAILED, TrainingOutcome.INVALID_DATA)))

    @property
    def breached(self) -> list[Played]:
        """The windows that breached, by their rows or by their labels, in whatever part."""
        return [window for window in self.windows if window.overall is Verdict.BREACHED]

    @property
    def later(self) -> list[Training]:
        """The trainings after the first model's."""
        return self.trainings[1:]

    def _later(self, outcomes: Sequence[TrainingOutcome]) -> list[Training]:
        return [training for training in self.later if training.outcome in outcomes]


class Variant(Tolerant):
    """The policy with one thing changed, over the windows as they were replayed."""

    change: str  # "maxDriftedShare: 0.15"
    direction: Literal["stricter", "looser", "as it is"]
    breached: int
    windows: int  # that could be judged
    trainings: int  # that its windows would have asked for; schedule and growth come on top
    first: Time | None = None  # when it would have asked first


class Backtest(Tolerant):
    """Everything that one replay found. The first course is the policy's."""

    schema_version: Literal[1] = 1
    model: str
    policy: str
    metric: str | None
    start: Time  # of the history
    begin: Time  # end of the first stretch, from which the first model was made
    end: Time
    window: str
    retrained: bool
    courses: list[Course]
    variants: list[Variant]
    notes: list[str] = []

    @cached_property
    def loss(self) -> bool:
        """Whether the metric is a loss with its sign turned, as scikit-learn names them."""
        return bool(self.metric and self.metric.startswith("neg_"))

    @property
    def scored(self) -> bool:
        """Whether anything is known of quality."""
        return any(course.score is not None for course in self.courses)

    @property
    def measure(self) -> str:
        """What is shown of a score: the loss where there is one."""
        metric = self.metric or "score"
        return metric.removeprefix("neg_").replace("_", " ") if self.loss else metric

    def shown(self, score: float) -> float:
        """A score as it is shown."""
        return -score if self.loss else score

    @property
    def summary(self) -> str:
        """What was found, in sentences."""
        policy = self.courses[0]
        ended = {"refused by the gates": policy.refused, "failed": policy.failed}
        causes = Counter(training.cause.value for training in policy.later)
        parts = [[f"{count} by {cause}" for cause, count in causes.items()], [f"{n} {how}" for how, n in ended.items() if n]]
        of_them = "; ".join(", ".join(part) for part in parts if part)
        found = [window.overall for window in policy.windows]
        unseen = {"could not be judged": found.count(Verdict.ERROR), "held too little": found.count(Verdict.INSUFFICIENT_DATA)}
        said = [
            f"{len(policy.breached)} of {len(policy.windows)} windows breached"
            + "".join(f", {count} {why}" for why, count in unseen.items() if count),
            f"{_trainings(len(policy.later))} after the first model" + (f" ({of_them})" if of_them else ""),
        ]
        if policy.score is not None:
            others = ", ".join(f"{c.name} {self._told(c)}" for c in self.courses[1:] if c.score is not None)
            said.append(f"mean {self.measure} {self._told(policy)}" + (f", against {others}" if others else ""))
        if policy.gain is not None:
            said.append(_compared(policy.gain))
        return "; ".join(said)

    def _told(self, course: Course) -> str:
        assert course.score is not None
        return f"{self.shown(course.score):.4f} ({_trainings(course.trained)})"


def _compared(gain: Score) -> str:
    """Whether the policy was worth its trainings."""
    if not gain.value:
        return "the policy was as good as never training again"
    sure = gain.low is not None and gain.high is not None and (gain.low > 0 or gain.high < 0)
    how = f"{abs(gain.value):.4f} {'better' if gain.value > 0 else 'worse'} than never training again"
    return f"the policy was {how}{'' if sure else ', which chance alone may give'}"


def _trainings(count: int) -> str:
    return f"{count} training{'' if count == 1 else 's'}"
