"""
The `musetalk` command line: run the stack or one of its services, and submit and inspect jobs.

Large modules are imported inside the commands that need them, so that `--help` stays fast.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from deployments.cli import batches, keys, weights
from deployments.cli.errors import read_settings, user_errors
from deployments.cli.options import KeyOption, ServerOption, client_for, watch_job
from deployments.console import output_console, show_waiting

app = typer.Typer(
    help="Render talking-head video: run the services, submit jobs and manage them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(weights.app, name="weights")
app.add_typer(keys.app, name="keys")
app.command()(batches.batch)
app.command()(batches.pipeline)

HomeOption = Annotated[
    Path | None,
    typer.Option(help="Folder of all stored data; default: MUSETALK_HOME.", show_default=False),
]


@app.command()
def up(
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; default: MUSETALK_API__PORT.")] = None,
    prefect_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the Prefect server, on 127.0.0.1 only.")
    ] = 4200,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Concurrent jobs; default: one per GPU, 1 without a GPU.", show_default=False
        ),
    ] = None,
) -> None:
    """Run the Prefect server, the workers and the API on this computer until Ctrl-C."""
    from api.auth.api_keys import require_keys_when_public
    from deployments.stack.commands import StackPlan
    from deployments.stack.supervisor import run_until_signal

    with user_errors():
        settings = read_settings(home, port)
        require_keys_when_public(settings.api)
        run_until_signal(StackPlan(settings, prefect_port, jobs), output_console())


@app.command()
def api() -> None:
    """Run only the API. PREFECT_API_URL sets the Prefect server."""
    import signal

    import uvicorn

    from api.logging import configure_logging
    from api.main import create_app

    with user_errors():
        settings = read_settings()
        configure_logging(settings.api.log_format)
        # uvicorn shuts down and then raises SIGTERM again: exit with status 0, a requested stop is no failure
        signal.signal(signal.SIGTERM, _exit_on_sigterm)
        # trust proxy headers from 127.0.0.1 only: links in responses are built from them
        uvicorn.run(
            create_app(),
            host=settings.api.host,
            port=settings.api.port,
            forwarded_allow_ips="127.0.0.1",
            log_config=None,
            access_log=False,
            server_header=False,
        )


def _exit_on_sigterm(*_: object) -> NoReturn:
    sys.exit(0)


@app.command()
def deploy(
    home: HomeOption = None,
    settle: Annotated[
        bool, typer.Option(help="Also requeue interrupted jobs. Only while no worker runs.", hidden=True)
    ] = False,
) -> None:
    """Create or update everything in prefect.yaml on the Prefect server of PREFECT_API_URL."""
    from deployments.provisioning.apply import apply
    from deployments.stack.interrupted_runs import requeue_interrupted

    with user_errors():
        settings = read_settings(home)
        with show_waiting(output_console()) as on_wait:
            # with --settle, the supervisor itself checks that the starting server makes progress
            lines = apply(settings, settings.start.limit_s if settle else None, on_wait)
        lines += requeue_interrupted() if settle else []
        for line in lines or ["already up to date"]:
            output_console().print(line, markup=False)


@app.command()
def server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 4200,
) -> None:
    """Run only a Prefect server. PREFECT_API_DATABASE_CONNECTION_URL sets its database."""
    from deployments.stack.commands import prefect_server_command
    from deployments.stack.environment import server_environment, ui_cors_environment
    from deployments.stack.redis import require_redis

    with user_errors():
        settings = read_settings()
        settings.prefect_home.mkdir(parents=True, exist_ok=True)
        require_redis(settings.redis)
        overrides = server_environment(settings) | ui_cors_environment(port)
    overrides["PREFECT_HOME"] = str(settings.prefect_home)
    overrides["PREFECT_SERVER_UI_API_URL"] = f"http://127.0.0.1:{port}/api"  # for the browsers of the UI
    _replace_process(prefect_server_command(host, port), overrides | os.environ)  # noqa: TID251  operator first


@app.command()
def worker(
    pool: Annotated[str, typer.Option(help="Work pool to take jobs from.")] = "gpu",
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Concurrent jobs; default: one per GPU, 1 without a GPU.", show_default=False
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Serve Prometheus metrics on this port.", show_default=False),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Serve the health check /health on this port.", show_default=False
        ),
    ] = None,
) -> None:
    """Run only a worker. PREFECT_API_URL sets the Prefect server."""
    import platform

    from deployments.stack import environment
    from deployments.work_pools import pool_environment, worker_command
    from musetalk_core.media.output.ffmpeg import require_ffmpeg

    with user_errors():
        settings = read_settings()
        require_ffmpeg(settings.media.ffmpeg)
        for folder in (settings.home / "work", environment.temp_folder(settings)):
            folder.mkdir(parents=True, exist_ok=True)
    name = f"{pool}-{platform.node()}-{os.getpid()}"
    command = worker_command(pool, name, jobs, serves_health=health_port is not None)
    overrides = pool_environment(pool) | environment.metrics_environment(metrics_port)
    overrides |= environment.health_environment(health_port)
    env = environment.worker_environment(settings) | os.environ  # noqa: TID251  operator first
    _replace_process(command, env | overrides)


def _replace_process(command: list[str], env: dict[str, str]) -> NoReturn:
    """Replace this process by a command (execve), so that signals reach the command directly."""
    os.execve(command[0], command, env)  # noqa: S606  our own command line, no shell


@app.command()
def doctor(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the installation and the services, and print how to fix each problem."""
    import json

    from deployments.stack.doctor import run_checks

    with user_errors():
        findings = run_checks(read_settings(home))
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            output_console().print(finding.format_line(), markup=False)
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
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the job ends and show its progress.")
    ] = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Submit a job and print its id. Local files are uploaded first."""
    from deployments.cli.parameters import collect_job_parameters

    with user_errors():
        option_values = {"video": video, "audio": audio, "image": image, "text": text}
        option_values["reference_audio"] = reference
        parameters = collect_job_parameters(job_type, option_values, more or [])
        client = client_for(server, key)
        control_options = {"priority": priority, "tags": tag, "notify": {"url": notify} if notify else None}
        control = {name: value for name, value in control_options.items() if value is not None}
        job = client.submit(job_type, parameters, control)
        typer.echo(job["id"])
        if wait:
            watch_job(client, job["id"])


@app.command()
def watch(job_id: str, server: ServerOption = None, key: KeyOption = None) -> None:
    """Show the progress of a job until it ends. The exit status is 0 if the job succeeded, else 1."""
    with user_errors():
        watch_job(client_for(server, key), job_id)


@app.command()
def jobs(
    status: Annotated[
        list[str] | None, typer.Option(help="Status: queued, running, failed, …; repeatable.")
    ] = None,
    job_type: Annotated[list[str] | None, typer.Option("--type", help="Job type; repeatable.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only jobs with all of these tags; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of jobs.")] = 20,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """List jobs, newest first."""
    from deployments.console import job_row

    filters = {"status": status or [], "type": job_type or [], "tag": tag or []}
    with user_errors():
        for job in client_for(server, key).jobs(limit, **filters):
            typer.echo(job_row(job))


@app.command()
def logs(
    job_id: str,
    level: Annotated[str, typer.Option(help="Minimum level: debug, info, warning or error.")] = "info",
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Print the log of a job."""
    from api.logging import escaped

    with user_errors():
        for line in client_for(server, key).logs(job_id, level):
            typer.echo(f"{line['time']} {line['level']} {escaped(line['message'])}")


