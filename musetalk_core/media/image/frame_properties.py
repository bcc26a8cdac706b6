"""Read the properties of a decoded frame (matrix, range, orientation, alpha); refuse unsupported ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.image.orientation import Orientation

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_SWSCALE_SPACES: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""AVColorSpace -> swscale's color space number; both are part of FFmpeg's ABI."""
_UNSUPPORTED_SPACES: Final = {
    8: "YCgCo",
    11: "SMPTE ST 2085",
    12: "chroma-derived",
    13: "chroma-derived",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-R",
    17: "YCgCo-R",
}
SWSCALE_BT709: Final = 1
_SWSCALE_BT601: Final = 5
_MATRIX_OF_PRIMARIES: Final = {1: SWSCALE_BT709, 5: _SWSCALE_BT601, 6: _SWSCALE_BT601, 9: 9}
LIMITED_RANGE, FULL_RANGE = 1, 2  # AVColorRange
_UNSPECIFIED: Final = 2
_HD_WIDTH, _MAX_SD_HEIGHT = 1280, 576
"""Untagged video is BT.709 from this width on or above this height, else BT.601, as players guess."""


def check_supported(frame: VideoFrame) -> None:
    """
    Refuse frames whose pixels would be misread.

    Raises:
        MediaUnreadable: Dolby Vision without a compatible base, 3D, 360 degrees, or an unsupported matrix.
    """
    found = {data.type.name: bytes(data) for data in _side_data(frame)}
    is_dolby = "DOVI_RPU_BUFFER" in found or "DOVI_METADATA" in found
    space = _UNSUPPORTED_SPACES.get(int(frame.colorspace))
    if is_dolby and int(frame.color_trc) == _UNSPECIFIED and int(frame.colorspace) == _UNSPECIFIED:
        what = "Dolby Vision colors without an HDR10 or SDR base"
    elif any(found.get("STEREO3D", b"")[:4]):
        what = "two views (3D video)"
    elif "SPHERICAL" in found:
        what = "a 360-degree picture"
    elif space is not None and not is_rgb(frame):
        what = f"{space} colors"
    else:
        return
    raise MediaUnreadable(f"The video has {what}, which is not supported; export it as BT.709 (SDR).")


def _side_data(frame: VideoFrame) -> Any:
    return frame.side_data  # typed as a dict of motion vectors, is a sequence of all


def frame_orientation(frame: VideoFrame) -> Orientation:
    """Return the orientation from a frame's display matrix."""
    for data in _side_data(frame):
        if data.type.name == "DISPLAYMATRIX":
            return Orientation.from_matrix(bytes(data))
    return Orientation()


def colour_space(frame: VideoFrame) -> int:
    """Return swscale's number of a frame's color matrix; guessed from primaries or size if untagged."""
    if is_rgb(frame):
        return SWSCALE_BT709
    is_hd = frame.width >= _HD_WIDTH or frame.height > _MAX_SD_HEIGHT
    guess = SWSCALE_BT709 if is_hd else _SWSCALE_BT601
    guess = _MATRIX_OF_PRIMARIES.get(int(frame.color_primaries), guess)
    return _SWSCALE_SPACES.get(int(frame.colorspace), guess)


def is_full_range(frame: VideoFrame) -> bool:
    """Return whether luma has the full range 0..255: by tag, by pixel format, RGB, or untagged gray."""
    name = frame.format.name
    if is_rgb(frame) or name.startswith("yuvj"):
        return True
    return frame.color_range == FULL_RANGE or (
        name.startswith(("gray", "ya")) and frame.color_range != LIMITED_RANGE
    )


def is_rgb(frame: VideoFrame) -> bool:
    """Return whether a frame holds RGB, directly or in a palette."""
    return frame.format.is_rgb or frame.format.has_palette


def has_alpha(frame: VideoFrame) -> bool:
    """Return whether a frame has an alpha channel."""
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
