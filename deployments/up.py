"""Supervisor of a one-machine stack: starts, restarts and stops the Prefect server, workers and API."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from deployments import stack
from deployments.children import Child, Guard, describe
from deployments.environments import scratch
from deployments.lock import HomeLock, running
from deployments.messaging import require_redis
from deployments.show import Waiting, waiting, waiting_lines
from deployments.stack import Plan
from deployments.start_watch import StartWatch

if TYPE_CHECKING:
    from rich.console import Console

STOP_GRACE_S = 8.0
WORKER_MIN_LIFE_S = 10.0
"""Seconds; a worker that exits sooner than this after its start is not restarted, and the stack stops."""
WORKER_STEADY_S = 300.0
"""Seconds; a worker that ran for this long is restarted without a delay."""
_RESTART_PAUSES_S = (0.0, 5.0, 15.0, 60.0)
"""Delays before a restart, by the number of preceding consecutive runs shorter than WORKER_STABLE_AFTER_S."""
_LOOK_S = 0.1
_WATCH_S = 0.5
"""Seconds between checks of the running processes; signals are handled at once."""
_PROGRESS_S = 1.0


class StackError(Exception):
    """The stack could not start, or had to stop; the message says how to fix it."""


class StackStopped(Exception):
    """A stop was requested while the stack was starting or being checked."""


class Supervisor:
    """
    The supervisor of one stack: starts its processes, restarts workers, and stops all in reverse order.

    It is a context manager: entering starts the stack, leaving stops it.
    """

    def __init__(
        self,
        plan: Plan,
        say: Callable[[str], None],
        show_waiting: Callable[[], AbstractContextManager[Waiting]] | None = None,
    ) -> None:
        """
        Configure a stack without starting it.

        Args:
            plan:         configuration of the stack.
            log:          called with each line of progress.
            show_waiting: opens a progress display; None: lines through `log`.
        """
        self.plan = plan
        self._say = say
        self._show_waiting = show_waiting or (lambda: nullcontext(waiting_lines(say)))
        self._lock = HomeLock(plan.home)
        self._stopping = threading.Event()
        self._children: list[Child] = []
        self._workers: list[Child] = []
        self._ends: dict[str, int] = {}
        """Number of consecutive short runs of each worker."""
        self._due: dict[str, float] = {}
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

    def ask_to_stop(self) -> None:
        """Make `start` raise and `watch` return soon; safe in a signal handler."""
        self._stopping.set()

    def start(self) -> None:
        """
        Start all processes and return when the API accepts jobs.

        Raises:
            StackError:         another stack uses this home folder, a port is taken, or a process exited or
                                hung.
            RedisUnusable:      the configured Redis cannot be used.
            StackStopRequested: `request_stop` was called meanwhile.
        """
        began = time.monotonic()
        self._claim()
        marker = uuid4().hex
        env = stack.environment(self.plan, marker)
        self._guard = Guard(marker)
        self._say("starting the Prefect server")
        server = self._launch(stack.server(self.plan, env))
        deployer = self._launch(
            stack.deployer(self.plan, env)
        )  # loads while the server does, then waits for it
        self._wait(lambda: _answers(f"{self.plan.prefect_url}/api/ready"), lambda: [server], server, deployer)
        self._say("updating work pools and deployments")
        self._wait(lambda: deployer.exit_status == 0, lambda: [deployer], server, deployer)
        self._children.remove(deployer)
        self._say("starting the worker and the API")
        self._workers = [self._launch(worker) for worker in stack.workers(self.plan, env)]
        api = self._launch(stack.api(self.plan, env))
        ready = f"{self.plan.api_url}/readyz"
        self._wait(
            lambda: _answers(ready),
            lambda: _not_ready(_checks(ready), api, self._workers),
            server,
            *self._workers,
            api,
            why=lambda: _trouble(ready),
        )
        self._lock.announce(self.plan.api_url, self.plan.prefect_url)
        self._say(f"ready after {time.monotonic() - began:.0f} s")

    def _claim(self) -> None:
        require_redis(self.plan.settings.redis)
        home = self.plan.home
        if not self._lock.take():
            other = running(home)
            where = f" (process {other.pid}, API at {other.api_url})" if other else ""
            raise StackError(
                f"A stack is already running on {home}{where}. Use it, stop it, or choose another"
                " folder with --home."
            )
        settings = self.plan.settings
        for folder in (self.plan.work, scratch(settings), settings.logs, settings.prefect_home):
            folder.mkdir(parents=True, exist_ok=True)
        api = settings.api
        if api.port == self.plan.prefect_port:
            raise StackError("The API and the Prefect server need different ports: set another --port.")
        _require_free("127.0.0.1", self.plan.prefect_port, "the Prefect server", "--prefect-port")
        _require_free(api.host, api.port, "the API", "--port")

    def _launch(self, child: Child) -> Child:
        child.start(cwd=self.plan.work)
        self._children.append(child)
        return child

    def _wait(
        self,
        done: Callable[[], bool],
        awaited: Callable[[], list[Child]],
        *needed: Child,
        why: Callable[[], str] = lambda: "",
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
        watch, looked_at = StartWatch(self.plan.settings.start), 0.0
        with self._show_waiting() as show:
            while not done():
                if self._stopping.wait(_LOOK_S):
                    raise StackStopped
                for child in needed:
                    if child.exit_status:
                        raise _ended(child)
                if time.monotonic() - looked_at < _PROGRESS_S:
                    continue
                left, reasons = awaited(), why()
                pids = [child.pid for child in left if child.pid is not None]
                watch.update(pids, (reasons, tuple(child.log_bytes for child in left)))
                looked_at = time.monotonic()
                if trouble := watch.failure():
                    raise _start_failure(trouble, left, reasons)
                awaits = "; ".join(describe(child) for child in left) or reasons.replace("\n", "; ")
                show(watch.seconds, f"waiting for {awaits}")

    def look(self) -> None:
        """
        Check all processes once and restart workers that have exited.

        Raises:
            StackError:         the server, the API or a worker younger than WORKER_MIN_LIFE_S has exited.
            StackStopRequested: `request_stop` was called.
        """
        if self._stopping.is_set():
            raise StackStopped
        self._restart_workers()

    def _restart_workers(self) -> None:
        for child in [child for child in self._children if child.exit_status is not None]:
            if child.name not in self._due:
                self._due[child.name] = time.monotonic() + self._pause_after(child)
            if time.monotonic() >= self._due[child.name]:
                del self._due[child.name]
                child.start(cwd=self.plan.work)

    def _pause_after(self, child: Child) -> float:
        """Return the delay in seconds before an exited worker is restarted, and log the restart."""
        lived = time.monotonic() - child.started_at
        if child not in self._workers or lived < WORKER_MIN_LIFE_S:
            raise _ended(child)
        early = 0 if lived > WORKER_STEADY_S else self._ends.get(child.name, 0)
        self._ends[child.name] = early + 1
        pause = _RESTART_PAUSES_S[min(early, len(_RESTART_PAUSES_S) - 1)]
        when = f"in {pause:.0f} s" if pause else "now"
        self._say(
            f"{child.name} exited with status {child.exit_status} and is restarted {when}.\n{child.tail()}"
        )
        return pause

    def watch(self) -> None:
        """
        Check the processes and restart workers until `request_stop` is called.

        Raises:
            StackError: see `check`.
        """
        while not self._stopping.wait(_WATCH_S):
            self._restart_workers()

    def stop(self) -> None:
        """Stop all processes in reverse order; those that ignore SIGTERM are killed."""
        while self._children:
            self._children.pop().stop(STOP_GRACE_S)
        if self._guard is not None:
            self._guard.sweep(grace_s=1.0)
            self._guard = None
        self._lock.release()


def _ended(child: Child) -> StackError:
    return StackError(
        f"{child.name} exited with status {child.exit_status}. Last lines of {child.log}:\n{child.tail()}"
    )


def _start_failure(trouble: str, awaited: list[Child], reasons: str) -> StackError:
    names = " and ".join(f"{child.name} (process {child.pid})" for child in awaited) or "The API"
    logs = [f"Last lines of {child.log}:\n{child.tail() or '(empty)'}" for child in awaited]
    step = "Run `musetalk doctor`, fix the reported problems, and start again."
    return StackError("\n".join(part for part in (f"{names} {trouble}.", reasons, *logs, step) if part))


def _require_free(host: str, port: int, use: str, option: str) -> None:
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


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _checks(url: str) -> dict[str, str] | None:
    """Return the API's readiness checks as `{name: "ok" or error}`; None while it does not respond."""
    import httpx

    try:
        checks: dict[str, str] = httpx.get(url, timeout=5.0, trust_env=False).json()["checks"]
    except (httpx.TransportError, ValueError, KeyError):
        return None
    return checks


