"""Apply the cropping that a container states to decoded frames, with FFmpeg's filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame

    from musetalk_core.media.source.cropping import Crop


class Cropper:
    """A filter for the frames of one stream; frames pass unchanged without a crop."""

    def __init__(self, crop: Crop | None) -> None:
        """
        Take the crop.

        Args:
            crop: as the container states it; None for none.
        """
        self._crop = crop
        self._graph: Graph | None = None
        self._form: tuple[object, ...] = ()

    def apply(self, frame: VideoFrame) -> VideoFrame:
        """
        Return the part of a frame that is shown, with its timestamps and properties.

        Chroma planes are cropped by whole samples: odd positions of 4:2:0 are rounded down.

        Raises:
            MediaUnreadable: nothing of the frame would remain.
        """
        if self._crop is None:
            return frame
        form = frame.width, frame.height, frame.format.name, frame.time_base
        if self._graph is None or form != self._form:
            self._graph, self._form = _build_graph(frame, self._crop), form
        times = frame.pts, frame.duration
        self._graph.vpush(frame)
        cropped = self._graph.vpull()
        cropped.pts, cropped.duration = times
        return cropped


def _build_graph(frame: VideoFrame, crop: Crop) -> Graph:
    from av.filter.graph import Graph

    width, height = crop.size(frame.width, frame.height)
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    filter_ = graph.add("crop", f"{width}:{height}:{crop.left}:{crop.top}")
    sink = graph.add("buffersink")
    source.link_to(filter_)
    filter_.link_to(sink)
    graph.configure()
    return graph
