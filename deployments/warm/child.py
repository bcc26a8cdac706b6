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

from deployments.warm import held
from deployments.warm.protocol import Done, Hooks, Leave, Loaded, Message, Order, Ready, Stop, decode, encode

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

BEAT_S = 1.0
MAX_ERROR_CHARS = 2000
"""Maximum length of an error in a state's message."""
_PR_SET_PDEATHSIG = 1


class Interrupted(BaseException):
    """A stop was requested while the flow was still being loaded, before the engine could handle it."""


class CannotStart(Exception):
    """The run cannot be started, and no further attempt can succeed; the message says why."""


class Line:
    """The child's connection to its worker: receives messages in a thread, sends from any thread."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._sending = threading.Lock()
        self.orders: queue.SimpleQueue[Order | Hooks | Leave] = queue.SimpleQueue()
        self.busy = False
        threading.Thread(target=self._listen, name="worker-line", daemon=True).start()
        threading.Thread(target=self._beat, name="worker-beat", daemon=True).start()

    def send(self, message: Message) -> None:
        """Send a message to the worker; if the worker has ended, kill this process group."""
        with self._sending:
            try:
                self._socket.sendall(encode(message))
            except OSError:
                end_group()

    def _listen(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                match decode(line):
                    case Stop() as stop:
                        self._stop(stop)
                    case Order() | Hooks() | Leave() as order:
                        self.orders.put(order)
                    case _:
                        continue
        end_group()  # the worker has ended, so nothing supervises this run any more

    def _stop(self, stop: Stop) -> None:
        if not self.busy:
            return
        from deployments.warm.seams import set_intent
        from tasks.stopping import ask_to_stop

        # in this order: SIGTERM must reach the flow before one of its tasks fails because of the stop request
        set_intent("reschedule" if stop.why == "hand_back" else "cancel")
        os.kill(os.getpid(), signal.SIGTERM)
        ask_to_stop()

    def _beat(self) -> None:
        while True:
            self.send(held.beat())
            time.sleep(BEAT_S)


def end_group() -> None:
    """Kill this process and all processes that it started."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main(fd: int, preload: list[str]) -> None:
    """
    Import modules, then execute runs until the worker sends `Shutdown`.

    Args:
        fd:      file descriptor of the child's end of the socket pair.
        preload: modules to import before the first run.
    """
    began = time.monotonic()
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the worker handles Ctrl-C
    line = Line(fd)
    _take_sigterm(line)
    # the worker sets the state of a run that it stops, and has its hooks run
    os.environ["PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS"] = "false"  # noqa: TID251
    for module in ("prefect.flow_engine", *preload):
        importlib.import_module(module)
    line.send(Ready(os.getpid(), time.monotonic() - began))
    while True:
        match line.orders.get():
            case Order() as order:
                line.send(execute(line, order))
            case Hooks() as hooks:
                run_hooks(hooks)
            case Leave():
                flush()
                return


def _take_sigterm(line: Line) -> None:
    def interrupt(*_: object) -> None:
        if line.busy:
            raise Interrupted

    signal.signal(signal.SIGTERM, interrupt)


def _end_with_parent() -> None:
    """Make the kernel kill this process when the worker ends, even while Python code is blocked (Linux)."""
    import ctypes

    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        end_group()


def execute(line: Line, order: Order) -> Done:
    """
    Execute one flow run through Prefect's engine.

    Args:
        connection: connection to the worker; a stop request arrives on it.
        request:    the run and its environment.

    Returns:
        The outcome. No exception of the flow leaves this function; `retire_reason` is set if this process
        should not execute another run.
    """
    from deployments.warm.seams import set_intent
    from tasks.stopping import start_anew

    start_anew()
    set_intent(None)
    code, state, tainted, fault = 0, None, None, None
    with _surroundings(order):
        line.busy = True
        try:
            state = _run(UUID(order.run_id), line)
        except CannotStart as error:
            code, fault = 1, str(error)
        except SystemExit as left:  # Prefect's engine exits with it
            code = left.code if isinstance(left.code, int) else 1
        except Interrupted:
            code, tainted = 128 + signal.SIGTERM, "stopped while loading"
        except BaseException as error:
            code, tainted = 1, f"ended by {type(error).__name__}"
            print(f"run {order.run_id}: {error!r}", file=sys.stderr, flush=True)  # noqa: T201  the worker's log
        finally:
            line.busy = False
    _take_sigterm(line)
    if state != "COMPLETED":
        gc.collect()  # state, exception and traceback form a reference cycle that may hold arrays
    return Done(order.run_id, code, state, tainted or held.card_fault(), held.beat(), fault)


