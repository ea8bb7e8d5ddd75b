"""`stationkeeper check`: compare two samples, here and now, as the drift check of a model compares its traffic."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stationkeeper.api.base import faults
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.verdicts import Verdict
from stationkeeper.cli.cluster import CommandError

if TYPE_CHECKING:  # the workloads are an extra: the other commands go without
    from stationkeeper.api.report import DriftReport

EXIT_CODES: Final = {Verdict.PASSED: 0, Verdict.BREACHED: 10, Verdict.INSUFFICIENT_DATA: 20, Verdict.ERROR: 1}
_COLOURS: Final[Mapping[str, str]] = {
    Verdict.PASSED: "green",
    Verdict.BREACHED: "red",
    Verdict.INSUFFICIENT_DATA: "yellow",
    Verdict.ERROR: "magenta",
}
_PIPED_WIDTH: Final = 200
_RARE: Final = 1e-6  # below, how rare says nothing more
_HELP: Final = """Compare two samples: has CURRENT drifted away from REFERENCE, and is its data whole?

\b
  stationkeeper check -r january.parquet -c july.parquet
  stationkeeper check -r training.csv -c today.csv --timestamp departed_at --ignore row_id
  stationkeeper check -r s3://models/train/ -c s3://models/july.parquet --endpoint-url http://localhost:7070
  stationkeeper check -r reference.json -c 20130701T120000Z-pod-0.profile --policy policy.yaml
  stationkeeper check -r january.parquet -c july.parquet -o html > report.html

Rows come as Parquet, CSV or NDJSON: a file or a folder of files, here or in S3 (credentials from AWS_ACCESS_KEY_ID and \
AWS_SECRET_ACCESS_KEY). A reference may be the reference.json of a revision, and what is compared with it a .profile of its traffic.

Without a policy the defaults decide: thresholds are calibrated from what chance gives for samples of these sizes. With --timestamp \
they heed what ordinary stretches of the reference differ by, too, so that nights and weekends are no drift: give it wherever rows \
have a time.

Exit code: 0 Passed, 10 Breached, 20 InsufficientData, 1 Error.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(help=_HELP)(check)


