"""
Fingerprint of moving pictures: a 64-bit hash of the luma for each second.

A hash holds the signs of the 63 lowest frequencies of a small copy of the frame, relative to their median
(DCT hash). It changes little when a video is scaled, encoded anew or cropped at the edges.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.media.image.photo import read_photo
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.decoder import open_decoder

Hashes = npt.NDArray[np.uint64]
MAX_SECONDS: Final = 600
"""Only the first ten minutes of a file are fingerprinted."""
_SIDE, _LOW = 32, 8
_FLAT_LEVELS: Final = 2.0
"""Standard deviation of the luma below which a frame shows nothing to recognize."""
_NO_TIMES_STEP_S: Final = 1.0


def picture_hashes(path: Path, limits: MediaLimits) -> Hashes:
    """
    Return the hashes of a video.

    Args:
        path:   a video file.
        limits: bound the memory of the decoder.

    Returns:
        (T,) uint64: one hash per second, from the first frame on, at most `MAX_SECONDS`; 0 for a flat frame.

    Raises:
        MediaUnreadable: the file cannot be opened or has no picture.
    """
    hashes: list[int] = []
    with open_decoder(path, limits) as decoder:
        decoder.skip_before = 1 << 62  # non-reference frames are not needed: any frame of a second will do
        start_s: float | None = None
        for frame in decoder.frames():
            pts, base = frame.pts, frame.time_base
            time_s = float(pts * base) if pts is not None and base else len(hashes) * _NO_TIMES_STEP_S
            start_s = time_s if start_s is None else start_s
            if time_s - start_s < len(hashes) * 1.0:
                continue
            small = frame.reformat(width=_SIDE, height=_SIDE, format="gray")
            hashes.append(_hash(np.asarray(small.to_ndarray(), np.uint8)))
            if len(hashes) >= MAX_SECONDS:
                break
    return np.array(hashes, np.uint64)


def image_hash(path: Path, limits: MediaLimits) -> Hashes:
    """
    Return the hash of a still image.

    Args:
        path:   an image file.
        limits: checked against the header.

    Returns:
        (1,) uint64; 0 for a flat image.

    Raises:
        MediaUnreadable: the image is damaged or of another type.
        MediaTooLarge:   the image exceeds a limit.
    """
    import cv2

    grey = cv2.cvtColor(read_photo(path, limits).bgr, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.array([_hash(np.asarray(small, np.uint8))], np.uint64)


def _hash(luma: npt.NDArray[np.uint8]) -> int:
    """Return the hash of a (32, 32) uint8 picture; 0 if it is flat."""
    values = luma.astype(np.float64)
    if values.std() < _FLAT_LEVELS:
        return 0
    low = (_DCT @ values @ _DCT.T).ravel()
    bits = low > np.median(low[1:])  # the mean, a matter of exposure, stays out
    bits[0] = True  # tells a hash from 0
    return int(np.packbits(bits).view(">u8")[0])


def _dct_rows() -> npt.NDArray[np.float64]:
    positions, frequencies = np.arange(_SIDE) + 0.5, np.arange(_LOW)[:, None]
    return np.cos(np.pi * frequencies * positions / _SIDE)


_DCT: Final = _dct_rows()
