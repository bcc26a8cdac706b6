"""The `musetalk` commands that run services and check the installation."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from deployments.cli.errors import (
    EXIT_FAILED,
    read_settings,
    require_writable_home,
    user_errors,
    with_program,
)
from deployments.cli.options import JsonOption, print_json
from deployments.console import error_console, output_console, show_waiting

if TYPE_CHECKING:
    from tasks.settings import Settings

HomeOption = Annotated[
    Path | None,
    typer.Option(help="Folder of all stored data; default: MUSETALK_HOME.", show_default=False),
]

ApiPortOption = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port of the API; default: MUSETALK_API__PORT.")
]


def up(
    home: HomeOption = None,
    port: ApiPortOption = None,
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
        settings = _one_server_settings(home, port)
        require_keys_when_public(settings.api)
        require_writable_home(settings)
        run_until_signal(StackPlan(settings, prefect_port, jobs), output_console())


def _one_server_settings(home: Path | None, port: int | None) -> "Settings":
    """Return the settings of a stack with one server, and print what it ignores."""
    from deployments.stack.redis import without_absent_legacy_redis

    settings, warning = without_absent_legacy_redis(read_settings(home, port))
    if warning:
        typer.echo(f"musetalk: {warning}", err=True)
    return settings


def api() -> None:
    """Run only the API. PREFECT_API_URL sets the Prefect server."""
    import signal

    import uvicorn

    from api.logging import configure_logging
    from api.main import create_app

    with user_errors():
        settings = read_settings()
        configure_logging(settings.api.log_format)
        require_writable_home(settings)
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


def deploy(
    home: HomeOption = None,
    as_json: JsonOption = False,
    settle: Annotated[
        bool, typer.Option(help="Also requeue interrupted jobs. Only while no worker runs.", hidden=True)
    ] = False,
) -> None:
    """Create or update everything in prefect.yaml on the Prefect server of PREFECT_API_URL."""
    from deployments.provisioning.apply import apply
    from deployments.stack.interrupted_runs import requeue_interrupted

    with user_errors():
        settings = read_settings(home)
        out = error_console() if as_json else output_console()
        with show_waiting(out) as on_wait:
            # with --settle, the supervisor itself checks that the starting server makes progress
            lines = apply(settings, settings.start.limit_s if settle else None, on_wait)
        lines += requeue_interrupted() if settle else []
        if as_json:
            print_json({"changes": lines})
            return
        for line in lines or ["already up to date"]:
            out.print(line, markup=False)


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
    from deployments.stack import environment
    from deployments.warm_worker.child.process_identity import worker_name
    from deployments.work_pools import pool_environment, worker_command
    from musetalk_core.media.output.ffmpeg import require_ffmpeg

    with user_errors():
        settings = read_settings()
        require_ffmpeg(settings.media.ffmpeg)
        require_writable_home(settings)
        for folder in (settings.home / "work", environment.temp_folder(settings)):
            folder.mkdir(parents=True, exist_ok=True)
    command = worker_command(pool, worker_name(pool), jobs, serves_health=health_port is not None)
    overrides = pool_environment(pool) | environment.metrics_environment(metrics_port)
    overrides |= environment.health_environment(health_port, settings.worker.health_host)
    env = environment.worker_environment(settings) | os.environ  # noqa: TID251  operator first
    _replace_process(command, env | overrides)


def _replace_process(command: list[str], env: dict[str, str]) -> NoReturn:
    """Replace this process by a command (execve), so that signals reach the command directly."""
    os.execve(command[0], command, env)  # noqa: S606  our own command line, no shell


def doctor(
    home: HomeOption = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Run the guided setup first, which downloads nothing unasked.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the installation and the services, and print how to fix each problem."""
    from deployments.cli.setup import guided_setup
    from deployments.stack.doctor import run_checks

    with user_errors():
        if fix:
            guided_setup(read_settings(home), error_console() if as_json else output_console())
        findings = run_checks(read_settings(home))
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            output_console().print(with_program(finding.format_line()), markup=False)
    if any(finding.is_fatal for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def demo(  # noqa: PLR0913  one option each
    video: Annotated[Path | None, typer.Option(help="Video to lip-sync instead of the bundled one.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Speech for that video.")] = None,
    text: Annotated[str | None, typer.Option(help="Text to speak; with --audio: its transcript.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the services running until Ctrl-C.")] = False,
    home: HomeOption = None,
    port: ApiPortOption = None,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect server.")] = 4200,
    as_json: JsonOption = False,
) -> None:
    """Start the services, render a talking portrait and a lip-synced video, and stop the services."""
    from deployments.demo.demo import DemoOptions, run_demo
    from deployments.stack.commands import StackPlan

    with user_errors():
        report = run_demo(
            StackPlan(_one_server_settings(home, port), prefect_port, jobs=2),
            DemoOptions(video, audio, text, out, keep),
            error_console() if as_json else output_console(),
        )
    if as_json:
        print_json(report)
