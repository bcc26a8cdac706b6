"""Per-frame binary data of an engine that is too large for memory: bytes on disk, read by frame number."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.types import Ints

BLOB_FILE = "plates.bin"


class FrameBlobs(Protocol):
    """Random access to one blob of bytes per source frame."""

    def read(self, frame: int) -> bytes:
        """Return the blob of a frame; empty if the frame has none."""
        ...


class _NoBlobs:
    def read(self, frame: int) -> bytes:
        del frame
        return b""


NO_BLOBS: FrameBlobs = _NoBlobs()


class FrameBlobList:
    """Frame blobs in memory, for tests and short clips."""

    def __init__(self, blobs: Sequence[bytes]) -> None:
        self._blobs = blobs

    def read(self, frame: int) -> bytes:
        """Return the blob of a frame; see `FrameBlobs`."""
        return self._blobs[frame]


@dataclass(frozen=True, slots=True, eq=False)
class FrameBlobFile:
    """
    Frame blobs in a file. Thread-safe.

    Attributes:
        path:    file with the blobs of all frames in order.
        offsets: (T + 1,) int64; the blob of frame t is at offsets[t]..offsets[t + 1].
    """

    path: Path
    offsets: Ints

    def read(self, frame: int) -> bytes:
        """
        Read the blob of a frame; see `FrameBlobs`.

        Raises:
            InputError: the file is shorter than its offsets say.
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
class FrameBlobWriter:
    """A writer of frame blobs, in ascending order of frames. Frames that are left out have an empty blob."""

    folder: Path
    frames: int
    _sizes: Ints = field(init=False)
    _file: BinaryIO = field(init=False)

    def __enter__(self) -> Self:
        self._sizes = np.zeros(self.frames, np.int64)
        self._file = (self.folder / BLOB_FILE).open("wb")
        return self

    def write(self, frame: int, blob: bytes) -> None:
        """Append the blob of a frame."""
        self._file.write(blob)
        self._sizes[frame] = len(blob)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._sizes.any():
            (self.folder / BLOB_FILE).unlink()

    @property
    def blobs(self) -> FrameBlobFile:
        """Reader of the blobs that were written."""
        return FrameBlobFile(self.folder / BLOB_FILE, np.concatenate([[0], np.cumsum(self._sizes)]))
