"""
The `musetalk` command line: run the stack or one of its services, and submit and inspect jobs.

Large modules are imported inside the commands that need them, so that `--help` stays fast.
"""

import sys
from typing import Annotated, Final

import typer

from deployments.cli import batches, jobs, keys, provenance, services, setup, usage, verify, weights
from deployments.cli.errors import program

EXIT_STATUSES: Final = {
    0: "success",
    1: "a job, a row of a batch, a check or an operation failed",
    2: "wrong usage: an option, parameter, file, id or setting cannot be used",
    3: "the API cannot be reached or is not ready",
    130: "stopped by Ctrl-C",
}
"""Meaning of each exit status."""

app = typer.Typer(
    name="musetalk",
    help="Render talking-head video: run the services, submit jobs and manage them.",
    epilog="Exit status: "
    + "; ".join(f"{status}: {meaning}" for status, meaning in EXIT_STATUSES.items())
    + ".",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(weights.app, name="weights")
app.add_typer(keys.app, name="keys")
app.add_typer(provenance.app, name="provenance")
for _command in (services.up, services.demo, setup.setup, services.doctor):
    app.command()(_command)
app.command(cls=jobs.SubmitCommand)(jobs.submit)
for _command in (jobs.watch, jobs.result, jobs.jobs, jobs.logs, jobs.lineage, jobs.retry, jobs.cancel):
    app.command()(_command)
for _command in (batches.batch, batches.pipeline):
    app.command()(_command)
for _command in (verify.verify, usage.usage):
    app.command()(_command)
for _command in (services.api, services.server, services.worker, services.deploy):
    app.command()(_command)


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
    try:
        app(prog_name=program(), complete_var="_MUSETALK_COMPLETE")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
