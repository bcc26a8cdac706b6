"""Deinterlace frames that are marked as interlaced, with FFmpeg's filter bwdif: one frame for each frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame


class Deinterlacer:
    """
    A filter for the frames of one stream in display order. Progressive frames pass unchanged.

    Attributes:
        is_active: an interlaced frame was seen. From then on frames come out one frame late, and depend on
            their neighbors, so that decoding from another key frame gives slightly different ones.
    """

    def __init__(self) -> None:
        self.is_active = False
        self._graph: Graph | None = None
        self._form: tuple[object, ...] = ()
        self._times = deque[tuple[int | None, int]]()

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Add a frame and yield those that are ready, with their timestamps."""
        self.is_active = self.is_active or frame.interlaced_frame
        if not self.is_active:
            yield frame
            return
        form = frame.width, frame.height, frame.format.name, frame.time_base
        if form != self._form:
            yield from self.flush()
            self._graph, self._form = _build_graph(frame), form
        self._times.append((frame.pts, frame.duration))
        if self._graph is not None:
            self._graph.vpush(frame)
        yield from self._ready_frames()

    def flush(self) -> Iterator[VideoFrame]:
        """Yield the frames that are still in the filter."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready_frames()
        self._graph, self._form = None, ()
        self._times.clear()

    def _ready_frames(self) -> Iterator[VideoFrame]:
        while self._graph is not None and self._times:
            try:
                frame = self._graph.vpull()
            except (BlockingIOError, EOFError):
                return
            # The filter counts in half frames, so the timestamps are those of the input, in order.
            frame.pts, frame.duration = self._times.popleft()
            yield frame


def _build_graph(frame: VideoFrame) -> Graph:
    from av.filter.graph import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    filter_ = graph.add("bwdif", mode="send_frame", parity="auto", deint="interlaced")
    sink = graph.add("buffersink")
    source.link_to(filter_)
    filter_.link_to(sink)
    graph.configure()
    return graph
