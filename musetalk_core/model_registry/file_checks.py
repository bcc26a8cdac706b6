"""Format checks of weight files: finds truncated and wrong files without loading them."""

import json
import os
import zipfile
from pathlib import Path
from typing import Final

_LFS_POINTER_PREFIX: Final = b"version https://git-lfs"
_MAX_POINTER_BYTES: Final = 1024
_MAX_HEADER_BYTES: Final = 100_000_000
_ZIP_MAGIC, _PICKLE_MAGIC = b"PK\x03\x04", b"\x80"


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a file is a Git LFS pointer, which Git leaves in place of a file it did not fetch."""
    try:
        if path.stat().st_size >= _MAX_POINTER_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(_LFS_POINTER_PREFIX)) == _LFS_POINTER_PREFIX
    except OSError:
        return False


def problem(path: Path, suffix: str) -> str | None:
    """
    Return the problem with a file's format.

    Args:
        path:   the file, under any name.
        suffix: the suffix its name should have.

    Returns:
        The end of a sentence that starts with the file's name; None if the format is valid.
    """
    if is_lfs_pointer(path):
        return "is only a Git LFS pointer"
    match suffix:
        case ".json":
            return _json_problem(path)
        case ".safetensors":
            return _safetensors_problem(path)
        case ".pth" | ".pt" | ".bin":
            return _torch_problem(path)
        case _:
            return None


def _json_problem(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return "is not JSON"
    return None


def _torch_problem(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(4)
    if start == _ZIP_MAGIC:
        return None if zipfile.is_zipfile(path) else "is cut short"
    return None if start.startswith(_PICKLE_MAGIC) else "is not a file that torch wrote"


def _safetensors_problem(path: Path) -> str | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
            return "is not a safetensors file"
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return "is not a safetensors file"
        file.seek(0, os.SEEK_END)
    return None if 8 + length + max(ends, default=0) == size else "is cut short"
