"""One machine, one command: Prefect server, deployments, workers and API as supervised processes."""

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
"""A worker that ends sooner than this after its start is not started again."""
WORKER_STEADY_S = 300.0
"""A worker that ran for this long is restarted without a delay."""
_RESTART_PAUSES_S = (0.0, 5.0, 15.0, 60.0)
"""Delays before a restart, by the number of earlier runs in a row shorter than WORKER_STEADY_S."""
_LOOK_S = 0.1
_WATCH_S = 0.5
"""Interval of the checks on running processes; signals are handled at once."""
_PROGRESS_S = 1.0


class StackError(Exception):
    """The stack could not start or had to end; the message says what to do about it."""


class StackStopped(Exception):
    """Somebody asked the stack to stop while it was starting."""


class Supervisor:
    """
    The processes of one stack: started in order, watched, stopped in reverse.

    Use it as a context manager: leaving the block stops everything. `say` receives progress for people.
    """

    def __init__(
        self,
        plan: Plan,
        say: Callable[[str], None],
        show_waiting: Callable[[], AbstractContextManager[Waiting]] | None = None,
    ) -> None:
        """
        Describe a stack; nothing is started yet.

        Args:
            plan:         where it lives and how big it is.
            say:          receives one line at a time.
            show_waiting: opens a progress display; None: lines through `say`.
        """
        self.plan = plan
        self._say = say
        self._show_waiting = show_waiting or (lambda: nullcontext(waiting_lines(say)))
        self._lock = HomeLock(plan.home)
        self._stopping = threading.Event()
        self._children: list[Child] = []
        self._workers: list[Child] = []
        self._ends: dict[str, int] = {}
        """Number of short runs in a row of each worker."""
        self._due: dict[str, float] = {}
        """When each ended worker is due for its restart."""
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
        """Make `start` or `watch` return soon; safe in a signal handler."""
        self._stopping.set()

    def start(self) -> None:
        """
        Start everything and return when jobs can be sent.

        Raises:
            StackError:    another stack runs on this home, a port is taken, or a process ended or hung.
            RedisUnusable: a Redis is named and cannot be used.
            StackStopped:  `ask_to_stop` was called meanwhile.
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
        self._say("bringing work pools and deployments up to date")
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
                f"A stack is already running on {home}{where}. Use that one, stop it, or choose another"
                " folder with --home."
            )
        settings = self.plan.settings
        for folder in (self.plan.work, scratch(settings), settings.logs, settings.prefect_home):
            folder.mkdir(parents=True, exist_ok=True)
        api = settings.api
        if api.port == self.plan.prefect_port:
            raise StackError("The API and the Prefect server need two ports: give another --port.")
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
        Wait while there is progress.

        Args:
            done:    tells whether to stop waiting.
            awaited: returns the processes that are not ready; their progress counts.
            needed:  processes that must not end meanwhile.
            why:     returns other reasons, one per line; a change of these is progress too.

        Raises:
            StackError:   a process ended, hung or took longer than the last limit.
            StackStopped: `ask_to_stop` was called.
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
        Look after the processes once: a worker that ended is started again.

        Raises:
            StackError:   the server, the API or a worker that had just been started has ended.
            StackStopped: `ask_to_stop` was called.
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
        """Return the delay before an ended worker is restarted, in seconds, and report the restart."""
        lived = time.monotonic() - child.started_at
        if child not in self._workers or lived < WORKER_MIN_LIFE_S:
            raise _ended(child)
        early = 0 if lived > WORKER_STEADY_S else self._ends.get(child.name, 0)
        self._ends[child.name] = early + 1
        pause = _RESTART_PAUSES_S[min(early, len(_RESTART_PAUSES_S) - 1)]
        when = f"in {pause:.0f} s" if pause else "now"
        self._say(
            f"{child.name} ended with status {child.exit_status} and is started again {when}.\n{child.tail()}"
        )
        return pause

    def watch(self) -> None:
        """
        Look after the processes until `ask_to_stop`.

        Raises:
            StackError: see `look`.
        """
        while not self._stopping.wait(_WATCH_S):
            self._restart_workers()

    def stop(self) -> None:
        """Stop everything in reverse order; nothing is left behind, not even what ignores SIGTERM."""
        while self._children:
            self._children.pop().stop(STOP_GRACE_S)
        if self._guard is not None:
            self._guard.sweep(grace_s=1.0)
            self._guard = None
        self._lock.release()


def _ended(child: Child) -> StackError:
    return StackError(
        f"{child.name} ended with status {child.exit_status}. The end of {child.log}:\n{child.tail()}"
    )


def _start_failure(trouble: str, awaited: list[Child], reasons: str) -> StackError:
    names = " and ".join(f"{child.name} (process {child.pid})" for child in awaited) or "The API"
    logs = [f"The end of {child.log}:\n{child.tail() or '(empty)'}" for child in awaited]
    step = "Run `musetalk doctor`, fix what it or the log reports, and start again."
    return StackError("\n".join(part for part in (f"{names} {trouble}.", reasons, *logs, step) if part))


def _require_free(host: str, port: int, use: str, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(
                f"Port {port} on {host}, wanted for {use}, cannot be used ({error.strerror}). End the program"
                f" that listens there, or choose another port with {option} N."
            ) from error


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _checks(url: str) -> dict[str, str] | None:
    """Return the API's readiness checks; None while it does not answer."""
    import httpx

    try:
        checks: dict[str, str] = httpx.get(url, timeout=5.0, trust_env=False).json()["checks"]
    except (httpx.TransportError, ValueError, KeyError):
        return None
    return checks


def _trouble(url: str) -> str:
    """Say what the API's own look at the system found wrong, for example a store that does not answer."""
    checks = _checks(url) or {}
    return "\n".join(f"{name}: {text}" for name, text in checks.items() if text != "ok")


def _not_ready(checks: dict[str, str] | None, api: Child, workers: list[Child]) -> list[Child]:
    """Return the processes that are still starting; empty if all run and another check fails."""
    if checks is None:
        return [api]
    bad = {name.replace(" ", "-") for name, text in checks.items() if text != "ok"}
    return [worker for worker in workers if worker.name in bad]


def run_until_signalled(plan: Plan, out: "Console") -> None:
    """
    Run a stack until Ctrl-C or SIGTERM.

    Args:
        plan: the stack.
        out:  where people read.

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
    """Make Ctrl-C, SIGTERM and a closed terminal ask a stack to stop while the block runs."""
    # a handler, even where a shell had SIGINT ignored: children then start with the default, and a
    # Prefect worker that ignores SIGINT ignores SIGTERM too
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def ask(*_: object) -> None:
        supervisor.ask_to_stop()

    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
