"""API options of the command line (server URL and API key), their client, and waiting for a job."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.errors import read_settings
from deployments.console import output_console

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


def watch_job(client: "MusetalkClient", job_id: str) -> None:
    """Show a job's progress until it ends, then its summary; exit with status 1 if it did not succeed."""
    from deployments.console import job_summary, show_progress

    out = output_console()
    with show_progress(out) as on_poll:
        job = client.wait(job_id, on_poll)
    for line in job_summary(job):
        out.print(line, markup=False)
    if job["status"] != "succeeded":
        raise typer.Exit(1)
