"""
The `musetalk` command line: run the stack or one of its services, and submit and inspect jobs.

The module of a command is imported when the command runs, and large modules are imported inside the functions
that need them, so that commands start fast.
"""

import os
import sys
from typing import Annotated, Final

import typer

from deployments.cli.errors import program
from deployments.cli.lazy_group import LazyCommand, LazyGroup

EXIT_STATUSES: Final = {
    0: "success",
    1: "a job, a row of a batch, a check or an operation failed",
    2: "wrong usage: an option, parameter, file, id or setting cannot be used",
    3: "the API cannot be reached or is not ready",
    130: "stopped by Ctrl-C",
}
"""Meaning of each exit status."""

_COMMANDS: Final = (
    LazyCommand(
        "up",
        "services:up",
        "Run the Prefect server, the workers and the API on this computer until Ctrl-C.",
    ),
    LazyCommand(
        "demo",
        "services:demo",
        "Start the services, render a talking portrait and a lip-synced video, and stop the services.",
    ),
    LazyCommand(
        "setup",
        "setup:setup",
        "Check this computer, and offer the neural engine with its size, licence and expected speed.",
    ),
    LazyCommand(
        "doctor",
        "services:doctor",
        "Check the installation and the services, and print how to fix each problem.",
    ),
    LazyCommand(
        "submit",
        "jobs:submit",
        "Submit a job and print its id. Local files are uploaded first.",
        "SubmitCommand",
    ),
    LazyCommand(
        "watch",
        "jobs:watch",
        "Show the progress of a job until it ends; of a batch also its failed rows.",
    ),
    LazyCommand("result", "jobs:result", "Download the output file of a job."),
    LazyCommand("jobs", "jobs:jobs", "List jobs, newest first."),
    LazyCommand("logs", "jobs:logs", "Print the log of a job."),
    LazyCommand(
        "lineage",
        "jobs:lineage",
        "Show the provenance of a job's output: files with hashes, models, parameters and other jobs.",
    ),
    LazyCommand(
        "retry",
        "jobs:retry",
        "Submit a failed or cancelled job again and print the id of the new job.",
    ),
    LazyCommand("cancel", "jobs:cancel", "Request the cancellation of a job."),
    LazyCommand(
        "batch",
        "batches:batch",
        "Submit a batch, one job per manifest row, and print its id. Invalid rows do not stop other rows.",
    ),
    LazyCommand(
        "pipeline",
        "batches:pipeline",
        "Submit a pipeline, in which jobs use the results of earlier jobs, and print its id.",
    ),
    LazyCommand(
        "verify",
        "verify:verify",
        "Check who signed a file, whether it was changed since, and what it was made from. Sends nothing.",
    ),
    LazyCommand(
        "usage",
        "usage:usage",
        "Show CPU time, GPU time, stored bytes and costs of jobs, in groups.",
    ),
    LazyCommand("api", "services:api", "Run only the API. PREFECT_API_URL sets the Prefect server."),
    LazyCommand(
        "server",
        "services:server",
        "Run only a Prefect server. PREFECT_API_DATABASE_CONNECTION_URL sets its database.",
    ),
    LazyCommand(
        "worker",
        "services:worker",
        "Run only a worker. PREFECT_API_URL sets the Prefect server.",
    ),
    LazyCommand(
        "deploy",
        "services:deploy",
        "Create or update everything in prefect.yaml on the Prefect server of PREFECT_API_URL.",
    ),
    LazyCommand("weights", "weights:app", "Models on this computer: list, pull, verify."),
    LazyCommand("keys", "keys:app", "API keys: create, list, revoke."),
    LazyCommand("provenance", "provenance:app", "Signed provenance (Content Credentials) of outputs."),
)
"""Commands in the order of the help. Their modules are imported when they run."""


class _Commands(LazyGroup):
    entries = _COMMANDS


app = typer.Typer(
    name="musetalk",
    cls=_Commands,
    help="Render talking-head video: run the services, submit jobs and manage them.",
    epilog="Exit status: "
    + "; ".join(f"{status}: {meaning}" for status, meaning in EXIT_STATUSES.items())
    + ".",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: rich takes longer to import than everything else together
)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"musetalk-flows {version('musetalk-flows')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Render talking-head video: run the services, submit jobs and manage them."""


def main() -> None:
    """Run the command line."""
    # each process would look for plugins in the metadata of all installed packages, 40 ms of CPU time
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # noqa: TID251  pydantic's own variable
    try:
        app(prog_name=program(), complete_var="_MUSETALK_COMPLETE")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
