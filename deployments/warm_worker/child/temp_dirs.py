"""Temporary folders of runs: deleted after the run, or by the next worker that starts on the machine."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from os import getpid
from pathlib import Path

from deployments.warm_worker.child.process_identity import process_token

_PREFIX = "warm-"
_OWNER_FILE = "owner"


class TempFolders:
    """The temporary folder of a worker, with a subfolder for each of its runs."""

    def __init__(self) -> None:
        self._root: Path | None = None

    def open(self) -> None:
        """Create the worker's folder, and delete the folders of workers that were killed."""
        for candidate in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            if _is_orphan(candidate):
                shutil.rmtree(candidate, ignore_errors=True)
        self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        (self._root / _OWNER_FILE).write_text(f"{getpid()} {process_token(getpid())}")

    @contextmanager
    def run_folder(self, name: str) -> Generator[Path]:
        """Create a run's folder, and delete it after the block."""
        if self._root is None:
            raise RuntimeError("not open")
        folder = self._root / name
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Delete the worker's folder."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)


def _is_orphan(folder: Path) -> bool:
    try:
        pid, _, token = (folder / _OWNER_FILE).read_text().partition(" ")
        return process_token(int(pid)) != token
    except (OSError, ValueError):
        return False