def check(
    reference: Annotated[str, typer.Option("--reference", "-r", help="What to compare with: rows, or a reference.json")],
    current: Annotated[str, typer.Option("--current", "-c", help="What to judge: rows, or a .profile (folder of profiles)")],
    policy: Annotated[Path | None, typer.Option("--policy", "-p", help="A DriftPolicy, or its spec alone (YAML, JSON)")] = None,
    timestamp: Annotated[str | None, typer.Option(help="Column with the time of a row: tells ordinary variation")] = None,
    prediction: Annotated[
        list[str] | None, typer.Option(help="Column that the model answered, judged apart; may be given again")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Column that is not compared, as an id; may be given again")] = None,
    output: Annotated[
        Literal["table", "json", "html"], typer.Option("--output", "-o", help="For people, for programs, or a page")
    ] = "table",
    endpoint_url: Annotated[str | None, typer.Option(help="Address of the S3 server, where it is not AWS")] = None,
    region: Annotated[str, typer.Option(help="Region of the S3 server")] = "us-east-1",
) -> None:
    """See `_HELP`."""
    spec = read_policy(policy) if policy else DriftPolicySpec()
    try:
        from stationkeeper.workloads.checks.frames import FrameError, Names, Roles, check_frames
        from stationkeeper.workloads.checks.sources import Server, SourceError, open_current, open_reference
    except ImportError as error:
        raise CommandError(f"{error}: checks need more packages: pip install 'stationkeeper[workloads]'") from error
    if spec.quality:
        _refuse_unknown(spec.quality.metric, policy)
    server, roles = Server(endpoint_url, region), Roles(timestamp, prediction or (), ignore or ())
    names = Names(_short(reference), _short(current), policy.name if policy else "the defaults")
    try:
        with TemporaryDirectory(prefix="stationkeeper-") as scratch:
            before = open_reference(reference, server, Path(scratch))
            found, report = open_current(current, server, before, Path(scratch)), None
            while report is None:
                lost = [str(error) for error in found.lost]
                try:
                    report = check_frames(before, found.rows, spec, roles, names, lost=lost)
                except SourceError as error:
                    found = found.without(error)
    except (FrameError, SourceError) as error:
        if output == "json":
            print(_error(str(error)))
        raise CommandError(str(error)) from error
    _print(report, output)
    raise typer.Exit(EXIT_CODES[report.verdict])


def read_policy(path: Path) -> DriftPolicySpec:
    """A policy from a file: the whole object, or its spec.

    Raises:
        CommandError: when the file is no policy; the message names the field.
    """
    try:
        documents = [found for found in yaml.safe_load_all(path.read_text()) if found is not None]
    except OSError as error:
        raise CommandError(f"policy {path} cannot be read: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        at = f" in line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}" if error.problem_mark else ""
        raise CommandError(f"policy {path} is no YAML: {error.problem}{at}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"policy {path} is no YAML: {' '.join(str(error).split())}") from error
    policies = [found for found in documents if isinstance(found, dict) and found.get("kind", "DriftPolicy") == "DriftPolicy"]
    if len(policies) != 1:
        raise CommandError(
            f"policy {path}: it holds {len(policies)} policies; give a file with exactly one DriftPolicy, or its spec"
        )
    found: dict[str, Any] = policies[0]
    try:
        return DriftPolicySpec.model_validate(found.get("spec", found))
    except ValidationError as error:
        raise CommandError(
            f"policy {path}: {faults(error, 'spec' if 'spec' in found else '')}; see: kubectl explain driftpolicy.spec"
        ) from error


def _refuse_unknown(metric: str, policy: Path | None) -> None:
    # scikit-learn takes as long to import as a million rows to check: only where a policy names a metric is it needed.
    from stationkeeper.workloads.training.metrics import unknown

    if said := unknown(metric):
        raise CommandError(f"policy {policy}: quality.metric: {said}")


def _error(message: str) -> str:
    """For programs: what could not be compared has a verdict too."""
    from stationkeeper.api.report import DriftReport

    version = DriftReport.model_fields["schema_version"].default
    told = {"schemaVersion": version, "verdict": Verdict.ERROR, "message": message, "columns": [], "violations": []}
    return json.dumps(told, indent=2)


def _short(address: str) -> str:
    return address.rstrip("/").rpartition("/")[2] or address


def _print(report: "DriftReport", output: str) -> None:
    if output == "json":
        print(report.model_dump_json(by_alias=True, indent=2))
    elif output == "html":
        from stationkeeper.workloads.report.page import page

        print(page(report))
    else:
        Tables(Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH)).show(report)


class Tables:
    """A report on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, report: "DriftReport") -> None:
        """Verdict and why, then what was found, the gravest first."""
        verdict = Text(report.verdict, style=f"bold {_COLOURS[report.verdict]}")
        self._console.print(Text.assemble(verdict, f": {report.message}"))
        self._console.print(
            Text(f"{report.model} ({report.rows:,} rows) against {report.baseline} ({report.reference_rows:,} rows)")
        )
        self._columns(report)
        self._rows(
            "VIOLATION",
            "COLUMN",
            "OBSERVED",
            "EXPECTED",
            # Columns that drifted have a table of their own.
            of=[(v.type, v.column, v.observed, v.expected) for v in report.violations if v.type != "baseline_drift"],
        )
        self._rows(
            "ALL COLUMNS", "STATISTIC", "THRESHOLD", "VERDICT", "",
            of=[(m.test, _number(m.statistic), _number(m.threshold), m.verdict, m.message) for m in report.multivariate],
        )  # fmt: skip
        self._rows(
            "SEGMENT", "ROWS", "VERDICT", "",
            of=[(f"{s.column} = {s.value}", f"{s.rows:,}", s.verdict, s.message) for s in report.segments],
        )  # fmt: skip
        for found in report.calibrating:
            self._console.print(Text(f"note: Calibrating ({found.group}): {found.message}"))
        for note in report.notes:
            self._console.print(Text(f"note: {note}"))

    def _columns(self, report: "DriftReport") -> None:
        from stationkeeper.workloads.report.ranking import ranked

        rows = [
            (c.name, c.group, c.test, _number(c.statistic), _number(c.threshold), _chance(c.p_value), c.verdict)
            for c in ranked(report.columns)
        ]
        self._rows("COLUMN", "GROUP", "TEST", "STATISTIC", "THRESHOLD", "CHANCE", "VERDICT", of=rows)

    def _rows(self, *headings: str, of: Sequence[tuple[str, ...]]) -> None:
        if not of:
            return
        table = Table(box=None)
        for heading in headings:
            right = heading in ("STATISTIC", "THRESHOLD", "CHANCE", "ROWS")
            table.add_column(heading, justify="right" if right else "left", no_wrap=True)
        for row in of:
            table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
        self._console.print()
        self._console.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _chance(p_value: float | None) -> str:
    return "< 1e-6" if p_value is not None and p_value < _RARE else _number(p_value)
