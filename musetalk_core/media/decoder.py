"""Decoding one picture stream frame by frame, skipping what is damaged and counting it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.container import opened, picture_stream
from musetalk_core.media.limits import Limits
from musetalk_core.media.sniff import Sniffed, sniff

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


_SKIPPING = frozenset({"h264", "mpeg2video"})
"""Codecs in which a frame marked as no reference can be left out without any other frame changing."""


class FrameDecoder:
    """
    The frames of one open picture stream in display order.

    Attributes:
        stream:  FFmpeg's stream.
        damaged: packets that could not be read or decoded so far.
        keys:    timestamps of key packets met so far; whoever uses one may remove it.
        wanted:  frames before this time need not be shown; None = all are wanted.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, threads: int = 0) -> None:
        """
        Take over an open stream.

        Args:
            container: stays open for the life of this object.
            stream:    one of its streams.
            threads:   of the decoder; 0 = one a core.
        """
        self.stream, self.damaged = stream, 0
        self.keys = set[int]()
        self.wanted: int | None = None
        self._container = container
        self._can_skip = stream.codec_context.name in _SKIPPING
        # Frame threads double the speed of slices alone; slices only help streams cut into them.
        stream.thread_type, stream.thread_count = "AUTO", threads

    def frames(self) -> Generator[VideoFrame]:
        """Decode from here to the end of the file; close it if it is not read to the end."""
        from av.error import FFmpegError

        try:
            for packet in self._container.demux(self.stream):
                yield from self._decoded(packet)
        except FFmpegError:
            self.damaged += 1
            yield from self._decoded(None)

    def _decoded(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        """Decode one packet, or what the decoder still holds."""
        from av.error import FFmpegError

        if packet is not None and packet.is_keyframe and packet.pts is not None:
            self.keys.add(packet.pts)
        if packet is not None and self._can_skip:
            is_wanted = self.wanted is None or packet.pts is None or packet.pts >= self.wanted
            self.stream.codec_context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        try:
            return self.stream.decode(packet)
        except FFmpegError:
            self.damaged += 1
            return []

    def close(self) -> None:
        """Release the stream, and with it the decoder's threads and buffers; nothing can be decoded then."""
        del self.stream, self._container

    def seek(self, pts: int) -> None:
        """Move to a key frame at or before a time in the stream's units; ends earlier `frames()`."""
        from av.error import FFmpegError

        try:
            self._container.seek(pts, stream=self.stream, backward=True)
        except FFmpegError:
            self.damaged += 1


@contextmanager
def opened_decoder(path: Path, limits: Limits, threads: int = 0) -> Generator[FrameDecoder]:
    """
    Open the first picture stream of a video file.

    Args:
        path:    a local video file.
        limits:  bound what a decoder may allocate.
        threads: of the decoder; 0 = one a core.

    Raises:
        MediaUnreadable: it cannot be opened or has no picture.
    """
    sniffed = sniff(path)
    with (
        opened(path, sniffed, limits) as container,
        closing(_decoder(container, sniffed, threads)) as decoder,
    ):
        yield decoder


def _decoder(container: InputContainer, sniffed: Sniffed, threads: int) -> FrameDecoder:
    stream = picture_stream(container)
    if stream is None:
        raise MediaUnreadable(f"The {sniffed.name} file has no picture; send a video or an image.")
    return FrameDecoder(container, stream, threads)
