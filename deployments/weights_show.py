"""Download progress of model files: a progress bar on a terminal, lines in a plain log."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich.console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tasks.placing import Watch

_STEP = 10
"""Percent of a file between two lines of a plain log."""
_LARGE = 50_000_000
"""Bytes; smaller files are reported only when complete."""


@contextmanager
def watching(out: rich.console.Console) -> Generator["Watch"]:
    """
    Return a reporter of download progress for the duration of the block.

    Args:
        out: console; a terminal gets a progress bar, any other output gets lines.
    """
    if not out.is_terminal:
        yield PlainWatch(out)
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
        yield BarWatch(bars, out)


class PlainWatch:
    """Prints a line for each complete file, and one every 10 percent of a large file."""

    def __init__(self, out: rich.console.Console) -> None:
        self._out = out
        self._file, self._size, self._done, self._said = "", 0, 0, 0

    def begin(self, file: str, size: int | None) -> None:
        """Start a file of `size` bytes; None: unknown."""
        self._file, self._size, self._done, self._said = file, size or 0, 0, 0

    def advance(self, n: int, /) -> None:
        """Add `n` bytes, and print a line at each further 10 percent."""
        self._done += n
        step = 100 * self._done // self._size // _STEP * _STEP if self._size >= _LARGE else 0
        if self._said < step < 100:
            self._out.print(f"{self._file}: {step} % of {self._size / 1e6:.0f} MB", markup=False)
        self._said = step

    def end(self, file: str, how: str) -> None:
        """Print that the file is complete, and how it was obtained."""
        self._out.print(f"{file}: {how}", markup=False)


class BarWatch:
    """Shows a progress bar for the current file."""

    def __init__(self, bars: "Progress", out: rich.console.Console) -> None:
        self._bars, self._out = bars, out
        self._bar: TaskID | None = None

    def begin(self, file: str, size: int | None) -> None:
        """Start a progress bar for a file of `size` bytes; None: unknown."""
        if self._bar is not None:
            self._bars.remove_task(self._bar)
        self._bar = self._bars.add_task(file, total=size)

    def advance(self, n: int, /) -> None:
        """Advance the progress bar by `n` bytes."""
        if self._bar is not None:
            self._bars.advance(self._bar, n)

    def end(self, file: str, how: str) -> None:
        """Print that the file is complete, and how it was obtained."""
        self._out.print(f"{file}: {how}", markup=False)
