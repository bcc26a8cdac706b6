"""Threads that do not delay the end of the process."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """
    Executes each call in a daemon thread of its own; the caller limits their number.

    The interpreter waits for the threads of a `ThreadPoolExecutor` when it exits, so a request to a slow
    receiver would delay the end of a worker.
    """

    def __init__(self, name: str) -> None:
        """Start nothing; `name` is the name of the threads."""
        self._name = name

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start the call, and return its future."""
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return future
