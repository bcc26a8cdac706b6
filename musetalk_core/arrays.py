"""Read numpy files safely: never a pickle, and from several threads at once."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_reading = threading.Lock()
_TRIES = 5

Array = npt.NDArray[Any]


def load_arrays(path: Path) -> dict[str, Array]:
    """
    Read all arrays of an .npz file.

    Raises:
        OSError, ValueError: it is missing or damaged, or holds objects.
    """
    return _without_collision(lambda: _all(path))


def open_array(path: Path) -> Array:
    """
    Map an .npy file: rows are read from disk when they are used.

    Raises:
        OSError, ValueError: it is missing or damaged, or holds objects.
    """
    return _without_collision(lambda: np.load(path, mmap_mode="r", allow_pickle=False))


def _all(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _without_collision(read: Any) -> Any:
    """
    Numpy parses headers with `ast`, which in CPython 3.11 counts its depth per interpreter, not per thread.

    Two threads that parse at once get `SystemError: AST constructor recursion depth mismatch` now and then.
    The lock keeps our own threads apart; the retry answers to everybody else's.
    """
    for _ in range(_TRIES - 1):
        with _reading:
            try:
                return read()
            except SystemError:
                continue
    with _reading:
        return read()
