"""Re-exports of the modules about the frames of a clip: scan, index, reader, proxy and timeline."""

from musetalk_core.media.video.frame_index import VideoIndex
from musetalk_core.media.video.frame_reader import DEFAULT_BUDGET_BYTES, FrameReader
from musetalk_core.media.video.proxy import write_proxy
from musetalk_core.media.video.scan import Scan, open_scan
from musetalk_core.media.video.timeline import Playback, source_frames, source_frames_between

__all__ = [
    "DEFAULT_BUDGET_BYTES",
    "FrameReader",
    "Playback",
    "Scan",
    "VideoIndex",
    "open_scan",
    "source_frames",
    "source_frames_between",
    "write_proxy",
]
