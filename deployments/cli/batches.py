"""The `musetalk batch` and `musetalk pipeline` commands: submit a job that consists of several child jobs."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from deployments.cli.errors import EXIT_FAILED, UsageError, user_errors
from deployments.cli.options import (
    JsonOption,
    KeyOption,
    OutputOption,
    ServerOption,
    WaitOption,
    client_for,
    finish_job,
    print_json,
    require_output_folder,
)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only validate it and estimate its duration.")]


def batch(  # noqa: PLR0913  one option each
    manifest: Annotated[
        str, typer.Argument(help="JSON Lines or CSV: local file, or a media reference such as s3://…")
    ],
    job_type: Annotated[str, typer.Option("--type", help="Job type of every row.")] = "lip_sync",
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Parameter of every job: video=anna.mp4; repeatable.",
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Concurrent jobs.")] = 4,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """
    Submit a batch, one job per manifest row, and print its id. Invalid rows do not stop other rows.

    Local files that the manifest names are uploaded first, relative to its folder.
    """
    from deployments.cli.field_errors import described_rejection
    from deployments.cli.local_manifests import upload_manifest
    from deployments.cli.parameters import collect_job_parameters

    with user_errors(), described_rejection():
        require_output_folder(output)
        client = client_for(server, key)
        defaults = collect_job_parameters(job_type, {}, more or [], partial=True)
        body = {
            "job_type": job_type,
            "manifest": upload_manifest(client, manifest, job_type),
            "defaults": client.upload_inputs(job_type, defaults),
            "parallel": parallel,
        }
        if not dry_run:
            finish_job(client, client.submit("batch", body), wait=wait, output=output, as_json=as_json)
            return
        estimate = client.estimate("batch", body)
        if as_json:
            print_json(estimate)
        else:
            _print_estimate(estimate)
        if not estimate["valid"]:
            raise typer.Exit(EXIT_FAILED)


def pipeline(
    file: Annotated[
        Path, typer.Argument(help="JSON file with steps, each with name, type and job; -: standard input.")
    ],
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """
    Submit a pipeline, in which jobs use the results of earlier jobs, and print its id.

    Local files that its steps name are uploaded first, relative to the file's folder.
    """
    from deployments.cli.field_errors import described_rejection
    from deployments.cli.local_manifests import upload_pipeline_files

    with user_errors():
        require_output_folder(output)
        client = client_for(server, key)
        folder = Path() if str(file) == "-" else file.parent
        body = upload_pipeline_files(client, _read_pipeline(file), folder)
        with described_rejection(body):
            job = client.estimate("pipeline", body) if dry_run else client.submit("pipeline", body)
        if dry_run:
            print_json(job)
        else:
            finish_job(client, job, wait=wait, output=output, as_json=as_json)


def _read_pipeline(file: Path) -> dict[str, Any]:
    try:
        document: Any = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as JSON ({_reason(error)}).") from error
    if isinstance(document, list):
        document = {"steps": document}
    if not isinstance(document, dict):
        raise UsageError(f"{file} must contain a list of steps, or an object with `steps`.")
    return document  # pyright: ignore[reportUnknownVariableType]


def _reason(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"line {error.lineno}, column {error.colno}: {error.msg}"
        case FileNotFoundError():
            return "no such file"
        case OSError():
            return str(error.strerror)
        case _:
            return type(error).__name__


def _print_estimate(estimate: dict[str, Any]) -> None:
    from deployments.console import fault_text, warning_text

    typer.echo(f"{estimate['jobs']} jobs from {estimate['total']} rows")
    for row in estimate["bad_rows"]:
        for problem in row["faults"]:
            typer.echo(f"row {row['row']} ({row['id']}) {fault_text(problem)}")
    for warning in estimate["warnings"]:
        typer.echo(f"warning: {warning_text(warning)}")
    if estimate["eta"]:
        eta = estimate["eta"]
        typer.echo(f"estimated duration: {eta['p50_s']:.0f} s (90th percentile {eta['p90_s']:.0f} s)")
