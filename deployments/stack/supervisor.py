"""Supervisor of a one-machine stack: starts, restarts and stops the Prefect server, workers and API."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from deployments.console import WaitCallback, plain_wait_callback, show_waiting
from deployments.processes.process import Guard, ManagedProcess, describe_process
from deployments.processes.start_watch import StartMonitor
from deployments.stack import commands
from deployments.stack.commands import StackPlan
from deployments.stack.environment import temp_folder
from deployments.stack.home_lock import HomeLock, find_running_stack
from deployments.stack.redis import require_redis
from musetalk_core.installation import command
from musetalk_core.media.output.ffmpeg import require_ffmpeg

if TYPE_CHECKING:
    import httpx
    from rich.console import Console

STOP_GRACE_S = 8.0
WORKER_MIN_LIFE_S = 10.0
"""Seconds; a worker that exits sooner than this after its start is not restarted, and the stack stops."""
WORKER_STABLE_AFTER_S = 300.0
"""Seconds; a worker that ran for this long is restarted without a delay."""
_RESTART_DELAYS_S = (0.0, 5.0, 15.0, 60.0)
"""Delays before a restart, by the number of preceding consecutive runs shorter than WORKER_STABLE_AFTER_S."""
_POLL_INTERVAL_S = 0.1
_WATCH_INTERVAL_S = 0.5
"""Seconds between checks of the running processes; signals are handled at once."""
_PROGRESS_INTERVAL_S = 1.0


class StackError(Exception):
    """The stack could not start, or had to stop; the message says how to fix it."""


class StackStopRequested(Exception):
    """A stop was requested while the stack was starting or being checked."""


class Supervisor:
    """
    The supervisor of one stack: starts its processes, restarts workers, and stops all in reverse order.

    It is a context manager: entering starts the stack, leaving stops it.
    """

    def __init__(
        self,
        plan: StackPlan,
        log: Callable[[str], None],
        show_waiting: Callable[[], AbstractContextManager[WaitCallback]] | None = None,
    ) -> None:
        """
        Configure a stack without starting it.

        Args:
            plan:         configuration of the stack.
            log:          called with each line of progress.
            show_waiting: opens a progress display; None: lines through `log`.
        """
        self.plan = plan
        self._log = log
        self._show_waiting = show_waiting or (lambda: nullcontext(plain_wait_callback(log)))
        self._lock = HomeLock(plan.home)
        self._stop_requested = threading.Event()
        self._processes: list[ManagedProcess] = []
        self._workers: list[ManagedProcess] = []
        self._short_run_counts: dict[str, int] = {}
        """Number of consecutive short runs of each worker."""
        self._restart_due_at: dict[str, float] = {}
        """Monotonic time of the restart of each worker that has exited."""
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        """Start the stack."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the stack."""
        self.stop()

    def request_stop(self) -> None:
        """Make `start` raise and `watch` return soon; safe in a signal handler."""
        self._stop_requested.set()

    def start(self) -> None:
        """
        Start all processes and return when the API accepts jobs.

        Raises:
            StackError:         another stack uses this home folder, a port is taken, or a process exited or
                                hung.
            RedisUnusable:      the configured Redis cannot be used.
            EncodeError:        the ffmpeg program cannot be used.
            StackStopRequested: `request_stop` was called meanwhile.
        """
        started_at = time.monotonic()
        self._acquire_home()
        marker = uuid4().hex
        env = commands.stack_environment(self.plan, marker)
        self._guard = Guard(marker)
        self._log("starting the Prefect server")
        server = self._start_process(commands.prefect_server_process(self.plan, env))
        deployer = self._start_process(
            commands.deploy_process(self.plan, env)
        )  # loads while the server does, then waits for it
        self._wait_while_progress(
            lambda: _is_responding(f"{self.plan.prefect_url}/api/ready"), lambda: [server], server, deployer
        )
        self._log("updating work pools and deployments")
        self._wait_while_progress(lambda: deployer.exit_status == 0, lambda: [deployer], server, deployer)
        self._processes.remove(deployer)
        self._log("starting the worker and the API")
        self._workers = [self._start_process(worker) for worker in commands.worker_processes(self.plan, env)]
        api = self._start_process(commands.api_process(self.plan, env))
        ready = f"{self.plan.api_url}/readyz"
        self._wait_while_progress(
            lambda: _is_responding(ready),
            lambda: _unready_processes(_read_readiness_checks(ready), api, self._workers),
            server,
            *self._workers,
            api,
            other_reasons=lambda: _failed_checks(ready),
        )
        self._lock.publish_addresses(self.plan.api_url, self.plan.prefect_url)
        self._log(f"ready after {time.monotonic() - started_at:.0f} s")

    def _acquire_home(self) -> None:
        require_redis(self.plan.settings.redis)
        require_ffmpeg(self.plan.settings.media.ffmpeg)
        home = self.plan.home
        if not self._lock.acquire():
            other_stack = find_running_stack(home)
            where = f" (process {other_stack.pid}, API at {other_stack.api_url})" if other_stack else ""
            raise StackError(
                f"A stack is already running on {home}{where}. Use it, stop it, or choose another"
                " folder with --home."
            )
        settings = self.plan.settings
        for folder in (
            self.plan.working_directory,
            temp_folder(settings),
            settings.logs,
            settings.prefect_home,
        ):
            folder.mkdir(parents=True, exist_ok=True)
        api = settings.api
        if api.port == self.plan.prefect_port:
            raise StackError("The API and the Prefect server need different ports: set another --port.")
        _require_free_port("127.0.0.1", self.plan.prefect_port, "the Prefect server", "--prefect-port")
        _require_free_port(api.host, api.port, "the API", "--port")

    def _start_process(self, process: ManagedProcess) -> ManagedProcess:
        process.start(cwd=self.plan.working_directory)
        self._processes.append(process)
        return process

    def _wait_while_progress(
        self,
        is_done: Callable[[], bool],
        pending_processes: Callable[[], list[ManagedProcess]],
        *required: ManagedProcess,
        other_reasons: Callable[[], str] = lambda: "",
    ) -> None:
        """
        Wait for a condition while the starting processes make progress.

        Args:
            is_done:           whether to stop waiting.
            pending_processes: returns the processes that are not ready; their progress extends the wait.
            required:          processes that must not exit meanwhile.
            other_reasons:     returns further reasons for waiting, one per line; a change of these counts as
                               progress.

        Raises:
            StackError:         a process exited, made no progress for `start.stall_s`, or took longer than
                                `start.limit_s`.
            StackStopRequested: `request_stop` was called.
        """
        monitor, checked_at = StartMonitor(self.plan.settings.start), 0.0
        with self._show_waiting() as show:
            while not is_done():
                if self._stop_requested.wait(_POLL_INTERVAL_S):
                    raise StackStopRequested
                for process in required:
                    if process.exit_status:
                        raise _exit_error(process)
                if time.monotonic() - checked_at < _PROGRESS_INTERVAL_S:
                    continue
                pending, reasons = pending_processes(), other_reasons()
                pids = [process.pid for process in pending if process.pid is not None]
                monitor.update(pids, (reasons, tuple(process.log_bytes for process in pending)))
                checked_at = time.monotonic()
                if failure := monitor.failure_reason():
                    raise _start_error(failure, pending, reasons)
                pending_text = "; ".join(describe_process(process) for process in pending) or reasons.replace(
                    "\n", "; "
                )
                show(monitor.elapsed_s, f"waiting for {pending_text}")

    def check(self) -> None:
        """
        Check all processes once and restart workers that have exited.

        Raises:
            StackError:         the server, the API or a worker younger than WORKER_MIN_LIFE_S has exited.
            StackStopRequested: `request_stop` was called.
        """
        if self._stop_requested.is_set():
            raise StackStopRequested
        self._restart_workers()

    def _restart_workers(self) -> None:
        for process in [process for process in self._processes if process.exit_status is not None]:
            if process.name not in self._restart_due_at:
                self._restart_due_at[process.name] = time.monotonic() + self._restart_delay(process)
            if time.monotonic() >= self._restart_due_at[process.name]:
                del self._restart_due_at[process.name]
                process.start(cwd=self.plan.working_directory)

    def _restart_delay(self, process: ManagedProcess) -> float:
        """Return the delay in seconds before an exited worker is restarted, and log the restart."""
        uptime_s = time.monotonic() - process.started_at
        if process not in self._workers or uptime_s < WORKER_MIN_LIFE_S:
            raise _exit_error(process)
        short_runs = 0 if uptime_s > WORKER_STABLE_AFTER_S else self._short_run_counts.get(process.name, 0)
        self._short_run_counts[process.name] = short_runs + 1
        delay_s = _RESTART_DELAYS_S[min(short_runs, len(_RESTART_DELAYS_S) - 1)]
        when = f"in {delay_s:.0f} s" if delay_s else "now"
        self._log(
            f"{process.name} exited with status {process.exit_status} and is restarted {when}.\n"
            f"{process.log_tail()}"
        )
        return delay_s

    def watch(self) -> None:
        """
        Check the processes and restart workers until `request_stop` is called.

        Raises:
            StackError: see `check`.
        """
        while not self._stop_requested.wait(_WATCH_INTERVAL_S):
            self._restart_workers()

    def stop(self) -> None:
        """Stop all processes in reverse order; those that ignore SIGTERM are killed."""
        while self._processes:
            self._processes.pop().stop(STOP_GRACE_S)
        if self._guard is not None:
            self._guard.terminate_stack(grace_s=1.0)
            self._guard = None
        self._lock.release()


