"""Keep what a process has loaded out of the garbage collector's way while a job runs."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def settled_heap() -> Generator[None]:
    """
    Have the collector leave alone what is there now, for as long as the body runs.

    Readers of clips collect when they close, some times a chunk, for PyAV's objects refer to each other: with
    torch and Prefect loaded that took a fifth of a job. A process that has settled by itself, as the workers'
    children do once they are warm, stays as it is.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
