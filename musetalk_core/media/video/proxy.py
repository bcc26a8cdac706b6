"""Proxy: a lossless copy of a clip with frequent key frames, for sources that cannot be read backwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musetalk_core.errors import DiskFull
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.frame_index import VideoIndex
from musetalk_core.media.video.frame_reader import FrameReader

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

GROUP_FRAMES = 32
"""Frames from one key frame of a proxy to the next."""
_LOSSLESS_RATIO = Fraction(1, 2)
"""Size of a lossless frame relative to raw, for noisy camera footage; clean footage needs a third of it."""
_RESERVED_BYTES = 256 * 1024 * 1024
"""Bytes of free disk space that a proxy must leave for other programs."""
_LOSSLESS_OPTIONS = {
    "qp": "0",
    "preset": "ultrafast",
    "x264-params": f"keyint={GROUP_FRAMES}:min-keyint={GROUP_FRAMES}:scenecut=0:bframes=0"
    ":colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=off",
}


def estimate_proxy_bytes(index: VideoIndex) -> int:
    """Estimate the size of a clip's proxy in bytes."""
    return int(index.frames * index.width * index.height * Fraction(3, 2) * _LOSSLESS_RATIO)


def write_proxy(
    source: Path,
    target: Path,
    index: VideoIndex,
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
) -> VideoIndex:
    """
    Copy a clip losslessly into a file that can be read in any direction.

    Args:
        source: the file of the index.
        target: the .mp4 to write; written atomically.
        index:  frame index of the source.
        limits: bound the memory that a decoder may allocate.

    Returns:
        Frame index of the copy: the same frames and times, with timestamps that start at 0.

    Raises:
        DiskFull: the estimated copy does not fit on the disk, or the disk fills up while it is written.
        MediaUnreadable: the source changed since it was indexed.
    """
    _check_free_space(target, estimate_proxy_bytes(index))
    with replace_atomically(target) as temporary, FrameReader(source, index, 0, limits=limits) as reader:
        _encode(temporary, index, reader.read(range(index.frames)), target)
    keys = np.arange(index.frames) % GROUP_FRAMES == 0
    return VideoIndex(
        index.pts - index.pts[0],
        keys,
        index.time_base,
        index.duration,
        index.width,
        index.height,
        index.rate,
        is_seekable=True,
        is_still=False,
        lead=index.lead,
    )


def _check_free_space(target: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed_bytes + _RESERVED_BYTES > free:
        raise DiskFull(
            f"Reading this video backwards needs about {needed_bytes / 1e9:.1f} GB of scratch space, but only"
            f" {free / 1e9:.1f} GB are free; free some space or send a video with more key frames.",
            needed=needed_bytes,
            free=free,
        )


def _encode(path: Path, index: VideoIndex, pictures: Iterator[Picture], target: Path) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = _add_stream(container, index)
        for number, picture in enumerate(pictures):
            if number % GROUP_FRAMES == 0:
                _check_free_space(target, 0)
            frame = _to_frame(picture)
            frame.pts, frame.time_base = int(index.pts[number] - index.pts[0]), index.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _add_stream(container: OutputContainer, index: VideoIndex) -> VideoStream:
    stream = container.add_stream("libx264", rate=index.rate, options=dict(_LOSSLESS_OPTIONS))
    stream.width, stream.height, stream.pix_fmt = index.width, index.height, "yuv420p"
    stream.time_base = stream.codec_context.time_base = index.time_base
    return stream


def _to_frame(picture: Picture) -> VideoFrame:
    import av

    return av.VideoFrame.from_ndarray(picture.i420, "yuv420p")
