"""
Rendered face crops of one chunk on disk, as raw BGR bytes and a table of their sizes.

Crops are not compressed, because a chunk is read once, soon after it is written, and then deleted. Writing a
300x300 crop takes 0.4 ms; the fastest lossless codec that was tried took 2 ms to write and 3 ms to read
(docs/LOG.md).
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import EncodeError
from musetalk_core.formats.npz import load_arrays
from musetalk_core.types import Image, Ints

_PIXELS_FILE, _TABLE_FILE = "crops.bin", "crops.npz"


@dataclass(slots=True)
class CropWriter:
    """
    A writer of one crop, or none, per output frame.

    Use it in a `with` block. The table is written only if the block ends without an exception.
    """

    folder: Path
    _sources: list[int] = field(default_factory=list[int])
    _shapes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    _file: BinaryIO = field(init=False)

    def __enter__(self) -> Self:
        self._file = (self.folder / _PIXELS_FILE).open("wb")
        return self

    def write(self, source: int, crop: Image | None) -> None:
        """Append the crop of the next output frame, (h, w, 3) uint8 BGR; None = show `source` unchanged."""
        self._sources.append(source)
        self._shapes.append((0, 0) if crop is None else (crop.shape[0], crop.shape[1]))
        if crop is not None:
            self._file.write(np.ascontiguousarray(crop).data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if error is None:
            np.savez(
                self.folder / _TABLE_FILE,
                sources=np.array(self._sources, np.int64),
                shapes=np.array(self._shapes, np.int32).reshape(-1, 2),
            )


@dataclass(frozen=True, slots=True, eq=False)
class CropReader:
    """
    The crops of one chunk, as `CropWriter` wrote them.

    Attributes:
        path:    file of the pixels.
        sources: (N,) int64, the source frame of each output frame.
        shapes:  (N, 2) int32, (h, w) of each crop; zeros for frames without a crop.
    """

    path: Path
    sources: Ints
    shapes: npt.NDArray[np.int32]
    _offsets: Ints

    @classmethod
    def open(cls, folder: Path) -> "CropReader":
        """
        Read the table of crops in a folder; the pixels stay on disk.

        Raises:
            EncodeError: a file is missing or damaged, or their sizes contradict each other.
        """
        try:
            table = load_arrays(folder / _TABLE_FILE)
            sources, shapes = table["sources"], table["shapes"]
            size = (folder / _PIXELS_FILE).stat().st_size
        except (OSError, ValueError, KeyError) as error:
            raise EncodeError(f"rendered crops are missing or damaged: {error}") from error
        offsets = np.concatenate([[0], np.cumsum(shapes.prod(axis=1, dtype=np.int64) * 3)])
        if size != offsets[-1]:
            raise EncodeError(f"rendered crops are incomplete: {size} of {offsets[-1]} bytes")
        return cls(folder / _PIXELS_FILE, sources, shapes, offsets)

    def crop(self, number: int) -> Image | None:
        """Read the crop of an output frame, (h, w, 3) uint8 BGR; None if the frame has no crop."""
        height, width = (int(v) for v in self.shapes[number])
        if height == 0:
            return None
        count, offset = height * width * 3, int(self._offsets[number])
        return np.fromfile(self.path, np.uint8, count, offset=offset).reshape(height, width, 3)