def _run(run_id: UUID, line: Line) -> str | None:
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

    from deployments.warm.seams import run_settings

    ended: object = None
    fault: CannotStart | None = None
    with run_settings(), handle_engine_signals(run_id):
        run = load_flow_run(run_id)
        try:
            ended = _run_flow(run, line)
        except CannotStart as error:  # Prefect's handler would report a crash
            fault = error
    if fault is not None:
        raise fault
    return ended.type.value if isinstance(ended, State) else None


def _run_flow(run: "FlowRun", line: Line) -> object:
    """Load the flow of a run, execute it and return the engine's result."""
    from prefect.flow_engine import load_flow, run_flow
    from prefect.logging.loggers import flow_run_logger

    from deployments.warm.seams import drive

    log = flow_run_logger(run)
    try:
        flow = load_flow(run)
    except (Exception, SystemExit) as error:
        log.exception("The flow could not be loaded.")
        if is_transient(error):
            raise
        raise CannotStart(f"The flow could not be loaded: {error_text(error)}") from error
    line.send(Loaded(bool(flow.on_crashed_hooks or flow.on_cancellation_hooks)))
    try:
        started = run_flow(flow, flow_run=run, error_logger=log, return_type="state")  # pyright: ignore[reportArgumentType]  as the engine itself calls it
        return drive(flow, started)
    except Exception as error:  # raised by the engine; errors of the flow become a state
        # an engine error after the start may not occur again in another attempt
        if is_transient(error) or not (run.state and run.state.is_pending()):
            raise
        raise CannotStart(start_error_message(error)) from error


def start_error_message(error: Exception) -> str:
    """Return the message of the Failed state of a run that the engine could not start."""
    from prefect.exceptions import ParameterBindError, ParameterTypeError, SignatureMismatchError

    from flows.outcome import BAD_PARAMETERS

    if isinstance(error, ParameterBindError | ParameterTypeError | SignatureMismatchError):
        return f"{BAD_PARAMETERS} with error:\n - {str(error).splitlines()[0]}"
    return f"The run could not be started: {error_text(error)}"


def is_transient(error: BaseException) -> bool:
    """Return whether another attempt may succeed, for example because the server was unavailable."""
    from deployments.warm.settle import is_outage

    missing = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
    return isinstance(error, MemoryError) or (is_outage(error) and not isinstance(error, missing))


def error_text(error: BaseException) -> str:
    """Return an error's type and message, shortened to MAX_ERROR_CHARS."""
    return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]


@contextmanager
def _surroundings(order: Order) -> Generator[None]:
    """Set a run's environment variables and temporary folder, and restore the previous ones afterwards."""
    before = dict(os.environ)  # noqa: TID251
    folder = tempfile.tempdir
    os.environ.update({**order.env, "TMPDIR": order.scratch})  # noqa: TID251
    tempfile.tempdir = order.scratch
    try:
        yield
    finally:
        tempfile.tempdir = folder
        os.environ.clear()  # noqa: TID251
        os.environ.update(before)  # noqa: TID251


def run_hooks(hooks: Hooks) -> None:
    """Run the crash or cancellation hooks of a run whose child process has ended."""
    import asyncio

    from prefect.client.schemas.objects import State
    from prefect.flow_engine import load_flow, load_flow_run

    from deployments.warm.seams import run_hooks as run
    from deployments.warm.seams import run_settings

    try:
        with run_settings():
            flow_run = load_flow_run(UUID(hooks.run_id))
            flow = load_flow(flow_run)
            asyncio.run(run(flow, flow_run, State.model_validate(hooks.state)))
    except Exception as error:
        print(f"hooks of {hooks.run_id}: {error!r}", file=sys.stderr, flush=True)  # noqa: T201


def flush() -> None:
    """Send Prefect's buffered logs and events, for at most 2 s each."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for service in (APILogWorker, EventsWorker):
        with contextlib.suppress(Exception):
            service.drain_all(timeout=2.0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
