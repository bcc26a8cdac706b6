"""Decode one video stream frame by frame. Damaged packets are skipped and counted."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.source.container import MICROSECOND, open_container, video_stream
from musetalk_core.media.source.cropping import Crop, read_crop
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import FileType, sniff
from musetalk_core.media.video.cropper import Cropper
from musetalk_core.media.video.deinterlace import Deinterlacer

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


_SKIPPABLE_CODECS = frozenset({"h264", "mpeg2video"})
"""Codecs in which non-reference frames can be skipped without changing any other frame."""


class FrameDecoder:
    """
    A decoder of one open video stream. Frames are returned in display order.

    Attributes:
        stream:          FFmpeg's stream.
        damaged_packets: packets that could not be read or decoded so far.
        key_timestamps:  timestamps of the key packets read so far; the caller may remove those it has used.
        skip_before:     frames before this timestamp may be skipped; None = decode all.
    """

    def __init__(
        self, container: InputContainer, stream: VideoStream, threads: int = 0, crop: Crop | None = None
    ) -> None:
        """
        Wrap an open stream.

        Args:
            container: must stay open as long as the decoder is used.
            stream:    one of its streams.
            threads:   decoder threads; 0 = one per core.
            crop:      cropping that the container states.
        """
        self.stream, self.damaged_packets = stream, 0
        self.key_timestamps = set[int]()
        self.skip_before: int | None = None
        self._container, self._deinterlacer = container, Deinterlacer()
        self._cropper = Cropper(crop)
        self._can_skip = stream.codec_context.name in _SKIPPABLE_CODECS
        # AUTO allows frame threading, twice as fast as slice threading, which needs streams with several
        # slices.
        stream.thread_type, stream.thread_count = "AUTO", threads

    @property
    def start_s(self) -> Fraction:
        """Start of the file in seconds, of which picture and sound are measured."""
        return (self._container.start_time or 0) * MICROSECOND

    @property
    def is_interlaced(self) -> bool:
        """True if frames so far were deinterlaced; they depend on the frames around them then."""
        return self._deinterlacer.is_active

    def frames(self) -> Generator[VideoFrame]:
        """
        Yield frames from the current position to the end; close the generator if not read to the end.

        Interlaced frames are deinterlaced. After that, for an odd number of lines would swap the fields, the
        cropping of the container is applied.

        Raises:
            MediaUnreadable: the cropping leaves nothing.
        """
        deinterlacer, crop = self._deinterlacer, self._cropper.apply
        for frame in self._decoded_frames():
            yield from map(crop, deinterlacer.push(frame))
        yield from map(crop, deinterlacer.flush())

    def _decoded_frames(self) -> Generator[VideoFrame]:
        from av.error import FFmpegError

        try:
            for packet in self._container.demux(self.stream):
                yield from self._decode(packet)
        except FFmpegError:
            self.damaged_packets += 1
            yield from self._decode(None)

    def _decode(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        """Decode one packet; None flushes the frames that the decoder still buffers."""
        from av.error import FFmpegError

        if packet is not None and packet.is_keyframe and packet.pts is not None:
            self.key_timestamps.add(packet.pts)
        if packet is not None and self._can_skip:
            is_needed = self.skip_before is None or packet.pts is None or packet.pts >= self.skip_before
            self.stream.codec_context.skip_frame = "DEFAULT" if is_needed else "NONREF"
        try:
            return self.stream.decode(packet)
        except FFmpegError:
            self.damaged_packets += 1
            return []

    def close(self) -> None:
        """Release the stream and the decoder's threads and buffers. The decoder cannot be used afterwards."""
        del self.stream, self._container

    def seek(self, pts: int) -> None:
        """Seek to the key frame at or before a timestamp in the stream's units; earlier `frames()` end."""
        from av.error import FFmpegError

        self._deinterlacer = Deinterlacer()
        try:
            self._container.seek(pts, stream=self.stream, backward=True)
        except FFmpegError:
            self.damaged_packets += 1


@contextmanager
def open_decoder(path: Path, limits: MediaLimits, threads: int = 0) -> Generator[FrameDecoder]:
    """
    Open the first video stream of a file.

    Args:
        path:    a local video file.
        limits:  bound the memory that a decoder may allocate.
        threads: decoder threads; 0 = one per core.

    Raises:
        MediaUnreadable: the file cannot be opened or has no video stream.
    """
    file_type = sniff(path)
    with (
        open_container(path, file_type, limits) as container,
        closing(_create_decoder(path, container, file_type, threads)) as decoder,
    ):
        yield decoder


def _create_decoder(path: Path, container: InputContainer, file_type: FileType, threads: int) -> FrameDecoder:
    stream = video_stream(container)
    if stream is None:
        raise MediaUnreadable(f"The {file_type.name} file has no picture; send a video or an image.")
    return FrameDecoder(container, stream, threads, read_crop(path, container, stream))
