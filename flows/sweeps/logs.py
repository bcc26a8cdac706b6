"""Maintenance task: delete log files of ended processes. Logs of flow runs are stored by Prefect."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from flows.sweeps.look import Deed, Look
from tasks.settings import get_settings

OLD_LOG: Final = "Log file past its retention"
"""Kind of action: a log file was deleted."""


def old(files: Iterable[Path], before: datetime) -> Iterator[tuple[Path, int]]:
    """
    Yield the files that were last modified before a time, with their sizes in bytes.

    Args:
        files:  log files; some may be deleted concurrently.
        cutoff: time limit.
    """
    for path in files:
        try:
            about = path.stat()
        except FileNotFoundError:
            continue
        if about.st_mtime < before.timestamp():
            yield path, about.st_size


def remove_logs(look: Look) -> Iterator[Deed]:
    """Delete rotated log files only; a running process may still have its current log file open."""
    before = look.before(look.retention.logs_days)
    if before is None:
        return
    for path, size in old(sorted(get_settings().logs.glob("*.log.1")), before):
        if not look.dry_run:
            path.unlink(missing_ok=True)
        yield Deed(OLD_LOG, path.name, size)
