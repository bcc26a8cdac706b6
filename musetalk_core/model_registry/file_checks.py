"""Format checks of weight files: finds truncated, damaged and wrong files; loads and executes nothing."""

import json
import os
import pickletools
import zipfile
from pathlib import Path
from typing import IO, Final

_LFS_POINTER_PREFIX: Final = b"version https://git-lfs"
_TORCH_SUFFIXES: Final = (".pth", ".pt", ".bin")
_MAX_POINTER_BYTES: Final = 1024
_MAX_HEADER_BYTES: Final = 100_000_000
_ZIP_MAGIC, _PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
_LEGACY_HEADER_PICKLES: Final = 3
"""Pickles before the state dict in a file of `torch.save` before version 1.6: magic, protocol, system."""
TRAINING_LOG_PACKAGES: Final = ("numpy", "mmengine", "mmcv", "datetime")
"""Packages whose objects official checkpoints contain in their training logs; stand-ins replace them."""
_HARMLESS_PACKAGES: Final = ("torch", "collections", "argparse", *TRAINING_LOG_PACKAGES)
_HARMLESS_NAMES: Final = frozenset(
    ("_codecs encode", *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in (
        "set", "frozenset", "complex", "slice", "bytearray", "int", "float", "bool", "str", "list", "dict",
        "tuple", "object", "long", "unicode",
    )))
)  # fmt: skip


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
    Return the problem with a file's format, reading little more than its headers.

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
        case _ if suffix in _TORCH_SUFFIXES:
            return _torch_problem(path)
        case _:
            return None


def checksum_problem(path: Path, suffix: str) -> str | None:
    """
    Return the problem with the checksums (CRC-32) inside a file of `torch.save`; reads the whole file.

    torch compares none of them when it loads a file. Other formats, and files of torch before 1.6, have none.

    Args:
        path, suffix: as for `problem`.
    """
    if suffix not in _TORCH_SUFFIXES or not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile, zlib and struct raise a dozen types for damaged files
        return f"is damaged: {_first_line(error)}"
    return damaged and f"is damaged: the checksum of {damaged} does not match"


def pickle_problem(path: Path, suffix: str) -> str | None:
    """
    Return the problem with the objects in a file of `torch.save`: code, or no tensors. Executes nothing.

    Args:
        path, suffix: as for `problem`.
    """
    if suffix not in _TORCH_SUFFIXES:
        return None
    try:
        names = _names_in_torch_file(path)
    except Exception as error:  # pickletools raises a dozen types for damaged pickles
        return f"is not a file that torch wrote ({_first_line(error)})"
    forbidden = [name for name in names if not _is_harmless(name)]
    if forbidden:
        return f"contains code ({forbidden[0].replace(' ', '.')}), which is never executed: do not use it"
    return None if any("_rebuild_" in name for name in names) else "holds no tensors"


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


def _names_in_torch_file(path: Path) -> list[str]:
    """Return the names "module name" that unpickling the file would look up; executes nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
            if not pickles:
                raise ValueError("no data.pkl")
            with archive.open(pickles[0]) as file:
                return _names_in_pickle(file)
    with path.open("rb") as file:
        found: list[str] = []
        for _ in range(_LEGACY_HEADER_PICKLES + 1):
            if not file.peek(1):
                break
            found += _names_in_pickle(file)
            if any("_rebuild_" in name for name in found):
                break
        return found


def _names_in_pickle(file: IO[bytes]) -> list[str]:
    names, texts, memo = list[str](), list[str](), dict[object, str]()
    for opcode, value, _ in pickletools.genops(file):
        match opcode.name:
            case "GLOBAL" | "INST":
                names.append(str(value))
            case "STACK_GLOBAL":
                names.append(" ".join(texts[-2:]))
            case "MEMOIZE":
                memo[len(memo)] = texts[-1] if texts else ""
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[value] = texts[-1] if texts else ""
            case "GET" | "BINGET" | "LONG_BINGET":
                texts.append(memo.get(value, ""))
            case _:
                if isinstance(value, str):
                    texts.append(value)
    return names


def _is_harmless(name: str) -> bool:
    return name in _HARMLESS_NAMES or name.partition(" ")[0].split(".")[0] in _HARMLESS_PACKAGES


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


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
