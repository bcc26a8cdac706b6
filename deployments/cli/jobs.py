"""The `musetalk` commands that submit, follow and manage jobs."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from deployments.cli.errors import user_errors
from deployments.cli.options import (
    JobArgument,
    JsonOption,
    KeyOption,
    OutputOption,
    ServerOption,
    WaitOption,
    client_for,
    find_job_id,
    finish_job,
    job_suggestions,
    print_json,
    require_output_folder,
    watch_job,
)
from deployments.cli.suggestions import require_choice


class SubmitCommand(TyperCommand):
    """The submit command; its errors name the options that take inputs and the `--set` of a parameter."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = str(getattr(error, "option_name", "") or "")
            if not option and "unexpected extra argument" in str(error):
                raise typer.BadParameter(f"{error}. {_inputs_hint(words)}", ctx=ctx) from error
            hint = _set_hint(option.lstrip("-").replace("-", "_"), words)
            if not option.startswith("--") or hint is None:
                raise
            raise typer.BadParameter(f"No such option: {option}. {hint}", ctx=ctx) from error


def _inputs_hint(words: list[str]) -> str:
    """Return which options take the inputs of the job type among the words."""
    from deployments.cli.field_errors import OPTIONS
    from flows.registry import JOB_TYPES

    job_type = next((word for word in words if word in JOB_TYPES), None)
    fields = JOB_TYPES[job_type].job.model_fields if job_type else ("video", "audio", "image", "text")
    options = [OPTIONS[name] for name in fields if name in OPTIONS]
    return f"Inputs are given by options{f' of {job_type}' if job_type else ''}: {', '.join(options)}."


def _set_hint(name: str, words: list[str]) -> str | None:
    """Return how to set a parameter that was written as an option; None if no parameter has that name."""
    from deployments.cli.suggestions import parameter_paths
    from flows.registry import JOB_TYPES

    job_type = next((word for word in words if word in JOB_TYPES), None)
    for schema in [JOB_TYPES[job_type].job] if job_type else []:
        for path in parameter_paths(schema):
            if path.rpartition(".")[2] == name or path == name:
                return f"It is a parameter of {job_type}: --set {path}=VALUE."
    return None


def submit(  # noqa: PLR0913  one option each
    job_type: Annotated[
        str,
        typer.Argument(
            metavar="TYPE",
            help="lip_sync, portrait, speech, transcribe, analyze, caption, verify or prepare_avatar.",
        ),
    ],
    video: Annotated[str | None, typer.Option(help="Local file or media reference.")] = None,
    audio: Annotated[str | None, typer.Option(help="Local file or media reference.")] = None,
    image: Annotated[str | None, typer.Option(help="Local file or media reference.")] = None,
    text: Annotated[str | None, typer.Option(help="Text; @FILE reads it from a file.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Recording of a voice to clone: local file or media reference.")
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any other parameter, for example encode.crf=20; repeatable."
        ),
    ] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag of the job; repeatable.")] = None,
    notify: Annotated[str | None, typer.Option(help="Webhook URL, called when the job ends.")] = None,
    wait: WaitOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Submit a job and print its id. Local files are uploaded first."""
    from deployments.cli.field_errors import described_rejection
    from deployments.cli.parameters import collect_job_parameters
    from flows.schemas.control import PRIORITIES

    with user_errors():
        require_output_folder(output)
        if priority is not None:
            require_choice("--priority", priority, PRIORITIES)
        option_values = {"video": video, "audio": audio, "image": image, "text": text}
        option_values["reference_audio"] = reference
        parameters = collect_job_parameters(job_type, option_values, more or [])
        client = client_for(server, key)
        control_options = {"priority": priority, "tags": tag, "notify": {"url": notify} if notify else None}
        control = {name: value for name, value in control_options.items() if value is not None}
        with described_rejection():
            job = client.submit(job_type, parameters, control)
        finish_job(client, job, wait=wait, output=output, as_json=as_json)


def watch(
    job_id: JobArgument,
    output: OutputOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Show the progress of a job until it ends; of a batch also its failed rows."""
    with user_errors():
        require_output_folder(output)
        client = client_for(server, key)
        watch_job(client, find_job_id(client, job_id), output=output, as_json=as_json)


