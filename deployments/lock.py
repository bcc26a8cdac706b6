"""One stack per home folder: a lock that the kernel releases, and a note on where the running one listens."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that is up."""

    pid: int
    api_url: str
    prefect_url: str


class HomeLock:
    """Held by the supervisor of a home folder for as long as it lives."""

    def __init__(self, home: Path) -> None:
        """
        Describe the lock of a home folder; nothing is taken yet.

        Args:
            home: the folder.
        """
        self._path = home / "up.lock"
        self._note = home / "up.json"
        self._file: IO[bytes] | None = None

    def take(self) -> bool:
        """Take the lock; False when another process holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        self._note.unlink(missing_ok=True)
        return True

    def announce(self, api_url: str, prefect_url: str) -> None:
        """Tell other commands where the stack listens, now that it is ready."""
        note = Running(pid=os.getpid(), api_url=api_url, prefect_url=prefect_url)
        draft = self._note.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(note)))
        draft.replace(self._note)

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._note.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def running(home: Path) -> Running | None:
    """
    Find the stack of a home folder.

    Returns:
        Where it listens; None when none runs, or one is only starting.
    """
    lock = HomeLock(home)
    note = home / "up.json"
    if not note.exists() or lock.take():
        lock.release()
        return None
    try:
        return Running(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):  # it is stopping at this moment
        return None
