"""`stationkeeper` (and `kubectl stationkeeper`): what a model does, why, and how to ask for a training."""

import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stationkeeper import __version__
from stationkeeper.api.meta import ANNOTATION_RETRAIN
from stationkeeper.cli import backtest, check, report, rollout
from stationkeeper.cli.cluster import Cluster, CommandError
from stationkeeper.cli.explain import explain as sentences

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Look after machine-learning models on Kubernetes. Output is plain when piped; --output json for programs.",
)
# Tables must not be folded when their lines are read by a program.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
Output = Annotated[str, typer.Option("--output", "-o", help="table, or json for programs")]
Name = Annotated[str, typer.Argument(help="Name of the Model")]


@app.callback()
def common(
    context: typer.Context,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace (default: of the context)")] = None,
    kube_context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig")] = None,
) -> None:
    """Options of all commands."""
    context.obj = (namespace, kube_context)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@app.command("list")
def list_models(context: typer.Context, output: Output = "table") -> None:
    """List the models of a namespace: what serves, whether it drifts, whether it trains."""
    models = Cluster(*context.obj).models()
    if output == "json":
        print(json.dumps(models, indent=2))
        return
    table = Table(box=None)
    for heading in ("MODEL", "READY", "REVISION", "DRIFTED", "TRAINING"):
        table.add_column(heading)
    for model in models:
        status = model.get("status") or {}
        number = (status.get("serving") or {}).get("number", "-")
        cells = (
            _condition(status, "Ready"),
            str(number),
            _condition(status, "Drifted"),
            _condition(status, "Retraining", "reason"),
        )
        table.add_row(model["metadata"]["name"], *cells)
    console.print(table)


@app.command()
def status(context: typer.Context, model: Name, output: Output = "table") -> None:
    """Say what serves, what was found, and why a wanted training has not started."""
    found = Cluster(*context.obj).model(model)
    said = found.get("status") or {}
    if output == "json":
        print(json.dumps(said, indent=2))
        return
    if not said:
        console.print(f"{model}: the operator has not looked at it yet")
        return
    for type_ in ("Ready", "Stalled", "Drifted", "DataValid", "Retraining", "RolloutProgressing"):
        condition = next((c for c in said.get("conditions") or [] if c["type"] == type_), None)
        if condition:
            console.print(f"{type_ + ':':<20}{condition['status']:<9}{condition['reason']}: {condition['message']}", markup=False)
    if waiting := said.get("waiting"):
        until = f", looked at again at {waiting['until']}" if waiting.get("until") else ""
        console.print(f"{'Waits:':<20}{waiting['cause']}: {waiting['message']}{until}", markup=False)
    if url := said.get("url"):
        console.print(f"{'URL:':<20}{url}", markup=False)
    for watched in said.get("checks") or []:
        windows, where = watched.get("windows") or [], watched.get("page") or watched.get("report") or "-"
        heading = f"Windows checked by policy {watched['policy']} (report: {where})"
        console.print(f"\n{heading}" if windows else f"\nNo window checked yet by policy {watched['policy']}", markup=False)
        for window in windows:
            verdicts = f"data {window['data']}, features {window['features']}, predictions {window['predictions']}"
            console.print(f"  {window['start']}  {window['rows']:>8} rows  {verdicts}", markup=False)


@app.command()
def revisions(context: typer.Context, model: Name, output: Output = "table") -> None:
    """List the revisions of a model: why each was trained, how good it was, and which the gates refused."""
    found = Cluster(*context.obj).revisions(model)
    if output == "json":
        print(json.dumps([revision["spec"] for revision in found], indent=2))
        return
    table = Table(box=None)
    for heading in ("NUMBER", "OUTCOME", "CAUSE", "TRAINED", "DATA THROUGH", "DIGEST", "METRICS"):
        table.add_column(heading)
    for revision in found:
        spec: dict[str, Any] = revision["spec"]
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in (spec.get("metrics") or {}).items())
        outcome = spec.get("outcome", "Published") + (f" ({spec['reason']})" if spec.get("reason") else "")
        row = (
            str(spec["number"]),
            outcome,
            spec["cause"],
            spec["trainedAt"][:16],
            (spec.get("dataThrough") or "-")[:16],
            spec["digest"][7:19],
        )
        table.add_row(*row, metrics)
    console.print(table)


@app.command()
def decisions(context: typer.Context, model: Name, output: Output = "table") -> None:
    """List the newest decisions about revisions: what, why, by whom, and where the evidence is."""
    taken = (Cluster(*context.obj).model(model).get("status") or {}).get("decisions") or []
    if output == "json":
        print(json.dumps(taken, indent=2))
        return
    if not taken:
        console.print(f"{model}: nothing has been decided yet")
        return
    table = Table(box=None)
    for heading in ("TIME", "DECISION", "REVISION", "BY", "EVIDENCE", "WHY"):
        table.add_column(heading)
    for decision in reversed(taken):
        by = decision.get("approver") or "-"
        where = decision["uri"] if decision.get("recorded") else decision.get("trouble") or "being written"
        table.add_row(decision["at"], decision["kind"], str(decision["revision"]), by, where, decision["message"])
    console.print(table)


@app.command()
def retrain(context: typer.Context, model: Name) -> None:
    """Ask for a training. The gates still decide whether the result may serve."""
    cluster = Cluster(*context.obj)
    token = datetime.now(UTC).isoformat(timespec="seconds")
    cluster.annotate(model, ANNOTATION_RETRAIN, token)
    console.print(
        f"asked for a training of {model} ({token}); follow it with: stationkeeper -n {cluster.namespace} status {model}"
    )


@app.command()
def explain(context: typer.Context, model: Name) -> None:
    """Say in plain words what the operator would do next, and why not yet."""
    found = Cluster(*context.obj).model(model)
    for sentence in sentences(found, datetime.now(UTC)):
        console.print(sentence, markup=False)


backtest.register(app)
check.register(app)
report.register(app)
rollout.register(app)


def _condition(status: dict[str, Any], type_: str, field: str = "status") -> str:
    return next((str(c[field]) for c in status.get("conditions") or [] if c["type"] == type_), "-")


def main() -> None:
    """Entry point: errors are one line and exit code 1."""
    try:
        app()
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
