"""How a weight file gets its name: by one process at a time, whole, checked and on the disk for good."""

import os
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Protocol

from musetalk_core.weights import kinds
from musetalk_core.weights.layout import Layout
from musetalk_core.weights.records import File
from tasks.locks import single_flight


class Watch(Protocol):
    """Sees files come."""

    def begin(self, file: str, size: int | None) -> None:
        """Be told that a file is begun: its path below the models folder, its bytes if known."""
        ...

    def advance(self, n: int, /) -> None:
        """Be told that bytes of that file are there; negative when it begins anew."""
        ...

    def end(self, file: str, how: str) -> None:
        """Be told that the file is in its place, and how it came there."""
        ...


def alone(here: Layout, file: File) -> AbstractContextManager[Path | None]:
    """
    Let one process bring a file while the others wait for it.

    Returns:
        Gives the file's path when it is there, by whoever; None: then the block must bring it.
    """
    target = here.target(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    return single_flight(target.with_name(f".{target.name}.lock"), lambda: here.where(file))


def unfit(file: File, path: Path, sha256: str, told: str | None = None) -> str | None:
    """
    Say why a file cannot become one of ours.

    Args:
        file:   the record.
        path:   what would become it.
        sha256: of its content.
        told:   what its source says the hash is.

    Returns:
        The end of a sentence that begins with the file's name; None when it is fit.
    """
    if not file.is_known_as(sha256):
        return f"has the SHA-256 {sha256} instead of {file.sha256}"
    if told is not None and told != sha256:
        return f"came with the SHA-256 {sha256} instead of {told}"
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return f"has {size} bytes instead of {file.bytes}"
    return kinds.fault(path, PurePosixPath(file.path).suffix)


def place(draft: Path, target: Path) -> None:
    """Give a finished file its name: even after a power cut it is whole or absent."""
    _flush(draft)
    draft.replace(target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
