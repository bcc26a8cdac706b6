"""The `musetalk` command. Everything heavy is imported by the command that needs it."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from deployments import chains_cli, keys_cli, weights_cli
from deployments.cli_there import KeyOption, ServerOption, api_of, watch_job
from deployments.plain import plain_errors, read_settings
from deployments.show import console, waiting

app = typer.Typer(
    help="Rendering of talking people: run it, send jobs, look after it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(weights_cli.app, name="weights")
app.add_typer(keys_cli.app, name="keys")
app.command()(chains_cli.batch)
app.command()(chains_cli.pipeline)

HomeOption = Annotated[
    Path | None,
    typer.Option(help="Folder of everything that is kept; MUSETALK_HOME else.", show_default=False),
]


@app.command()
def up(
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; MUSETALK_API__PORT else.")] = None,
    prefect_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the Prefect server, on this computer only.")
    ] = 4200,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Jobs at a time; else one a card, or one.", show_default=False)
    ] = None,
) -> None:
    """Run everything on this computer until Ctrl-C: Prefect server, worker and API."""
    from api.keys import require_keys_when_public
    from deployments.stack import Plan
    from deployments.up import run_until_signalled

    with plain_errors():
        settings = read_settings(home, port)
        require_keys_when_public(settings.api)
        run_until_signalled(Plan(settings, prefect_port, jobs), console())


@app.command()
def api() -> None:
    """Serve the API alone, for a Prefect server that PREFECT_API_URL names."""
    import signal

    import uvicorn

    from api.logs import configure
    from api.main import create_app

    with plain_errors():
        settings = read_settings()
        configure(settings.api.log_format)
        # uvicorn leaves first, then raises the signal again: asked to end is no failure
        signal.signal(signal.SIGTERM, _leave)
        # proxy headers only from a proxy on this computer: links in answers depend on them
        uvicorn.run(
            create_app(),
            host=settings.api.host,
            port=settings.api.port,
            forwarded_allow_ips="127.0.0.1",
            log_config=None,
            access_log=False,
            server_header=False,
        )


def _leave(*_: object) -> NoReturn:
    sys.exit(0)


@app.command()
def deploy(
    home: HomeOption = None,
    settle: Annotated[
        bool, typer.Option(help="Also start interrupted jobs again. Only while no worker runs.", hidden=True)
    ] = False,
) -> None:
    """Bring the Prefect server that PREFECT_API_URL names to what prefect.yaml says."""
    from deployments.apply import apply
    from deployments.leftovers import settle_leftovers

    with plain_errors():
        here = read_settings(home)
        with waiting(console()) as show:
            # with --settle the supervisor monitors the start of the server itself
            lines = apply(here, here.start.limit_s if settle else None, show)
        lines += settle_leftovers() if settle else []
        for line in lines or ["nothing to do"]:
            console().print(line, markup=False)


@app.command()
def server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 4200,
) -> None:
    """Run a Prefect server alone; PREFECT_API_DATABASE_CONNECTION_URL names its database."""
    from deployments.environments import own_pages, server_environment
    from deployments.messaging import require_redis
    from deployments.stack import server_command

    with plain_errors():
        settings = read_settings()
        settings.prefect_home.mkdir(parents=True, exist_ok=True)
        require_redis(settings.redis)
        own = server_environment(settings) | own_pages(port)
    own["PREFECT_HOME"] = str(settings.prefect_home)
    own["PREFECT_SERVER_UI_API_URL"] = f"http://127.0.0.1:{port}/api"  # where browsers find it
    _become(server_command(host, port), own | os.environ)  # noqa: TID251  what the operator set wins


@app.command()
def worker(
    pool: Annotated[str, typer.Option(help="Work pool to take jobs from.")] = "gpu",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Jobs at a time; else one a card, or one.", show_default=False)
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve Prometheus metrics there.", show_default=False)
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Say at /health there whether it is well.", show_default=False),
    ] = None,
) -> None:
    """Run a worker alone, for a Prefect server that PREFECT_API_URL names."""
    import platform

    from deployments import environments
    from deployments.pools import pool_environment, worker_command

    with plain_errors():
        settings = read_settings()
        for folder in (settings.home / "work", environments.scratch(settings)):
            folder.mkdir(parents=True, exist_ok=True)
    name = f"{pool}-{platform.node()}-{os.getpid()}"
    command = worker_command(pool, name, jobs, tells_health=health_port is not None)
    own = pool_environment(pool) | environments.metrics_environment(metrics_port)
    own |= environments.health_environment(health_port)
    env = environments.worker_environment(settings) | os.environ  # noqa: TID251  what the operator set wins
    _become(command, env | own)


def _become(command: list[str], env: dict[str, str]) -> NoReturn:
    """Turn this process into another: signals reach it, nobody stands between."""
    os.execve(command[0], command, env)  # noqa: S606  our own command line, no shell


@app.command()
def doctor(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check what is needed to run, and say how to mend what is missing."""
    import json

    from deployments.doctor import examine

    with plain_errors():
        findings = examine(read_settings(home))
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            console().print(finding.line(), markup=False)
    if any(finding.is_fatal for finding in findings):
        raise typer.Exit(1)


