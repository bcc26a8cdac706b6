"""Maintenance task: delete log files of ended processes. Logs of flow runs are stored by Prefect."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from flows.maintenance.context import SweepAction, SweepContext
from tasks.settings import get_settings

OLD_LOG: Final = "Log file past its retention"
"""Kind of action: a log file was deleted."""


def old_files(files: Iterable[Path], cutoff: datetime) -> Iterator[tuple[Path, int]]:
    """
    Yield the files that were last modified before a time, with their sizes in bytes.

    Args:
        files:  log files; some may be deleted concurrently.
        cutoff: time limit.
    """
    for path in files:
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        if stat.st_mtime < cutoff.timestamp():
            yield path, stat.st_size


def delete_old_logs(context: SweepContext) -> Iterator[SweepAction]:
    """Delete rotated log files only; a running process may still have its current log file open."""
    cutoff = context.cutoff(context.retention.logs_days)
    if cutoff is None:
        return
    for path, size in old_files(sorted(get_settings().logs.glob("*.log.1")), cutoff):
        if not context.dry_run:
            path.unlink(missing_ok=True)
        yield SweepAction(OLD_LOG, path.name, size)
