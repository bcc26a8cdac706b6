"""
File lock that allows one stack per home folder, and a record of the running stack's addresses.

The lock is an `flock` on `up.lock`, which the kernel releases when its process ends. `up.json` holds the
process id and the URLs of the API and of Prefect once the stack is ready.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class RunningStack:
    """The process id and the addresses of a running stack, as stored in `up.json`."""

    pid: int
    api_url: str
    prefect_url: str


class HomeLock:
    """The lock of a home folder, held by the supervisor of its stack until that process ends."""

    def __init__(self, home: Path) -> None:
        """
        Prepare the lock of a home folder without acquiring it.

        Args:
            home: the home folder.
        """
        self._lock_path = home / "up.lock"
        self._record_path = home / "up.json"
        self._lock_file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Acquire the lock; return False if another process holds it."""
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        file = self._lock_path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._lock_file = file
        self._record_path.unlink(missing_ok=True)
        return True

    def publish_addresses(self, api_url: str, prefect_url: str) -> None:
        """Write `up.json`, in which other commands find the addresses of the stack."""
        record = RunningStack(pid=os.getpid(), api_url=api_url, prefect_url=prefect_url)
        temporary_path = self._record_path.with_suffix(".tmp")
        temporary_path.write_text(json.dumps(asdict(record)))
        temporary_path.replace(self._record_path)

    def release(self) -> None:
        """Release the lock and delete `up.json`; a lock that is not held is left as it is."""
        if self._lock_file is not None:
            self._record_path.unlink(missing_ok=True)
            self._lock_file.close()
            self._lock_file = None


def find_running_stack(home: Path) -> RunningStack | None:
    """
    Find the running stack of a home folder.

    Returns:
        Its process id and addresses; None if no stack runs or if it is still starting.
    """
    lock = HomeLock(home)
    record_path = home / "up.json"
    if not record_path.exists() or lock.acquire():
        lock.release()
        return None
    try:
        return RunningStack(**json.loads(record_path.read_text()))
    except (OSError, ValueError, TypeError):  # the stack is stopping at this moment
        return None