@app.command()
def submit(  # noqa: PLR0913  one option each
    job_type: Annotated[
        str,
        typer.Argument(
            metavar="TYPE",
            help="lip_sync, portrait, speech, transcribe, analyze, caption or prepare_avatar.",
        ),
    ],
    video: Annotated[str | None, typer.Option(help="File of this computer, or a reference.")] = None,
    audio: Annotated[str | None, typer.Option(help="File of this computer, or a reference.")] = None,
    image: Annotated[str | None, typer.Option(help="File of this computer, or a reference.")] = None,
    text: Annotated[str | None, typer.Option(help="Words; @FILE reads them from a file.")] = None,
    reference: Annotated[str | None, typer.Option(help="Recording of a voice to clone, as --audio.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other parameter: encode.crf=20."),
    ] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by; may be repeated.")] = None,
    notify: Annotated[str | None, typer.Option(help="Address that is told of its end.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it to its end.")] = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Send a job and print its id; local files are uploaded first."""
    from deployments.parameters import job_parameters

    with plain_errors():
        given = {"video": video, "audio": audio, "image": image, "text": text}
        given["reference_audio"] = reference
        parameters = job_parameters(job_type, given, more or [])
        there = api_of(server, key)
        wishes = {"priority": priority, "tags": tag, "notify": {"url": notify} if notify else None}
        control = {name: value for name, value in wishes.items() if value is not None}
        job = there.submit(job_type, parameters, control)
        typer.echo(job["id"])
        if wait:
            watch_job(there, job["id"])


@app.command()
def watch(job_id: str, server: ServerOption = None, key: KeyOption = None) -> None:
    """Show a job until it has ended; exit status 0 when it succeeded."""
    with plain_errors():
        watch_job(api_of(server, key), job_id)


@app.command()
def jobs(
    status: Annotated[list[str] | None, typer.Option(help="queued, running, failed, …; repeatable.")] = None,
    job_type: Annotated[list[str] | None, typer.Option("--type", help="A job type; repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="All of these.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """List jobs, the newest first."""
    from deployments.show import row

    filters = {"status": status or [], "type": job_type or [], "tag": tag or []}
    with plain_errors():
        for job in api_of(server, key).jobs(limit, **filters):
            typer.echo(row(job))


@app.command()
def logs(
    job_id: str,
    level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Show what a job said."""
    from api.logs import said

    with plain_errors():
        for line in api_of(server, key).logs(job_id, level):
            typer.echo(f"{line['time']} {line['level']} {said(line['message'])}")


@app.command()
def lineage(
    job_id: str,
    depth: Annotated[int, typer.Option(min=0, max=20, help="Follow jobs that it builds on so far.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Say what went into a job's output: files with hashes, models, parameters, other jobs."""
    import json

    from deployments.show_lineage import lines

    with plain_errors():
        found = api_of(server, key).lineage(job_id, depth)
        for line in [json.dumps(found, indent=2)] if as_json else lines(found):
            typer.echo(line)


@app.command()
def retry(job_id: str, server: ServerOption = None, key: KeyOption = None) -> None:
    """Do a failed or stopped job again and print the new job's id."""
    with plain_errors():
        typer.echo(api_of(server, key).retry(job_id)["id"])


@app.command()
def cancel(job_id: str, server: ServerOption = None, key: KeyOption = None) -> None:
    """Ask a job to stop."""
    with plain_errors():
        job = api_of(server, key).cancel(job_id)
    typer.echo(f"{job['id']} is {job['status']}" + (", stopping" if job["cancel_requested"] else ""))


@app.command()
def result(
    job_id: str,
    output: Annotated[Path, typer.Option("--output", "-o", help="File or folder to write.")] = Path(),
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Fetch the file that a job made."""
    with plain_errors():
        typer.echo(str(api_of(server, key).download(job_id, output)))


@app.command()
def demo(
    video: Annotated[Path | None, typer.Option(help="A video of your own, instead of the demo's.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Speech of your own for that video.")] = None,
    text: Annotated[str | None, typer.Option(help="Words to speak; with --audio: its transcript.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; MUSETALK_API__PORT else.")] = None,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect server.")] = 4200,
) -> None:
    """Start everything, make a talking portrait and a lip-synced video, stop everything."""
    from deployments.demo import Wishes, run_demo
    from deployments.stack import Plan

    with plain_errors():
        run_demo(
            Plan(read_settings(home, port), prefect_port, jobs=2),
            Wishes(video, audio, text, out, keep),
            console(),
        )


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
