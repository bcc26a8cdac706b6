"""Files that come, on a terminal and in a plain log."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich.console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tasks.placing import Watch

_STEP = 10
"""Percent between two lines of a plain log."""
_LARGE = 50_000_000
"""Smaller files have no lines on their way."""


@contextmanager
def watching(out: rich.console.Console) -> Generator["Watch"]:
    """
    Show files that come while the block runs.

    Args:
        out: a terminal gets a bar; anything else a line now and then.
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
    """A line when a file is there, and some on the way of a large one."""

    def __init__(self, out: rich.console.Console) -> None:
        self._out = out
        self._file, self._size, self._done, self._said = "", 0, 0, 0

    def begin(self, file: str, size: int | None) -> None:
        """Take note of the file."""
        self._file, self._size, self._done, self._said = file, size or 0, 0, 0

    def advance(self, n: int, /) -> None:
        """Say how far it is, when that is news."""
        self._done += n
        step = 100 * self._done // self._size // _STEP * _STEP if self._size >= _LARGE else 0
        if self._said < step < 100:
            self._out.print(f"{self._file}: {step} % of {self._size / 1e6:.0f} MB", markup=False)
        self._said = step

    def end(self, file: str, how: str) -> None:
        """Say that it is there."""
        self._out.print(f"{file}: {how}", markup=False)


class BarWatch:
    """A bar for the file that is coming."""

    def __init__(self, bars: "Progress", out: rich.console.Console) -> None:
        self._bars, self._out = bars, out
        self._bar: TaskID | None = None

    def begin(self, file: str, size: int | None) -> None:
        """Draw a bar."""
        if self._bar is not None:
            self._bars.remove_task(self._bar)
        self._bar = self._bars.add_task(file, total=size)

    def advance(self, n: int, /) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bars.advance(self._bar, n)

    def end(self, file: str, how: str) -> None:
        """Say that it is there."""
        self._out.print(f"{file}: {how}", markup=False)
