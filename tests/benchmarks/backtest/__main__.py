"""What the default policy is worth on a year of flights: `python -m tests.benchmarks.backtest`.

The first model learns days 1 to 90; then fortnights pass. The policy is the default one, with windows of 14 days, and the Model has the
estimator of `manifests/samples/flights` and floors as gates, so that the yardsticks train freely. The goal is that of the mean over
first stretches a week or two shorter and longer too: what holds for one date only was luck, for a week more or less in a training moves
the year's loss by more than rules differ. Figures are Markdown on stdout; about half an hour.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from hack.demo.flights import FEATURES, TARGET, TIMESTAMP, flights
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.cli.backtest_model import Asked, subject_of
from stationkeeper.cli.backtest_run import Setting, run
from stationkeeper.workloads.backtest.course import Backtest, Course

GOAL: Final = 0.5025  # mean log loss, or better
TRAININGS: Final = 5  # at most, at each date
SCHEDULE: Final = 8  # weeks
FIRST: Final = 90  # days
PHASES: Final = (76, 83, 97, 104)
SAMPLE: Final = Path(__file__).parents[3] / "manifests" / "samples" / "flights" / "model.yaml"
GATES: Final = [{"metric": "neg_log_loss", "min": -0.7}, {"metric": "roc_auc", "min": 0.6}]


def model(folder: Path, **data: Any) -> str:
    """A Model with the sample's estimator and otherwise defaults; `data` changes what it learns."""
    estimator = yaml.safe_load(SAMPLE.read_text())["spec"]["training"]["estimator"]
    rows = {"uri": str(folder / "flights.parquet"), "target": TARGET, "positiveLabel": "true", "timestamp": TIMESTAMP}
    training = {"estimator": estimator, "data": rows | {"features": list(FEATURES)} | data, "evaluation": {"gates": GATES}}
    spec = {"storage": {"uri": "s3://models/flights"}, "training": training}
    path = folder / f"model-{'-'.join(data.values())}.yaml"
    path.write_text(yaml.safe_dump({"kind": "Model", "metadata": {"name": "flights"}, "spec": spec}))
    return str(path)


def played(manifest: str, first: int) -> Backtest:
    """The replay, with a schedule and every window beside the policy."""
    setting = Setting(
        policy=DriftPolicySpec(window="14d"),
        name="the defaults",
        retrain=True,
        first=timedelta(days=first),
        every=timedelta(weeks=SCHEDULE),
        every_text=f"{SCHEDULE}w",
        metric="neg_log_loss",
    )
    with tempfile.TemporaryDirectory(prefix="backtest-") as room:
        return run(subject_of(manifest, None, Asked()), setting, Path(room), lambda text, done: progress(f"{done:4.0%} {text}"))


def progress(text: str) -> None:
    """One line on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def line(what: str, course: Course) -> str:
    """A row of the table."""
    gain = course.gain
    told = "" if gain is None else f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
    loss = "-" if course.score is None else f"{-course.score:.4f}"
    return f"| {what} | {loss} | {told} | {course.trained} | {course.refused} |"


def loss(courses: Sequence[Course]) -> float:
    """The mean log loss of a rule, over the dates; not a number where one could not be scored."""
    return -sum(course.score if course.score is not None else float("nan") for course in courses) / len(courses)


def main() -> int:
    """Print the figures; 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one date alone, and no other Model")
    quick = parser.parse_args().quick
    print("| first model, rule | mean log loss | better than never by | trainings | refused |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="flights-") as name:
        folder = Path(name)
        flights().write_parquet(folder / "flights.parquet")
        found = {}
        for first in (FIRST,) if quick else (FIRST, *PHASES):
            found[first] = played(model(folder), first).courses
            for course in found[first]:
                print(line(f"days 1 to {first}, {course.name}", course), flush=True)
        if not quick:
            recent = played(model(folder, window="60d"), FIRST)
            print(line(f"the last 60 days, every {SCHEDULE}w", recent.courses[-1]), flush=True)
    for rule in zip(*found.values(), strict=True):
        print(f"| mean of {len(rule)}, {rule[0].name} | {loss(rule):.4f} | | {sum(c.trained for c in rule) / len(rule):.1f} | |")
    policy = [courses[0] for courses in found.values()]
    reached = loss(policy) <= GOAL and max(course.trained for course in policy) <= TRAININGS
    print(f"\nGoal ({GOAL} or better, at most {TRAININGS} trainings): {'reached' if reached else 'missed'}")
    for first, courses in found.items():
        for training in courses[0].trainings:
            print(f"- days 1 to {first}: {training.at:%Y-%m-%d} {training.cause} {training.outcome}: {training.message}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