def jobs(
    status: Annotated[
        list[str] | None, typer.Option(help="Status: queued, running, failed, …; repeatable.")
    ] = None,
    job_type: Annotated[list[str] | None, typer.Option("--type", help="Job type; repeatable.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only jobs with all of these tags; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of jobs.")] = 20,
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """List jobs, newest first."""
    from deployments.console import job_row

    filters = {"status": status or [], "type": job_type or [], "tag": tag or []}
    with user_errors():
        _check_filters(filters["type"], filters["status"])
        found = client_for(server, key).jobs(limit, **filters)
        if as_json:
            print_json(list(found))
            return
        is_empty = True
        for job in found:
            typer.echo(job_row(job))
            is_empty = False
        if is_empty:
            typer.echo("No jobs match." if any(filters.values()) else "There are no jobs yet.", err=True)


def _check_filters(job_types: list[str], statuses: list[str]) -> None:
    """Check the filters of a list; the modules that know the valid words are imported only for a filter."""
    if job_types:
        from deployments.cli.parameters import require_job_type

        for name in job_types:
            require_job_type(name)
    if statuses:
        from flows.prefect_state.status import Status

        for name in statuses:
            require_choice("--status", name, get_args(Status))


def logs(
    job_id: JobArgument,
    level: Annotated[str, typer.Option(help="Minimum level: debug, info, warning or error.")] = "info",
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Print the log of a job."""
    from api.logging import escaped

    with user_errors():
        require_choice("--level", level, ("debug", "info", "warning", "error"))
        client = client_for(server, key)
        found_id = find_job_id(client, job_id)
        with job_suggestions(client, found_id):
            lines = list(client.logs(found_id, level))
        if as_json:
            print_json(lines)
            return
        for line in lines:
            typer.echo(f"{line['time']} {line['level']} {escaped(line['message'])}")


def lineage(
    job_id: JobArgument,
    depth: Annotated[int, typer.Option(min=0, max=20, help="Levels of input jobs to include.")] = 0,
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Show the provenance of a job's output: files with hashes, models, parameters and other jobs."""
    from deployments.cli.lineage_output import lineage_lines

    with user_errors():
        client = client_for(server, key)
        found_id = find_job_id(client, job_id)
        with job_suggestions(client, found_id):
            lineage_response = client.lineage(found_id, depth)
        if as_json:
            print_json(lineage_response)
            return
        for line in lineage_lines(lineage_response):
            typer.echo(line)


def retry(
    job_id: JobArgument, as_json: JsonOption = False, server: ServerOption = None, key: KeyOption = None
) -> None:
    """Submit a failed or cancelled job again and print the id of the new job."""
    with user_errors():
        client = client_for(server, key)
        found_id = find_job_id(client, job_id)
        with job_suggestions(client, found_id):
            job = client.retry(found_id)
        finish_job(client, job, wait=False, output=None, as_json=as_json)


def cancel(
    job_id: JobArgument, as_json: JsonOption = False, server: ServerOption = None, key: KeyOption = None
) -> None:
    """Request the cancellation of a job."""
    from api.client import FINAL_STATUSES

    with user_errors():
        client = client_for(server, key)
        found_id = find_job_id(client, job_id)
        with job_suggestions(client, found_id):
            job = client.cancel(found_id)
    if as_json:
        print_json(job)
        return
    if job["cancel_requested"]:
        typer.echo(f"{job['id']} is {job['status']}, stopping")
    elif job["status"] in FINAL_STATUSES - {"canceled"}:
        typer.echo(f"{job['id']} had ended before: it is {job['status']}. Nothing was canceled.")
    else:
        typer.echo(f"{job['id']} is {job['status']}")


def result(
    job_id: JobArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Destination file or folder.")] = Path(),
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Download the output file of a job."""
    with user_errors():
        require_output_folder(output)
        client = client_for(server, key)
        found_id = find_job_id(client, job_id)
        with job_suggestions(client, found_id):
            path = client.download(found_id, output)
        if as_json:
            print_json({"job": found_id, "path": str(path), "size": path.stat().st_size})
            return
        typer.echo(str(path))
