"""Colors of still images: convert by their ICC profile to sRGB, refuse HDR."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from musetalk_core.errors import MediaUnreadable

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_HEAD_BYTES: Final = 65_536
_CICP: Final = b"\0\0\0\x04cICP"
"""Length and name of the PNG chunk with coding-independent code points."""
_HDR_TRANSFERS: Final = {16: "PQ", 18: "HLG"}


def to_srgb(image: PillowImage) -> PillowImage:
    """Return an image in sRGB; the same image if it has no ICC profile, an sRGB one or a damaged one."""
    profile: Any = image.info.get("icc_profile")
    if not profile:
        return image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        plain, alpha = _split_alpha(image)
        converted = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # viewers ignore a profile that they cannot read, or that is for other colors
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _split_alpha(image: PillowImage) -> tuple[PillowImage, PillowImage | None]:
    """Return the colors of an image in a mode that profiles know, and its alpha channel if it has one."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    mode = "L" if image.mode in ("1", "L", "LA") else "CMYK" if image.mode == "CMYK" else "RGB"
    return image.convert(mode), alpha


def refuse_hdr_png(path: Path) -> None:
    """
    Check that a PNG is not HDR.

    Raises:
        MediaUnreadable: its code points say PQ or HLG.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    place = head.partition(b"IDAT")[0].find(_CICP)
    transfer = _HDR_TRANSFERS.get(head[place + len(_CICP) + 1]) if place >= 0 else None
    if transfer is not None:
        raise MediaUnreadable(f"The image is HDR ({transfer}), which is not supported; export it as sRGB.")
