"""Many rows of numbers on disk, written as they come and read in slices: nothing is mapped or kept."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.types import Float

_DATA, _SHAPE = "rows.f32", "rows.json"


class RowReader(Protocol):
    """Random access to (N, D) float32."""

    @property
    def count(self) -> int:
        """Number of rows N."""
        ...

    def read(self, start: int, stop: int) -> Float:
        """(n, D) float32: rows start..stop as far as they exist."""
        ...


@dataclass(frozen=True, slots=True)
class RowFile:
    """Rows in a folder; a memory-mapped file would count as memory of the process once it was read."""

    folder: Path
    count: int
    width: int

    @classmethod
    def open(cls, folder: Path) -> "RowFile":
        """
        Find the rows that `write_rows` wrote.

        Raises:
            InputError: the files are missing or disagree.
        """
        try:
            width = int(json.loads((folder / _SHAPE).read_text())["width"])
            size = (folder / _DATA).stat().st_size
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"rows of numbers are missing or damaged: {error}") from error
        if width <= 0 or size % (4 * width):
            raise InputError(f"{size} bytes are not whole rows of {width} numbers")
        return cls(folder, size // (4 * width), width)

    def read(self, start: int, stop: int) -> Float:
        """See `RowReader`."""
        first = min(max(start, 0), self.count)
        rows = max(0, min(stop, self.count) - first)
        flat = np.fromfile(
            self.folder / _DATA, "<f4", rows * self.width, offset=first * self.width * 4
        ).astype(np.float32, copy=False)
        return flat.reshape(rows, self.width)


@dataclass(frozen=True, slots=True, eq=False)
class RowArray:
    """The same over an array in memory, for short clips and tests."""

    rows: Float
    """(N, D) float32."""

    @classmethod
    def collected(cls, blocks: Iterable[Float]) -> "RowArray":
        """Keep all blocks, (n, D) float32 each."""
        return cls(np.concatenate(list(blocks)))

    @property
    def count(self) -> int:
        """Number of rows N."""
        return len(self.rows)

    def read(self, start: int, stop: int) -> Float:
        """See `RowReader`."""
        return self.rows[max(start, 0) : max(stop, 0)]


def write_rows(folder: Path, blocks: Iterable[Float]) -> RowFile:
    """
    Write blocks of rows one after another.

    Args:
        folder: existing; the caller makes it appear atomically.
        blocks: (n, D) float32 each, at least one block, all of one width.

    Raises:
        InputError: the widths differ, or there is no block.
    """
    width = 0
    with (folder / _DATA).open("wb") as out:
        for block in blocks:
            if block.ndim != 2 or (width and block.shape[1] != width):
                raise InputError(f"a block of shape {block.shape} does not continue rows of {width} numbers")
            width = block.shape[1]
            out.write(np.ascontiguousarray(block, "<f4").data)
    if not width:
        raise InputError("there are no rows to write")
    (folder / _SHAPE).write_text(json.dumps({"width": width}))
    return RowFile.open(folder)
