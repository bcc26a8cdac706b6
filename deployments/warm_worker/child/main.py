"""
Entry point of a child process: import modules once, then execute flow runs on the main thread.

Arguments: FD MODULE…, where FD is the child's end of a socket pair. The child executes one run at a time. It
leads its own process group, so that the processes it starts end with it, and it ends when its worker ends.
"""

import contextlib
import gc
import importlib
import os
import queue
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from deployments.warm_worker.child import resources
from deployments.warm_worker.child.log_filter import omit_repeated_lines
from deployments.warm_worker.child.protocol import (
    ChildReady,
    FlowLoaded,
    HooksRequest,
    Message,
    RunFinished,
    RunRequest,
    Shutdown,
    StopRequest,
    decode,
    encode,
)

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

HEARTBEAT_INTERVAL_S = 1.0
MAX_ERROR_CHARS = 2000
"""Maximum length of an error in a state's message."""
_PR_SET_PDEATHSIG = 1


class StoppedWhileLoading(BaseException):
    """A stop was requested while the flow was still being loaded, before the engine could handle it."""


class RunStartError(Exception):
    """The run cannot be started, and no further attempt can succeed; the message says why."""


class WorkerConnection:
    """The child's connection to its worker: receives messages in a thread, sends from any thread."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._send_lock = threading.Lock()
        self.requests: queue.SimpleQueue[RunRequest | HooksRequest | Shutdown] = queue.SimpleQueue()
        self.is_busy = False
        threading.Thread(target=self._receive_messages, name="worker-line", daemon=True).start()
        threading.Thread(target=self._send_heartbeats, name="worker-beat", daemon=True).start()

    def send(self, message: Message) -> None:
        """Send a message to the worker; if the worker has ended, kill this process group."""
        with self._send_lock:
            try:
                self._socket.sendall(encode(message))
            except OSError:
                kill_process_group()

    def _receive_messages(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                match decode(line):
                    case StopRequest() as stop:
                        self._on_stop_request(stop)
                    case RunRequest() | HooksRequest() | Shutdown() as order:
                        self.requests.put(order)
                    case _:
                        continue
        kill_process_group()  # the worker has ended, so nothing supervises this run any more

    def _on_stop_request(self, request: StopRequest) -> None:
        if not self.is_busy:
            return
        from deployments.warm_worker.prefect_internals import set_sigterm_intent
        from tasks.run.cancellation import request_cancellation

        # in this order: SIGTERM must reach the flow before one of its tasks fails because of the stop request
        set_sigterm_intent("reschedule" if request.why == "hand_back" else "cancel")
        os.kill(os.getpid(), signal.SIGTERM)
        request_cancellation()

    def _send_heartbeats(self) -> None:
        while True:
            self.send(resources.collect_heartbeat())
            time.sleep(HEARTBEAT_INTERVAL_S)


def kill_process_group() -> None:
    """Kill this process and all processes that it started."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main(fd: int, preload: list[str]) -> None:
    """
    Import modules, then execute runs until the worker sends `Shutdown`.

    Args:
        fd:      file descriptor of the child's end of the socket pair.
        preload: modules to import before the first run.
    """
    started_at = time.monotonic()
    _end_with_worker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the worker handles Ctrl-C
    connection = WorkerConnection(fd)
    _install_sigterm_handler(connection)
    # the worker sets the state of a run that it stops, and requests the run's hooks in another child
    os.environ["PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS"] = "false"  # noqa: TID251
    for module in ("prefect.flow_engine", *preload):
        importlib.import_module(module)
    omit_repeated_lines()
    trace_this_process()
    connection.send(ChildReady(os.getpid(), time.monotonic() - started_at))
    while True:
        match connection.requests.get():
            case RunRequest() as order:
                connection.send(execute_run(connection, order))
            case HooksRequest() as hooks:
                run_hooks(hooks)
            case Shutdown():
                flush_logs_and_events()
                return


def trace_this_process() -> None:
    """Let the runs of this process be traced, if the settings say so."""
    from tasks.tracing.hooks import trace_process

    trace_process("musetalk-run")


def _install_sigterm_handler(connection: WorkerConnection) -> None:
    def interrupt(*_: object) -> None:
        if connection.is_busy:
            raise StoppedWhileLoading

    signal.signal(signal.SIGTERM, interrupt)


def _end_with_worker() -> None:
    """Make the kernel kill this process when the worker ends, even while Python code is blocked (Linux)."""
    import ctypes

    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        kill_process_group()


def execute_run(connection: WorkerConnection, request: RunRequest) -> RunFinished:
    """
    Execute one flow run through Prefect's engine.

    Args:
        connection: connection to the worker; a stop request arrives on it.
        request:    the run and its environment.

    Returns:
        The outcome. No exception of the flow leaves this function; `retire_reason` is set if this process
        should not execute another run.
    """
    from deployments.warm_worker.prefect_internals import set_sigterm_intent
    from tasks.run.cancellation import reset_cancellation
    from tasks.run.usage import start_run_meter, stop_run_meter
    from tasks.tracing.spans import span

    reset_cancellation()
    set_sigterm_intent(None)
    start_run_meter(request.run_id, request.device_share)
    code, state, retire_reason, start_error = 0, None, None, None
    with _run_environment(request), span("run", kind="consumer", parent=request.traceparent):
        connection.is_busy = True
        try:
            state = _run_engine(UUID(request.run_id), connection)
        except RunStartError as error:
            code, start_error = 1, str(error)
        except SystemExit as system_exit:  # Prefect's engine exits with it
            code = system_exit.code if isinstance(system_exit.code, int) else 1
        except StoppedWhileLoading:
            code, retire_reason = 128 + signal.SIGTERM, "stopped while loading"
        except BaseException as error:
            code, retire_reason = 1, f"ended by {type(error).__name__}"
            print(f"run {request.run_id}: {error!r}", file=sys.stderr, flush=True)  # noqa: T201  the worker's log
        finally:
            connection.is_busy = False
    _install_sigterm_handler(connection)
    if state != "COMPLETED":
        gc.collect()  # state, exception and traceback form a reference cycle that may hold arrays
    retire_reason = retire_reason or resources.gpu_failure()
    heartbeat = resources.collect_heartbeat()
    stop_run_meter()
    return RunFinished(request.run_id, code, state, retire_reason, heartbeat, start_error)


