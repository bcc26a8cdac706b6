"""Log files of processes that have ended. What runs said is kept by Prefect, and goes with them."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from flows.sweeps.look import Deed, Look
from tasks.settings import get_settings

OLD_LOG: Final = "Log file was past its retention"


def old(files: Iterable[Path], before: datetime) -> Iterator[tuple[Path, int]]:
    """
    Yield the files that were last written to before a time, with their sizes.

    Args:
        files:  of which some may just be going.
        before: the time.
    """
    for path in files:
        try:
            about = path.stat()
        except FileNotFoundError:
            continue
        if about.st_mtime < before.timestamp():
            yield path, about.st_size


def remove_logs(look: Look) -> Iterator[Deed]:
    """Remove the logs of earlier processes; one that runs may be silent and still hold its own."""
    before = look.before(look.retention.logs_days)
    if before is None:
        return
    for path, size in old(sorted(get_settings().logs.glob("*.log.1")), before):
        if not look.dry_run:
            path.unlink(missing_ok=True)
        yield Deed(OLD_LOG, path.name, size)
