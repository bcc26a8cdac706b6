"""Download progress of model files: a progress bar on a terminal, lines in a plain log."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich.console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tasks.placing import ProgressListener

_LINE_INTERVAL_PERCENT = 10
"""Percent of a file between two lines of a plain log."""
_MIN_PROGRESS_BYTES = 50_000_000
"""Bytes; smaller files are reported only when complete."""


@contextmanager
def show_downloads(out: rich.console.Console) -> Generator["ProgressListener"]:
    """
    Return a reporter of download progress for the duration of the block.

    Args:
        out: console; a terminal gets a progress bar, any other output gets lines.
    """
    if not out.is_terminal:
        yield PlainDownloadProgress(out)
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=out, transient=True) as bars:
        yield DownloadProgressBar(bars, out)


class PlainDownloadProgress:
    """Prints a line for each complete file, and one every 10 percent of a large file."""

    def __init__(self, out: rich.console.Console) -> None:
        self._out = out
        self._file, self._size_bytes, self._done_bytes, self._reported_percent = "", 0, 0, 0

    def begin(self, file: str, size: int | None) -> None:
        """Start a file of `size` bytes; None: unknown."""
        self._file, self._size_bytes, self._done_bytes, self._reported_percent = file, size or 0, 0, 0

    def advance(self, n: int, /) -> None:
        """Add `n` bytes, and print a line at each further 10 percent."""
        self._done_bytes += n
        percent = (
            100 * self._done_bytes // self._size_bytes // _LINE_INTERVAL_PERCENT * _LINE_INTERVAL_PERCENT
            if self._size_bytes >= _MIN_PROGRESS_BYTES
            else 0
        )
        if self._reported_percent < percent < 100:
            self._out.print(f"{self._file}: {percent} % of {self._size_bytes / 1e6:.0f} MB", markup=False)
        self._reported_percent = percent

    def end(self, file: str, how: str) -> None:
        """Print that the file is complete, and how it was obtained."""
        self._out.print(f"{file}: {how}", markup=False)


class DownloadProgressBar:
    """Shows a progress bar for the current file."""

    def __init__(self, bars: "Progress", out: rich.console.Console) -> None:
        self._progress, self._out = bars, out
        self._task_id: TaskID | None = None

    def begin(self, file: str, size: int | None) -> None:
        """Start a progress bar for a file of `size` bytes; None: unknown."""
        if self._task_id is not None:
            self._progress.remove_task(self._task_id)
        self._task_id = self._progress.add_task(file, total=size)

    def advance(self, n: int, /) -> None:
        """Advance the progress bar by `n` bytes."""
        if self._task_id is not None:
            self._progress.advance(self._task_id, n)

    def end(self, file: str, how: str) -> None:
        """Print that the file is complete, and how it was obtained."""
        self._out.print(f"{file}: {how}", markup=False)