def _run_engine(run_id: UUID, connection: WorkerConnection) -> str | None:
    """
    Execute a run with Prefect's engine.

    Returns:
        The type of the final state; None if the engine ended without one.

    Raises:
        RunStartError: the flow cannot be loaded, or does not accept the run's parameters.
    """
    from prefect.client.schemas.objects import State
    from prefect.engine import handle_engine_signals
    from prefect.flow_engine import load_flow_run

    from deployments.warm_worker.prefect_internals import run_settings

    result: object = None
    start_error: RunStartError | None = None
    with run_settings(), handle_engine_signals(run_id):
        run = load_flow_run(run_id)
        try:
            result = _run_flow(run, connection)
        except RunStartError as error:  # Prefect's handler would report a crash
            start_error = error
    if start_error is not None:
        raise start_error
    return result.type.value if isinstance(result, State) else None


def _run_flow(run: "FlowRun", connection: WorkerConnection) -> object:
    """Load the flow of a run, execute it and return the engine's result."""
    from prefect.flow_engine import load_flow, run_flow
    from prefect.logging.loggers import flow_run_logger

    from deployments.warm_worker.child.run_names import name_run
    from deployments.warm_worker.prefect_internals import complete_flow_result
    from tasks.tracing.spans import current_traceparent, span

    log = flow_run_logger(run)
    try:
        flow = load_flow(run)
    except (Exception, SystemExit) as error:
        log.exception("The flow could not be loaded.")
        if is_transient(error):
            raise
        raise RunStartError(f"The flow could not be loaded: {error_text(error)}") from error
    name_run(run, flow.name)
    connection.send(FlowLoaded(bool(flow.on_crashed_hooks or flow.on_cancellation_hooks), flow.name))
    if (traced := current_traceparent()) is not None:
        log.info("Trace %s", traced.trace_id)
    try:
        with span("flow", {"flow": flow.name}):
            started = run_flow(flow, flow_run=run, error_logger=log, return_type="state")  # pyright: ignore[reportArgumentType]  as the engine itself calls it
        return complete_flow_result(flow, started)
    except Exception as error:  # raised by the engine; errors of the flow become a state
        # an engine error after the start may not occur again in another attempt
        if is_transient(error) or not (run.state and run.state.is_pending()):
            raise
        raise RunStartError(start_error_message(error)) from error


def start_error_message(error: Exception) -> str:
    """Return the message of the Failed state of a run that the engine could not start."""
    from prefect.exceptions import ParameterBindError, ParameterTypeError, SignatureMismatchError

    from flows.prefect_state.status import INVALID_PARAMETERS_MESSAGE

    if isinstance(error, ParameterBindError | ParameterTypeError | SignatureMismatchError):
        return f"{INVALID_PARAMETERS_MESSAGE} with error:\n - {str(error).splitlines()[0]}"
    return f"The run could not be started: {error_text(error)}"


def is_transient(error: BaseException) -> bool:
    """Return whether another attempt may succeed, for example because the server was unavailable."""
    from tasks.run.retry import is_outage

    missing = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
    return isinstance(error, MemoryError) or (is_outage(error) and not isinstance(error, missing))


def error_text(error: BaseException) -> str:
    """Return an error's type and message, shortened to MAX_ERROR_CHARS."""
    return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]


@contextmanager
def _run_environment(request: RunRequest) -> Generator[None]:
    """Set a run's environment variables and temporary folder, and restore the previous ones afterwards."""
    previous_environment = dict(os.environ)  # noqa: TID251
    previous_tempdir = tempfile.tempdir
    os.environ.update({**request.env, "TMPDIR": request.scratch})  # noqa: TID251
    tempfile.tempdir = request.scratch
    try:
        yield
    finally:
        tempfile.tempdir = previous_tempdir
        os.environ.clear()  # noqa: TID251
        os.environ.update(previous_environment)  # noqa: TID251


def run_hooks(hooks: HooksRequest) -> None:
    """Run the crash or cancellation hooks of a run whose child process has ended."""
    import asyncio

    from prefect.client.schemas.objects import State
    from prefect.flow_engine import load_flow, load_flow_run

    from deployments.warm_worker.prefect_internals import run_hooks as run
    from deployments.warm_worker.prefect_internals import run_settings

    try:
        with run_settings():
            flow_run = load_flow_run(UUID(hooks.run_id))
            flow = load_flow(flow_run)
            asyncio.run(run(flow, flow_run, State.model_validate(hooks.state)))
    except Exception as error:
        print(f"hooks of {hooks.run_id}: {error!r}", file=sys.stderr, flush=True)  # noqa: T201


def flush_logs_and_events() -> None:
    """Send Prefect's buffered logs and events, for at most 2 s each."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    from tasks.tracing.spans import flush

    for service in (APILogWorker, EventsWorker):
        with contextlib.suppress(Exception):
            service.drain_all(timeout=2.0)
    flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
