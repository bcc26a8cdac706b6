"""Read .npz and .npy files without pickle and from several threads."""

import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_read_lock = threading.Lock()
_MAX_ATTEMPTS = 5

Array = npt.NDArray[Any]


def load_arrays(path: Path) -> dict[str, Array]:
    """
    Read all arrays of an .npz file into memory.

    Raises:
        OSError:    the file is missing or cannot be read.
        ValueError: the file is damaged, cut short or no .npz file, or contains anything but arrays.
    """
    try:
        return _read_exclusively(lambda: _read_npz(path))
    except (OSError, ValueError):
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen types for damaged files
        raise ValueError(f"{path.name} is damaged: {error or type(error).__name__}") from error


def open_array(path: Path) -> Array:
    """
    Memory-map an .npy file. Rows are read from disk when they are used.

    Raises:
        OSError, ValueError: the file is missing or damaged, or contains pickled objects.
    """
    return _read_exclusively(lambda: np.load(path, mmap_mode="r", allow_pickle=False))


def _read_npz(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # before parsing: a damaged header may ask for any amount of memory
    if damaged is not None:
        raise ValueError(f"{path.name} is damaged: the checksum of {damaged} does not match")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    others = [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]
    if others:
        raise ValueError(f"{path.name} contains {others[0]}, which is no array")
    return arrays


def _read_exclusively(read: Any) -> Any:
    """
    Call `read` under a lock and retry when it collides with another thread's header parsing.

    NumPy parses array headers with `ast`, whose recursion depth CPython 3.11 counts per interpreter, not per
    thread. Two threads that parse at the same time occasionally get `SystemError: AST constructor recursion
    depth mismatch`. The lock serializes the calls of this module; the retry covers parsers in other
    libraries.
    """
    for _ in range(_MAX_ATTEMPTS - 1):
        with _read_lock:
            try:
                return read()
            except SystemError:
                continue
    with _read_lock:
        return read()
