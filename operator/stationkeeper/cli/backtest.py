"""`stationkeeper backtest`: play history again through a policy, here and now, before a cluster does it for good."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.cli.backtest_model import Asked, duration, subject_of
from stationkeeper.cli.backtest_tables import Tables
from stationkeeper.cli.check import read_policy
from stationkeeper.cli.cluster import CommandError

if TYPE_CHECKING:  # the workloads are an extra: the other commands go without
    from stationkeeper.workloads.backtest.course import Backtest

_PIPED_WIDTH: Final = 640  # so that a window with its finding is one line
_HELP: Final = """Play history again through a drift policy: which windows breach and why, how many trainings that makes, and what they bring.

\b
  stationkeeper backtest model.yaml --data history.parquet --policy policy.yaml --window 14d
  stationkeeper backtest model.yaml --data s3://mlops/flights/ --endpoint-url http://localhost:7070 --first 90d
  stationkeeper backtest model.yaml --data history/ --window 14d --retrain --every 8w --metric neg_log_loss
  stationkeeper backtest model.yaml --data history/ --window 14d --retrain -o html > backtest.html
  stationkeeper backtest captured/ --policy policy.yaml --prediction probability

MODEL is the manifest of a Model, or rows alone: Parquet, CSV or NDJSON, a file or a folder of files, here or in S3 (credentials \
from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY). The first model learns the first stretch of the history (--first); after that \
time passes window by window. The operator's own planning decides, on the clock of the data: M of N windows, onset, waiting for new \
rows, cooldown, limit. A label is known only --lag after its row.

Without --retrain each later training is taken for published, and only the reference of the checks moves on: seconds, and no word on \
quality. With --retrain every training goes through the preparation, the fit and the gates of a training pod, and the policy is \
compared, on the windows that followed, with never training again, a fixed schedule (--every), and every window.

The table at the end tells what a stricter or looser policy would have said of the same windows.
"""

_Output = Literal["table", "json", "html"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(help=_HELP)(backtest)


def backtest(
    model: Annotated[str, typer.Argument(help="The manifest of a Model (YAML), or rows")],
    data: Annotated[str | None, typer.Option(help="Rows, in place of spec.training.data.uri")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", "-p", help="A DriftPolicy, or its spec (default: the defaults)")
    ] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Really train along the way, and compare rules of training")] = False,
    first: Annotated[
        str | None, typer.Option(help="The stretch that the first model learns, as 90d or 12w (default: a quarter)")
    ] = None,
    window: Annotated[str | None, typer.Option(help="Length of a window, in place of the policy's, as 14d")] = None,
    every: Annotated[str, typer.Option(help="The fixed schedule to compare with, as 8w; never to leave it out")] = "8w",
    metric: Annotated[str | None, typer.Option(help="A scikit-learn scorer (default: that of the first gate)")] = None,
    lag: Annotated[
        str | None, typer.Option(help="When a label is known after its row (default: spec.labels.lag, or at once)")
    ] = None,
    timestamp: Annotated[str | None, typer.Option(help="Column with the time of a row, where MODEL is rows")] = None,
    prediction: Annotated[
        list[str] | None, typer.Option(help="Column with an answer, where MODEL is rows; may be given again")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Column that is no feature, where MODEL is rows")] = None,
    output: Annotated[
        _Output, typer.Option("--output", "-o", help="For people, for programs, or a page with a picture")
    ] = "table",
    endpoint_url: Annotated[str | None, typer.Option(help="Address of the S3 server, where it is not AWS")] = None,
    region: Annotated[str, typer.Option(help="Region of the S3 server")] = "us-east-1",
) -> None:
    """See `_HELP`."""
    spec = read_policy(policy) if policy else DriftPolicySpec()
    subject = subject_of(model, data, Asked(timestamp, prediction or (), ignore or (), lag, endpoint_url, region))
    if retrain and subject.roles is not None:
        raise CommandError(f"{model} is rows alone: --retrain needs a Model with an estimator, to train it along the way")
    # Before scikit-learn is loaded: threads that spin while they wait make a fit 20 times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.getLogger("stationkeeper").addHandler(logging.NullHandler())  # what a pod logs is told in the tables
    try:
        from stationkeeper.cli.backtest_run import Setting, run
    except ImportError as error:
        raise CommandError(f"{error}: backtests need more packages: pip install 'stationkeeper[workloads]'") from error
    setting = Setting(
        policy=_with_window(spec, window),
        name=policy.name if policy else "the defaults",
        retrain=retrain,
        first=duration(first, "--first") if first else None,
        every=None if every == "never" else duration(every, "--every"),
        every_text=every,
        metric=metric,
    )
    with tempfile.TemporaryDirectory(prefix="backtest-") as folder, _progress() as told:
        found = run(subject, setting, Path(folder), told)
    _print(found, output)


def _with_window(spec: DriftPolicySpec, window: str | None) -> DriftPolicySpec:
    if window is None:
        return spec
    minutes = int(duration(window, "--window").total_seconds()) // 60
    if not minutes:
        raise CommandError(f"--window {window}: windows are whole minutes; write for example 15m, 1h or 14d")
    size, unit = next((size, unit) for size, unit in ((1440, "d"), (60, "h"), (1, "m")) if minutes % size == 0)
    return spec.model_copy(update={"window": f"{minutes // size}{unit}"})


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr, where somebody looks at it."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading the history", total=1.0)
        yield lambda text, done: progress.update(task, description=text, completed=done)


def _print(found: "Backtest", output: _Output) -> None:
    if output == "json":
        print(found.model_dump_json(by_alias=True, exclude_none=True, indent=2))
    elif output == "html":
        from stationkeeper.workloads.backtest.picture import page

        print(page(found))
    else:
        Tables(Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH)).show(found)
