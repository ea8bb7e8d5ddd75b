"""What a person decides of a rollout: approve, reject, roll back, pause, resume. Each sets an annotation that the operator answers."""

from typing import Annotated, Any

import typer
from rich.console import Console

from stationkeeper.api.meta import (
    ANNOTATION_APPROVE,
    ANNOTATION_PAUSE,
    ANNOTATION_REJECT,
    ANNOTATION_RESUME,
    ANNOTATION_ROLLBACK,
)
from stationkeeper.cli.cluster import Cluster, CommandError

console = Console(highlight=False, soft_wrap=True)
Name = Annotated[str, typer.Argument(help="Name of the Model")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (approve, reject, rollback, pause, resume):
        app.command()(command)


def approve(context: typer.Context, model: Name) -> None:
    """Let the candidate take all requests, where spec.serving.rollout.approval is Manual."""
    cluster, candidate = _candidate(context, model)
    cluster.decide(model, ANNOTATION_APPROVE, candidate["digest"])
    console.print(f"approved revision {candidate['number']} of {model}; it takes all requests once it is proven")


def reject(context: typer.Context, model: Name) -> None:
    """Give the candidate up: it is quarantined, and the stable revision goes on."""
    cluster, candidate = _candidate(context, model)
    cluster.decide(model, ANNOTATION_REJECT, candidate["digest"])
    console.print(f"rejected revision {candidate['number']} of {model}; the stable revision keeps serving")


def rollback(context: typer.Context, model: Name) -> None:
    """Take back the revision that serves: the newest good one before it takes over, without a training."""
    cluster = Cluster(*context.obj)
    serving = (cluster.model(model).get("status") or {}).get("serving")
    if not serving:
        raise CommandError(f"model {model}: nothing serves, so there is nothing to roll back")
    cluster.decide(model, ANNOTATION_ROLLBACK, serving["digest"])
    console.print(
        f"revision {serving['number']} of {model} is rolled back; automatic trainings wait until you ask for one, its code changes, "
        f"or a later drift begins"
    )


def pause(context: typer.Context, model: Name) -> None:
    """Hold a rollout where it is. A fault still takes it back."""
    Cluster(*context.obj).annotate(model, ANNOTATION_PAUSE, "paused")
    console.print(f"rollouts of {model} stay where they are; go on with: stationkeeper resume {model}")


def resume(
    context: typer.Context,
    model: Name,
    trainings: Annotated[
        bool,
        typer.Option(
            "--trainings", help="Let the trainings that a rollback holds go on instead; what was rolled back stays out."
        ),
    ] = False,
) -> None:
    """Let a paused rollout go on; with --trainings, the trainings that a rollback holds."""
    cluster = Cluster(*context.obj)
    if not trainings:
        cluster.annotate(model, ANNOTATION_PAUSE, None)
        console.print(f"rollouts of {model} go on")
        return
    held = [entry for entry in (cluster.model(model).get("status") or {}).get("quarantine") or [] if not entry.get("lifted")]
    if not held:
        raise CommandError(f"model {model}: no rollback holds its trainings")
    cluster.annotate(model, ANNOTATION_RESUME, held[-1]["digest"])
    console.print(f"trainings of {model} go on, also with the code and data of what was rolled back; that itself stays out")


def _candidate(context: typer.Context, model: str) -> tuple[Cluster, dict[str, Any]]:
    cluster = Cluster(*context.obj)
    candidate: dict[str, Any] | None = (cluster.model(model).get("status") or {}).get("candidate")
    if not candidate:
        raise CommandError(f"model {model}: no revision is coming up; see: stationkeeper status {model}")
    return cluster, candidate
