"""Temporal smoothing of landmarks, never across a cut or a gap; memory does not grow with T."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import InputError
from musetalk_core.types import Float

SIGMA_S: Final = 0.045
_BLOCK_FRAMES: Final = 512
_KERNEL_RADIUS_SIGMAS: Final = 3.0

TimesSeconds = npt.NDArray[np.float64]


def smooth_landmarks(
    raw: Float, times_s: TimesSeconds, shots: npt.NDArray[np.integer], sigma_s: float = SIGMA_S
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
    return np.concatenate([raw[:0], *smooth_in_blocks(raw, times_s, shots, sigma_s)])


def smooth_landmark_file(
    raw_path: Path,
    out_path: Path,
    times_s: TimesSeconds,
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
        for block in smooth_in_blocks(_LandmarkFile(raw_path, points), times_s, shots, sigma_s):
            out.write(block.astype("<f4", copy=False).tobytes())


class LandmarkRows(Protocol):
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


def smooth_in_blocks(
    raw: LandmarkRows, times_s: TimesSeconds, shots: npt.NDArray[np.integer], sigma_s: float = SIGMA_S
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
    for start in range(0, len(raw), _BLOCK_FRAMES):
        yield _smooth_block(raw, times_s, shots, sigma_s, (start, min(start + _BLOCK_FRAMES, len(raw))))


def _smooth_block(
    raw: LandmarkRows,
    times_s: TimesSeconds,
    shots: npt.NDArray[np.integer],
    sigma_s: float,
    rows: tuple[int, int],
) -> Float:
    start, stop = rows
    low = int(np.searchsorted(times_s, times_s[start] - _KERNEL_RADIUS_SIGMAS * sigma_s, "left"))
    high = int(np.searchsorted(times_s, times_s[stop - 1] + _KERNEL_RADIUS_SIGMAS * sigma_s, "right"))
    low, high = min(low, start), max(high, stop)
    block = np.array(raw[low:high], np.float32)
    points = block.reshape(high - low, -1)
    runs = _number_runs(np.isnan(points[:, 0]), shots[low:high])
    points[runs < 0] = 0
    if sigma_s <= 0:
        out = points[start - low : stop - low]
    else:
        out = _weighted_means(points, times_s[low:high], runs, sigma_s, (start - low, stop - low))
    out[runs[start - low : stop - low] < 0] = np.nan
    return out.reshape(-1, *block.shape[1:])


def _number_runs(missing: npt.NDArray[np.bool_], shots: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return (n,) the number of the unbroken run of frames that each frame belongs to; -1 without a face."""
    is_run_start = np.ones(len(shots), np.bool_)
    is_run_start[1:] = (np.diff(shots) != 0) | missing[1:] | missing[:-1]
    return np.where(missing, -1, np.cumsum(is_run_start))


def _weighted_means(
    points: Float, times_s: TimesSeconds, runs: npt.NDArray[np.int64], sigma_s: float, rows: tuple[int, int]
) -> Float:
    """Return the weighted means of rows start..stop and their neighbors of the same run."""
    start, stop = rows
    frames = np.arange(start, stop)
    total = points[start:stop].copy()
    weight = np.ones(len(frames), np.float32)
    for offset in range(1, len(points)):
        has_neighbours = False
        for neighbours in (frames - offset, frames + offset):
            clamped = np.clip(neighbours, 0, len(points) - 1)
            distance_sigmas = np.abs(times_s[clamped] - times_s[frames]) / sigma_s
            is_near = (distance_sigmas <= _KERNEL_RADIUS_SIGMAS) & (clamped == neighbours)
            has_neighbours |= bool(is_near.any())
            kernel_weight = np.where(
                is_near & (runs[clamped] == runs[frames]), np.exp(-0.5 * distance_sigmas**2), 0
            )
            kernel_weight = kernel_weight.astype(np.float32)
            total += kernel_weight[:, None] * points[clamped]
            weight += kernel_weight
        if not has_neighbours:
            break
    return total / weight[:, None]