def _exit_error(process: ManagedProcess) -> StackError:
    return StackError(
        f"{process.name} exited with status {process.exit_status}. Last lines of {process.log_path}:\n"
        f"{process.log_tail()}"
    )


def _start_error(failure: str, pending: list[ManagedProcess], reasons: str) -> StackError:
    names = " and ".join(f"{child.name} (process {child.pid})" for child in pending) or "The API"
    logs = [f"Last lines of {child.log_path}:\n{child.log_tail() or '(empty)'}" for child in pending]
    next_step = f"Run `{command('doctor')}`, fix the reported problems, and start again."
    return StackError("\n".join(part for part in (f"{names} {failure}.", reasons, *logs, next_step) if part))


def _require_free_port(host: str, port: int, use: str, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(
                f"Port {port} on {host}, required by {use}, cannot be used ({error.strerror}). Stop the"
                f" program that listens on it, or choose another port with {option} N."
            ) from error


@cache
def _http_client() -> "httpx.Client":
    """Return the client of all checks: each new one loads all root certificates, 50 ms of CPU time."""
    import httpx

    return httpx.Client(timeout=5.0, trust_env=False)


def _is_responding(url: str) -> bool:
    import httpx

    try:
        return _http_client().get(url).is_success
    except httpx.TransportError:
        return False


def _read_readiness_checks(url: str) -> dict[str, str] | None:
    """Return the API's readiness checks as `{name: "ok" or error}`; None while it does not respond."""
    import httpx

    try:
        checks: dict[str, str] = _http_client().get(url).json()["checks"]
    except (httpx.TransportError, ValueError, KeyError):
        return None
    return checks


def _failed_checks(url: str) -> str:
    """Return the failed readiness checks, one per line, for example an unreachable store."""
    checks = _read_readiness_checks(url) or {}
    return "\n".join(f"{name}: {text}" for name, text in checks.items() if text != "ok")


def _unready_processes(
    checks: dict[str, str] | None, api: ManagedProcess, workers: list[ManagedProcess]
) -> list[ManagedProcess]:
    """Return the processes that are still starting; empty if all are ready and another check fails."""
    if checks is None:
        return [api]
    failed_names = {name.replace(" ", "-") for name, text in checks.items() if text != "ok"}
    return [worker for worker in workers if worker.name in failed_names]


def run_until_signal(plan: StackPlan, out: "Console") -> None:
    """
    Run a stack until Ctrl-C or SIGTERM.

    Args:
        plan: configuration of the stack.
        out:  console for progress messages.

    Raises:
        StackError: see `Supervisor`.
    """
    supervisor = Supervisor(plan, lambda line: out.print(line, markup=False), partial(show_waiting, out))
    with stop_on_signals(supervisor):
        try:
            with supervisor:
                out.print(f"studio:  {plan.api_url}/studio")
                out.print(f"API:     {plan.api_url}/docs")
                out.print(f"prefect: {plan.prefect_url}")
                out.print(f"logs:    {plan.settings.logs}")
                out.print("Ctrl-C stops everything.")
                supervisor.watch()
                out.print("stopping")
        except StackStopRequested:
            out.print("stopped while starting")
            return
    out.print("stopped")


@contextmanager
def stop_on_signals(supervisor: Supervisor) -> Generator[None]:
    """Stop a stack on SIGINT (Ctrl-C), SIGTERM and SIGHUP (closed terminal) while the block runs."""
    # set a handler even if the shell ignores SIGINT: otherwise child processes inherit that, and a Prefect
    # worker that ignores SIGINT ignores SIGTERM too
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def on_signal(*_: object) -> None:
        supervisor.request_stop()

    previous_handlers = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