def _trouble(url: str) -> str:
    """Return the failed readiness checks, one per line, for example an unreachable store."""
    checks = _checks(url) or {}
    return "\n".join(f"{name}: {text}" for name, text in checks.items() if text != "ok")


def _not_ready(checks: dict[str, str] | None, api: Child, workers: list[Child]) -> list[Child]:
    """Return the processes that are still starting; empty if all are ready and another check fails."""
    if checks is None:
        return [api]
    bad = {name.replace(" ", "-") for name, text in checks.items() if text != "ok"}
    return [worker for worker in workers if worker.name in bad]


def run_until_signalled(plan: Plan, out: "Console") -> None:
    """
    Run a stack until Ctrl-C or SIGTERM.

    Args:
        plan: configuration of the stack.
        out:  console for progress messages.

    Raises:
        StackError: see `Supervisor`.
    """
    supervisor = Supervisor(plan, lambda line: out.print(line, markup=False), partial(waiting, out))
    with signals_ask(supervisor):
        try:
            with supervisor:
                out.print(f"jobs:    {plan.api_url}/docs")
                out.print(f"prefect: {plan.prefect_url}")
                out.print(f"logs:    {plan.settings.logs}")
                out.print("Ctrl-C stops everything.")
                supervisor.watch()
                out.print("stopping")
        except StackStopped:
            out.print("stopped while starting")
            return
    out.print("stopped")


@contextmanager
def signals_ask(supervisor: Supervisor) -> Generator[None]:
    """Stop a stack on SIGINT (Ctrl-C), SIGTERM and SIGHUP (closed terminal) while the block runs."""
    # set a handler even if the shell ignores SIGINT: otherwise child processes inherit that, and a Prefect
    # worker that ignores SIGINT ignores SIGTERM too
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def ask(*_: object) -> None:
        supervisor.ask_to_stop()

    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
