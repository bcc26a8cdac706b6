"""Additions to every picture of a video after rendering (label, mark), and the shared masks of an avatar."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from musetalk_core.compositing.mask_cache import MaskCache
from musetalk_core.imperceptible_mark.picture_marker import PictureMarker
from musetalk_core.media.image.corner_label import Labeler
from musetalk_core.media.image.yuv_picture import Picture
from tasks.catalog.mark_keys import mark_key
from tasks.models.engines import EngineSpec

if TYPE_CHECKING:
    from tasks.steps.render_chunk import RenderJob


def picture_changes(
    render_job: "RenderJob", width: int, height: int
) -> tuple[Callable[[Picture], Picture], Callable[[Picture], Picture]]:
    """Return what is added to every picture of a video, in this order: the label, the imperceptible mark."""
    label = Labeler(render_job.label, width, height) if render_job.label else _unchanged
    mark = PictureMarker(mark_key(render_job.mark), width, height) if render_job.mark else _unchanged
    return label, mark


def _unchanged(picture: Picture) -> Picture:
    return picture


@lru_cache(maxsize=2)
def mask_cache(avatar: Path, inode: int, spec: EngineSpec) -> MaskCache:
    """Return the mask cache of an avatar, shared by all its chunks. The inode detects a replaced folder."""
    del avatar, inode, spec
    return MaskCache()