@app.command()
def lineage(
    job_id: str,
    depth: Annotated[int, typer.Option(min=0, max=20, help="Levels of input jobs to include.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Show the provenance of a job's output: files with hashes, models, parameters and other jobs."""
    import json

    from deployments.cli.lineage_output import lineage_lines

    with user_errors():
        lineage_response = client_for(server, key).lineage(job_id, depth)
        for line in [json.dumps(lineage_response, indent=2)] if as_json else lineage_lines(lineage_response):
            typer.echo(line)


@app.command()
def retry(job_id: str, server: ServerOption = None, key: KeyOption = None) -> None:
    """Submit a failed or cancelled job again and print the id of the new job."""
    with user_errors():
        typer.echo(client_for(server, key).retry(job_id)["id"])


@app.command()
def cancel(job_id: str, server: ServerOption = None, key: KeyOption = None) -> None:
    """Request the cancellation of a job."""
    with user_errors():
        job = client_for(server, key).cancel(job_id)
    typer.echo(f"{job['id']} is {job['status']}" + (", stopping" if job["cancel_requested"] else ""))


@app.command()
def result(
    job_id: str,
    output: Annotated[Path, typer.Option("--output", "-o", help="Destination file or folder.")] = Path(),
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Download the output file of a job."""
    with user_errors():
        typer.echo(str(client_for(server, key).download(job_id, output)))


@app.command()
def demo(
    video: Annotated[Path | None, typer.Option(help="Video to lip-sync instead of the bundled one.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Speech for that video.")] = None,
    text: Annotated[str | None, typer.Option(help="Text to speak; with --audio: its transcript.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the services running until Ctrl-C.")] = False,
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; default: MUSETALK_API__PORT.")] = None,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect server.")] = 4200,
) -> None:
    """Start the services, render a talking portrait and a lip-synced video, and stop the services."""
    from deployments.demo.demo import DemoOptions, run_demo
    from deployments.stack.commands import StackPlan

    with user_errors():
        run_demo(
            StackPlan(read_settings(home, port), prefect_port, jobs=2),
            DemoOptions(video, audio, text, out, keep),
            output_console(),
        )


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
