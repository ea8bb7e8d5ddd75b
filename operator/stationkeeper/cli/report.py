"""`stationkeeper report`: the newest drift report of a model, from the store to the desk."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from pydantic import ValidationError

from stationkeeper.api.base import faults
from stationkeeper.api.storage import Storage
from stationkeeper.cli.cluster import Cluster, CommandError

_HELP: Final = """Fetch the newest drift report of a model: a page for people, or JSON for programs.

\b
  stationkeeper report flight-delays                 # writes flight-delays.html
  stationkeeper report flight-delays > drift.html
  stationkeeper report flight-delays -o json | jq .message

It reads the store with your own credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else boto3 finds). Where the \
store's address is one of the cluster's inside, forward its port first and name it by --endpoint-url.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(help=_HELP)(report)


def report(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of the Model")],
    policy: Annotated[str | None, typer.Option("--policy", "-p", help="Name of the DriftPolicy, where several watch it")] = None,
    output: Annotated[Literal["html", "json"], typer.Option("--output", "-o", help="A page, or JSON")] = "html",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Where to; without it the standard output, if piped")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of the S3 server as seen from here")] = None,
) -> None:
    """See `_HELP`."""
    found = Cluster(*context.obj).model(model)
    uri = address(found, policy, output)
    content = _fetch(_storage(found, endpoint_url), uri)
    if file is None and not sys.stdout.isatty():
        sys.stdout.buffer.write(content)
        return
    path = file or Path(f"{model}.{output}")
    path.write_bytes(content)
    print(f"{uri} is in {path}", file=sys.stderr)


def address(model: dict[str, Any], policy: str | None, output: str) -> str:
    """Where the newest report is.

    Raises:
        CommandError: when there is none, or several policies have one; the message says which.
    """
    name = model["metadata"]["name"]
    checks = (model.get("status") or {}).get("checks") or []
    known = {check["policy"]: check.get("page" if output == "html" else "report") for check in checks}
    there = sorted(name for name, uri in known.items() if uri)
    if policy is None and len(there) > 1:
        raise CommandError(f"several policies watch {name}: name one by --policy ({', '.join(there)})")
    uri: str | None = known.get(policy or (there[0] if there else ""))
    if not uri:
        whose = f"of policy {policy} " if policy else ""
        which = f"; there are those of: {', '.join(there)}" if there else ""
        raise CommandError(f"{name} has no report {whose}yet{which}; see: stationkeeper status {name}")
    return uri


def _storage(model: dict[str, Any], endpoint_url: str | None) -> Storage:
    try:
        given = model["spec"]["storage"] | ({"endpointURL": endpoint_url} if endpoint_url else {})
        return Storage.model_validate(given)
    except ValidationError as error:
        raise CommandError(faults(error, "storage")) from error


def _fetch(storage: Storage, uri: str) -> bytes:
    try:
        from stationkeeper.workloads.artifacts.errors import StoreError
        from stationkeeper.workloads.artifacts.s3 import S3Store
    except ImportError as error:
        raise CommandError(f"{error}: reports need more packages: pip install 'stationkeeper[workloads]'") from error
    folder, _, name = uri.rpartition("/")
    try:
        return S3Store.open(storage, folder).get(name)
    except StoreError as error:
        raise CommandError(f"{error}; is the server's address one that you reach from here? (--endpoint-url)") from error
