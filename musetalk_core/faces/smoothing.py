"""Temporal smoothing of landmarks, never across a cut or a gap; memory does not grow with T."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import InputError
from musetalk_core.types import Float

SIGMA_S: Final = 0.045
_BLOCK: Final = 512
_REACH: Final = 3.0

Times = npt.NDArray[np.float64]


def smooth_landmarks(
    raw: Float, times_s: Times, shots: npt.NDArray[np.integer], sigma_s: float = SIGMA_S
) -> Float:
    """
    Smooth landmarks over time with a Gaussian.

    Args:
        raw:     (T, K, 2) float32 pixels; rows of frames without a face are NaN. Not modified.
        times_s: (T,) seconds, increasing; constant or variable frame rate.
        shots:   (T,) shot numbers.
        sigma_s: sigma of the Gaussian in seconds; 0 changes nothing.

    Returns:
        (T, K, 2) float32; NaN rows stay NaN.

    Raises:
        InputError: the lengths differ.
    """
    return np.concatenate([raw[:0], *smoothed_blocks(raw, times_s, shots, sigma_s)])


def smooth_file(
    raw_path: Path,
    out_path: Path,
    times_s: Times,
    shots: npt.NDArray[np.integer],
    points: int,
    sigma_s: float = SIGMA_S,
) -> None:
    """
    Smooth a landmark file into another one, about 4 MB at a time.

    Args:
        raw_path: raw little-endian float32 (T, K, 2).
        out_path: file to write in the same format; must not be `raw_path`.
        times_s:  (T,) seconds.
        shots:    (T,) shot numbers.
        points:   K, landmarks per frame.
        sigma_s:  sigma of the Gaussian in seconds.

    Raises:
        InputError: the file does not have T rows.
    """
    if raw_path.stat().st_size != len(times_s) * points * 8:
        raise InputError("The landmark file does not have one row per frame.", frames=len(times_s))
    with out_path.open("wb") as out:
        for block in smoothed_blocks(_LandmarkFile(raw_path, points), times_s, shots, sigma_s):
            out.write(block.astype("<f4", copy=False).tobytes())


class Rows(Protocol):
    """Landmarks of T frames that are read in slices: an array or a file."""

    def __len__(self) -> int:
        """Return the number of frames T."""
        ...

    def __getitem__(self, rows: slice, /) -> Float:
        """Return (n, K, 2) float32."""
        ...


class _LandmarkFile:
    """A landmark file, read in slices: pages of a memory map would count as the process's memory."""

    def __init__(self, path: Path, points: int) -> None:
        self._path, self._points = path, points

    def __len__(self) -> int:
        return self._path.stat().st_size // (self._points * 8)

    def __getitem__(self, rows: slice, /) -> Float:
        count = rows.stop - rows.start
        flat = np.fromfile(self._path, "<f4", count * self._points * 2, offset=rows.start * self._points * 8)
        return flat.astype(np.float32, copy=False).reshape(count, self._points, 2)


def smoothed_blocks(
    raw: Rows, times_s: Times, shots: npt.NDArray[np.integer], sigma_s: float = SIGMA_S
) -> Iterator[Float]:
    """
    Smooth landmarks in blocks.

    Args:
        raw:     (T, K, 2) float32, an array or a reader of slices; NaN rows have no face.
        times_s: (T,) seconds.
        shots:   (T,) shot numbers.
        sigma_s: sigma of the Gaussian in seconds.

    Yields:
        (n, K, 2) float32, in order, at most 512 rows each.

    Raises:
        InputError: the lengths differ.
    """
    if not len(raw) == len(times_s) == len(shots):
        raise InputError("Landmarks, times and shots must have the same length.", frames=len(raw))
    for start in range(0, len(raw), _BLOCK):
        yield _smoothed(raw, times_s, shots, sigma_s, (start, min(start + _BLOCK, len(raw))))


def _smoothed(
    raw: Rows,
    times_s: Times,
    shots: npt.NDArray[np.integer],
    sigma_s: float,
    rows: tuple[int, int],
) -> Float:
    start, stop = rows
    low = int(np.searchsorted(times_s, times_s[start] - _REACH * sigma_s, "left"))
    high = int(np.searchsorted(times_s, times_s[stop - 1] + _REACH * sigma_s, "right"))
    low, high = min(low, start), max(high, stop)
    block = np.array(raw[low:high], np.float32)
    points = block.reshape(high - low, -1)
    runs = _runs(np.isnan(points[:, 0]), shots[low:high])
    points[runs < 0] = 0
    if sigma_s <= 0:
        out = points[start - low : stop - low]
    else:
        out = _mixed(points, times_s[low:high], runs, sigma_s, (start - low, stop - low))
    out[runs[start - low : stop - low] < 0] = np.nan
    return out.reshape(-1, *block.shape[1:])


def _runs(missing: npt.NDArray[np.bool_], shots: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return (n,) the number of the unbroken run of frames that each frame belongs to; -1 without a face."""
    broken = np.ones(len(shots), np.bool_)
    broken[1:] = (np.diff(shots) != 0) | missing[1:] | missing[:-1]
    return np.where(missing, -1, np.cumsum(broken))


def _mixed(
    points: Float, times_s: Times, runs: npt.NDArray[np.int64], sigma_s: float, rows: tuple[int, int]
) -> Float:
    """Return the weighted means of rows start..stop and their neighbors of the same run."""
    start, stop = rows
    here = np.arange(start, stop)
    total = points[start:stop].copy()
    weight = np.ones(len(here), np.float32)
    for offset in range(1, len(points)):
        reached = False
        for there in (here - offset, here + offset):
            inside = np.clip(there, 0, len(points) - 1)
            away = np.abs(times_s[inside] - times_s[here]) / sigma_s
            near = (away <= _REACH) & (inside == there)
            reached |= bool(near.any())
            share = np.where(near & (runs[inside] == runs[here]), np.exp(-0.5 * away**2), 0)
            share = share.astype(np.float32)
            total += share[:, None] * points[inside]
            weight += share
        if not reached:
            break
    return total / weight[:, None]
