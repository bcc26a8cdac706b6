"""API options of the command line (server URL and API key), their client, and waiting for a job."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.plain import read_settings
from deployments.show import console

if TYPE_CHECKING:
    from api.client import Api

ServerOption = Annotated[
    str | None,
    typer.Option(help="URL of the API; default: the API of this computer.", show_default=False),
]
KeyOption = Annotated[
    str | None,
    typer.Option(help="API key; default: the first of MUSETALK_API__KEYS.", show_default=False),
]


def api_of(server: str | None, key: str | None) -> "Api":
    """Return an API client for the options; the running stack and the settings give the defaults."""
    from api.client import Api
    from deployments.lock import running

    settings = read_settings()
    if server is None:
        here = running(settings.home)
        server = here.api_url if here else f"http://{settings.api.host}:{settings.api.port}"
    if key is None and settings.api.keys:
        key = settings.api.keys[0].get_secret_value()
    return Api(server, key)


def watch_job(there: "Api", job_id: str) -> None:
    """Show a job's progress until it ends, then its summary; exit with status 1 if it did not succeed."""
    from deployments.show import progress, summary

    out = console()
    with progress(out) as show:
        job = there.wait(job_id, show)
    for line in summary(job):
        out.print(line, markup=False)
    if job["status"] != "succeeded":
        raise typer.Exit(1)
