"""
Worker processes for speech recognition, whose calls can be aborted.

pocketsphinx holds the GIL for seconds while it decodes: in the process that calls it no thread could look for
a cancellation, and threads would not run in parallel. A worker process is killed instead.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, Self

from musetalk_core.errors import EngineError, ModelNotInstalled

Check = Callable[[], None]
"""Called several times a second while work is done; it may raise to abort the work."""

_CHECK_INTERVAL_S: Final = 0.2
_SOURCE_ROOT: Final = Path(__file__).resolve().parents[3]
_WORKER_CODE: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from musetalk_core.speech.alignment.worker_process import worker_main; worker_main(sys.argv[2])"
)


def no_check() -> None:
    """Never abort."""


def call_in_workers(
    function: str, calls: Sequence[Sequence[Any]], processes: int, check: Check
) -> Iterator[Any]:
    """
    Call a function with several lists of arguments in parallel processes; yield the results in order.

    Args:
        function:  "module:name" of a function whose arguments and result are JSON.
        calls:     the arguments of each call.
        processes: number of processes, at least 1.
        check:     see `Check`; if it raises, the processes are killed, and the error is raised in a second.

    Raises:
        ModelNotInstalled: the function raised this error.
        EngineError: a process died.
    """
    with ExitStack() as stack:
        workers = [_Worker(function) for _ in range(processes)]
        idle_workers = SimpleQueue[_Worker]()
        for worker in workers:
            idle_workers.put(stack.enter_context(worker))

        def call_one(arguments: Sequence[Any]) -> Any:
            worker = idle_workers.get()
            try:
                return worker.call(arguments)
            finally:
                idle_workers.put(worker)

        pool = stack.enter_context(ThreadPoolExecutor(processes))
        futures = [pool.submit(call_one, arguments) for arguments in calls]
        try:
            for future in futures:
                yield _wait_for(future, check)
        finally:  # the pool waits for its threads, which wait for the processes
            for future in futures:
                future.cancel()
            for worker in workers:
                worker.kill()


def _wait_for(future: Future[Any], check: Check) -> Any:
    while True:
        try:
            return future.result(timeout=_CHECK_INTERVAL_S)
        except FutureTimeoutError:
            check()


class _Worker:
    """A process that calls one function, call by call; it exits at the end of its input."""

    def __init__(self, function: str) -> None:
        self._function = function

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", _WORKER_CODE, str(_SOURCE_ROOT), self._function]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def call(self, arguments: Sequence[Any]) -> Any:
        requests, responses = self._process.stdin, self._process.stdout
        assert requests is not None and responses is not None  # noqa: S101  both are pipes
        try:
            requests.write(json.dumps(arguments) + "\n")
            requests.flush()
            response = json.loads(responses.readline())
        except (OSError, ValueError) as error:
            raise EngineError("A speech recognition process died.") from error
        if "model_not_installed" in response:
            raise ModelNotInstalled(response["model_not_installed"])
        return response["result"]

    def kill(self) -> None:
        """End the process: it keeps no state, and may be busy with a call whose result is not needed."""
        self._process.kill()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._process.communicate()


def worker_main(function: str) -> None:
    """Read JSON lines of arguments from stdin until EOF; write a JSON line with the result for each."""
    module, _, name = function.partition(":")
    target = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        try:
            response = {"result": target(*json.loads(line))}
        except ModelNotInstalled as error:
            response = {"model_not_installed": str(error)}
        sys.stdout.write(json.dumps(response) + "\n")
        sys.stdout.flush()
