"""Tables of float32 rows on disk: written in blocks and read in slices, without memory mapping."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.types import Float

_DATA_FILE, _SHAPE_FILE = "rows.f32", "rows.json"


class Float32RowReader(Protocol):
    """Random access to the rows of an (N, D) float32 table."""

    @property
    def count(self) -> int:
        """Number of rows N."""
        ...

    def read(self, start: int, stop: int) -> Float:
        """Return rows start..stop-1 as (n, D) float32; rows that do not exist are left out."""
        ...


@dataclass(frozen=True, slots=True)
class Float32RowFile:
    """A table in a folder. Not memory-mapped: pages that were read would count as memory of the process."""

    folder: Path
    count: int
    width: int

    @classmethod
    def open(cls, folder: Path) -> "Float32RowFile":
        """
        Open the table that `write_float32_rows` wrote into a folder.

        Raises:
            InputError: the files are missing or contradict each other.
        """
        try:
            width = int(json.loads((folder / _SHAPE_FILE).read_text())["width"])
            size = (folder / _DATA_FILE).stat().st_size
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"the table of float32 rows is missing or damaged: {error}") from error
        if width <= 0 or size % (4 * width):
            raise InputError(f"{size} bytes are not whole rows of {width} numbers")
        return cls(folder, size // (4 * width), width)

    def read(self, start: int, stop: int) -> Float:
        """Return rows start..stop-1 as (n, D) float32; see `Float32RowReader`."""
        first = min(max(start, 0), self.count)
        rows = max(0, min(stop, self.count) - first)
        flat = np.fromfile(
            self.folder / _DATA_FILE, "<f4", rows * self.width, offset=first * self.width * 4
        ).astype(np.float32, copy=False)
        return flat.reshape(rows, self.width)


@dataclass(frozen=True, slots=True, eq=False)
class Float32RowArray:
    """A table in memory, for short clips and tests."""

    rows: Float
    """(N, D) float32."""

    @classmethod
    def from_blocks(cls, blocks: Iterable[Float]) -> "Float32RowArray":
        """Concatenate blocks of (n, D) float32."""
        return cls(np.concatenate(list(blocks)))

    @property
    def count(self) -> int:
        """Number of rows N."""
        return len(self.rows)

    def read(self, start: int, stop: int) -> Float:
        """Return rows start..stop-1 as (n, D) float32; see `Float32RowReader`."""
        return self.rows[max(start, 0) : max(stop, 0)]


def write_float32_rows(folder: Path, blocks: Iterable[Float]) -> Float32RowFile:
    """
    Write blocks of rows into a table.

    Args:
        folder: existing; the caller publishes it atomically.
        blocks: (n, D) float32 each, at least one block, all with the same D.

    Raises:
        InputError: the widths differ, or there is no block.
    """
    width = 0
    with (folder / _DATA_FILE).open("wb") as out:
        for block in blocks:
            if block.ndim != 2 or (width and block.shape[1] != width):
                raise InputError(f"a block of shape {block.shape} does not continue rows of {width} numbers")
            width = block.shape[1]
            out.write(np.ascontiguousarray(block, "<f4").data)
    if not width:
        raise InputError("there are no rows to write")
    (folder / _SHAPE_FILE).write_text(json.dumps({"width": width}))
    return Float32RowFile.open(folder)
