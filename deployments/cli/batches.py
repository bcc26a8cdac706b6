"""The `musetalk batch` and `musetalk pipeline` commands: submit a job that consists of several child jobs."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.errors import user_errors
from deployments.cli.options import KeyOption, ServerOption, client_for, watch_job

if TYPE_CHECKING:
    from api.client import MusetalkClient

WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until the job ends and show its progress.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only validate it and estimate its duration.")]


def batch(
    manifest: Annotated[
        str, typer.Argument(help="JSON Lines or CSV: local file, or a media reference such as s3://…")
    ],
    job_type: Annotated[str, typer.Option("--type", help="Job type of every row.")] = "lip_sync",
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Parameter of every job: video=s3://media/anna.mp4; repeatable.",
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Concurrent jobs.")] = 4,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Submit a batch, one job per manifest row, and print its id. Invalid rows do not stop other rows."""
    from deployments.cli.parameters import collect_job_parameters

    with user_errors():
        client = client_for(server, key)
        body = {
            "job_type": job_type,
            "manifest": client.reference(manifest),
            "defaults": collect_job_parameters(job_type, {}, more or []),
            "parallel": parallel,
        }
        if dry_run:
            _print_estimate(client.estimate("batch", body))
        else:
            _submit_and_print(client, "batch", body, wait=wait)


def pipeline(
    file: Annotated[
        Path, typer.Argument(help="JSON file with steps, each with name, type and job; -: standard input.")
    ],
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Submit a pipeline, in which jobs use the results of earlier jobs, and print its id."""
    with user_errors():
        client = client_for(server, key)
        body = _read_pipeline(file)
        if dry_run:
            typer.echo(json.dumps(client.estimate("pipeline", body), indent=2))
        else:
            _submit_and_print(client, "pipeline", body, wait=wait)


def _submit_and_print(client: "MusetalkClient", job_type: str, body: dict[str, Any], *, wait: bool) -> None:
    job = client.submit(job_type, body)
    typer.echo(job["id"])
    if wait:
        watch_job(client, job["id"])


def _read_pipeline(file: Path) -> dict[str, Any]:
    from api.client import ApiError

    try:
        document: Any = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ApiError(f"{file} cannot be read as JSON ({type(error).__name__}).") from error
    if isinstance(document, list):
        document = {"steps": document}
    if not isinstance(document, dict):
        raise ApiError(f"{file} must contain a list of steps, or an object with `steps`.")
    return document  # pyright: ignore[reportUnknownVariableType]


def _print_estimate(estimate: dict[str, Any]) -> None:
    typer.echo(f"{estimate['jobs']} jobs from {estimate['total']} rows")
    for row in estimate["bad_rows"]:
        for problem in row["faults"]:
            typer.echo(f"row {row['row']} ({row['id']}) {problem['pointer']}: {problem['detail']}")
    for warning in estimate["warnings"]:
        typer.echo(f"warning: {warning}")
    if estimate["eta"]:
        eta = estimate["eta"]
        typer.echo(f"estimated duration: {eta['p50_s']:.0f} s (90th percentile {eta['p90_s']:.0f} s)")
    if not estimate["valid"]:
        raise typer.Exit(1)
