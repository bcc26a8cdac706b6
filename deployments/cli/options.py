"""Options that several commands share, the API client for them, and waiting for a job."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.errors import EXIT_FAILED, UsageError, program, read_settings
from deployments.console import error_console, output_console

if TYPE_CHECKING:
    from api.client import MusetalkClient

ServerOption = Annotated[
    str | None,
    typer.Option(help="URL of the API; default: the API of this computer.", show_default=False),
]
KeyOption = Annotated[
    str | None,
    typer.Option(help="API key; default: the first of MUSETALK_API__KEYS.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until the job ends and show its progress.")]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Wait for the job and write its output file to this file or folder.",
        show_default=False,
    ),
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB_ID", help="Id of the job, or its first characters.")]
_MIN_PREFIX_CHARS = 4


def client_for(server: str | None, key: str | None) -> "MusetalkClient":
    """Return an API client for the options; the running stack and the settings give the defaults."""
    from api.client import MusetalkClient
    from deployments.stack.home_lock import find_running_stack

    settings = read_settings()
    if server is None:
        running_stack = find_running_stack(settings.home)
        server = running_stack.api_url if running_stack else f"http://{settings.api.host}:{settings.api.port}"
    if key is None and settings.api.keys:
        key = settings.api.keys[0].get_secret_value()
    return MusetalkClient(server, key)


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    typer.echo(json.dumps(value, indent=2, default=str))


def require_output_folder(output: Path | None) -> None:
    """
    Check that a file can be written at the path of `--output`, before a job is sent for it.

    Raises:
        UsageError: its folder does not exist.
    """
    if output is not None and not output.is_dir() and not output.parent.is_dir():
        raise UsageError(f"--output {output}: the folder {output.parent} does not exist.")


def find_job_id(client: "MusetalkClient", text: str) -> str:
    """
    Return the id of a job from its id, `job://ID` or the first characters of an id.

    Raises:
        UsageError: it is no id and begins none, or begins several; the message suggests recent jobs.
    """
    from uuid import UUID

    name = text.removeprefix("job://").strip("/").lower()
    try:
        return str(UUID(name))
    except ValueError:
        pass
    recent_ids = [str(job["id"]) for job in client.jobs(200)]
    matches = [one for one in recent_ids if one.startswith(name)] if len(name) >= _MIN_PREFIX_CHARS else []
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"Several jobs begin with {name}: {', '.join(matches[:5])}.")
    raise UsageError(f"{text} is not the id of a job.{_similar_ids(name, recent_ids)}")


@contextmanager
def job_suggestions(client: "MusetalkClient", job_id: str) -> Generator[None]:
    """Add similar ids of recent jobs to the error if no job has this id."""
    from api.client import RequestRejected

    try:
        yield
    except RequestRejected as error:
        if error.code != "not_found":
            raise
        recent_ids = [str(job["id"]) for job in client.jobs(200)]
        raise UsageError(f"No job has the id {job_id}.{_similar_ids(job_id, recent_ids)}") from error


def _similar_ids(name: str, recent_ids: list[str]) -> str:
    from deployments.cli.suggestions import did_you_mean

    hint = did_you_mean(name, recent_ids)
    return hint or f" `{program()} jobs` lists the jobs."


def finish_job(
    client: "MusetalkClient", job: dict[str, Any], *, wait: bool, output: Path | None, as_json: bool
) -> None:
    """
    Print a submitted job, and wait for it and write its output file if the options say so.

    Args:
        client:  API client.
        job:     the submitted job, as in the API.
        wait:    show its progress until it ends; exit with status 1 if it did not succeed.
        output:  file or folder for the output file; implies `wait`.
        as_json: print the job as one JSON document, when it has ended if it is waited for.
    """
    if wait or output is not None:
        if not as_json:
            typer.echo(job["id"])
        watch_job(client, job["id"], output=output, as_json=as_json)
        return
    if as_json:
        print_json(job)
        return
    typer.echo(job["id"])
    typer.echo(f"Progress: {program()} watch {job['id']}", err=True)
    typer.echo(f"Result:   {program()} result {job['id']} -o FILE", err=True)


def watch_job(
    client: "MusetalkClient", job_id: str, *, output: Path | None = None, as_json: bool = False
) -> None:
    """
    Show a job's progress until it ends, then its summary; of a batch also the rows that failed.

    Exits with status 1 if the job, or a row of the batch, did not succeed.

    Args:
        client:  API client.
        job_id:  id of the job.
        output:  file or folder for the output file.
        as_json: print the finished job as JSON on standard output, and the progress on standard error.
    """
    from deployments.cli.batch_progress import BatchProgress
    from deployments.console import job_summary, show_progress

    out = error_console() if as_json else output_console()
    rows = BatchProgress(client, lambda line: out.print(line, markup=False))
    with show_progress(out) as show:

        def on_poll(job: dict[str, Any]) -> None:
            show(job)
            rows.update(job)

        with job_suggestions(client, job_id):
            job = client.wait(job_id, on_poll)
    if as_json:
        print_json(job)
    else:
        for line in job_summary(job):
            out.print(line, markup=False)
    if job["status"] == "succeeded" and output is not None:
        path = client.download(job["id"], output)
        out.print(str(path), markup=False)
    if job["status"] != "succeeded" or rows.has_failures(job):
        raise typer.Exit(EXIT_FAILED)
