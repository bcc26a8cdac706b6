"""Atomic installation of model files: by one process at a time, verified, complete and synced to disk."""

import os
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Protocol

from musetalk_core.model_registry import file_checks
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.model_registry.schema import File
from tasks.cache.file_locks import single_flight


class ProgressListener(Protocol):
    """Receives the progress of model files that are downloaded or copied."""

    def begin(self, file: str, size: int | None) -> None:
        """Handle the start of a file: its path below the models folder, and its size in bytes if known."""
        ...

    def advance(self, n: int, /) -> None:
        """Handle `n` more bytes of that file; negative if it is restarted."""
        ...

    def end(self, file: str, how: str) -> None:
        """Handle the end of a file: it is installed, and `how` says by which way."""
        ...


def install_lock(installed_models: LocalModels, file: File) -> AbstractContextManager[Path | None]:
    """
    Let one process install a file while the others wait for it.

    Returns:
        A context manager that yields the file's path if it is installed. If it yields None, the `with` block
        must install the file.
    """
    target = installed_models.target_path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    return single_flight(target.with_name(f".{target.name}.lock"), lambda: installed_models.path_of(file))


def validation_problem(
    file: File, path: Path, sha256: str, announced_sha256: str | None = None
) -> str | None:
    """
    Check a file before it is installed: hash, size and format.

    Args:
        file:             the file's entry in the model registry.
        path:             the file to install.
        sha256:           SHA-256 of its content.
        announced_sha256: SHA-256 that the source announced, if any.

    Returns:
        The problem, as the end of a sentence that starts with the file's name; None if the file is valid.
    """
    if not file.matches_sha256(sha256):
        return f"has the SHA-256 {sha256} instead of {file.sha256}"
    if announced_sha256 is not None and announced_sha256 != sha256:
        return f"has the SHA-256 {sha256} instead of the announced {announced_sha256}"
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return f"has {size} bytes instead of {file.bytes}"
    return file_checks.problem(path, PurePosixPath(file.path).suffix)


def install_atomically(draft: Path, target: Path) -> None:
    """Rename a finished file to its target and sync it: after a power failure it is complete or absent."""
    _sync_to_disk(draft)
    draft.replace(target)
    _sync_to_disk(target.parent)


def _sync_to_disk(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
