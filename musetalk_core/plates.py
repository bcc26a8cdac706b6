"""What an engine keeps of each source frame and is too large for memory: bytes on disk, by frame number."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.types import Ints

FILE = "plates.bin"


class Plates(Protocol):
    """Bytes by source frame."""

    def read(self, frame: int) -> bytes:
        """What was kept of a frame; empty where nothing was."""
        ...


class _NoPlates:
    def read(self, frame: int) -> bytes:
        del frame
        return b""


NO_PLATES: Plates = _NoPlates()


class PlateList:
    """In memory, for tests and short clips."""

    def __init__(self, plates: Sequence[bytes]) -> None:
        self._plates = plates

    def read(self, frame: int) -> bytes:
        """See `Plates`."""
        return self._plates[frame]


@dataclass(frozen=True, slots=True, eq=False)
class PlateFile:
    """
    On disk; safe to read from several threads.

    Attributes:
        path:    the bytes of all frames, one after another.
        offsets: (T + 1,) int64, where each frame's begin and end.
    """

    path: Path
    offsets: Ints

    def read(self, frame: int) -> bytes:
        """
        See `Plates`.

        Raises:
            InputError: the file is shorter than its table says.
        """
        start, size = int(self.offsets[frame]), int(self.offsets[frame + 1] - self.offsets[frame])
        if not size:
            return b""
        with self.path.open("rb") as file:
            file.seek(start)
            content = file.read(size)
        if len(content) != size:
            raise InputError(f"the prepared avatar is damaged: {self.path.name} ends too early")
        return content


@dataclass(slots=True)
class PlateWriter:
    """Write plates in rising order of their frames; frames left out get none."""

    folder: Path
    frames: int
    _sizes: Ints = field(init=False)
    _file: BinaryIO = field(init=False)

    def __enter__(self) -> Self:
        self._sizes = np.zeros(self.frames, np.int64)
        self._file = (self.folder / FILE).open("wb")
        return self

    def write(self, frame: int, plate: bytes) -> None:
        """Keep the plate of a frame."""
        self._file.write(plate)
        self._sizes[frame] = len(plate)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._sizes.any():
            (self.folder / FILE).unlink()

    @property
    def plates(self) -> PlateFile:
        """What was written."""
        return PlateFile(self.folder / FILE, np.concatenate([[0], np.cumsum(self._sizes)]))
