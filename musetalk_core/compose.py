"""Put rendered crops back into their pictures: what is not the face keeps the source's bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np

from musetalk_core.blending import composite
from musetalk_core.crops import Crops
from musetalk_core.engine import Engine
from musetalk_core.faces.oval import oval_mask
from musetalk_core.idle import Idle
from musetalk_core.media.picture import Picture
from musetalk_core.media.reader import FrameReader
from musetalk_core.plan import Chunk
from musetalk_core.render import Scene
from musetalk_core.types import Box, Image, Mask

_CHROMA_REACH = 2
"""A pixel's colour is interpolated from chroma samples up to this far away; without them edges would tint."""


class Paste(Protocol):
    """One way to get a crop into a picture."""

    def __call__(self, picture: Picture, source: int, crop: Image) -> Picture:
        """A copy of `picture` (source frame `source`) that shows the crop."""
        ...


@dataclass(frozen=True, slots=True)
class OwnBlend:
    """For engines whose crops already end in the source's own pixels."""

    scene: Scene

    def __call__(self, picture: Picture, source: int, crop: Image) -> Picture:
        """See `Paste`."""
        box = self.scene.avatar.box(source)
        return picture.pasted(crop, picture.bgr(box), box)


class MaskBlend:
    """For engines that draw a whole crop: the feathered face oval decides how much of it shows."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._mask = lru_cache(maxsize=64)(self._make_mask)

    def __call__(self, picture: Picture, source: int, crop: Image) -> Picture:
        """See `Paste`."""
        box, (mask, area) = self._scene.avatar.box(source), self._mask(source)
        if area.is_empty:
            return picture
        face = np.asarray(cv2.resize(crop, box.size, interpolation=cv2.INTER_LINEAR), np.uint8)
        whole = picture.width, picture.height
        inside = area.grown(_CHROMA_REACH).clipped(*whole).evened().clipped(*whole)
        before = picture.bgr(inside)
        return picture.pasted(composite(before, inside, face, box, mask, area), before, inside)

    def _make_mask(self, source: int) -> tuple[Mask, Box]:
        avatar = self._scene.avatar
        return oval_mask(avatar.landmarks(source), avatar.box(source))


class StillWithIdle:
    """For a still: the mouth first, then blinks and sway over the region they reach."""

    def __init__(self, scene: Scene, paste: Paste, seed: int) -> None:
        avatar = scene.avatar
        self._scene, self._paste = scene, paste
        self._idle = Idle((avatar.manifest.width, avatar.manifest.height), avatar.landmarks(0), seed)

    def at(self, picture: Picture, crop: Image | None, time_s: float) -> Picture:
        """The picture at a time of the result, moved; `crop` None keeps its own mouth."""
        region = self._idle.region
        talking = picture if crop is None else self._paste(picture, 0, crop)
        return picture.pasted(self._idle.apply(talking.bgr(region), time_s), picture.bgr(region), region)


def compose(
    scene: Scene, engine: Engine, crops: Crops, chunk: Chunk, idle_seed: int | None = None
) -> Iterator[Picture]:
    """
    The finished pictures of one chunk, in order.

    Args:
        scene:     the avatar and how it is played.
        engine:    the one that rendered; says who blends.
        crops:     what it rendered for this chunk.
        chunk:     which output frames.
        idle_seed: moves a still gently; None, or a source that is no still: nothing but the mouth moves.
    """
    avatar = scene.avatar
    paste: Paste = OwnBlend(scene) if engine.brings_blend else MaskBlend(scene)
    moves = idle_seed is not None and avatar.manifest.is_still
    idle = StillWithIdle(scene, paste, idle_seed or 0) if moves else None
    frames = crops.sources.tolist()
    with FrameReader(avatar.source_path(scene.source), avatar.index) as reader:
        for number, (source, picture) in enumerate(zip(frames, reader.read(frames), strict=True)):
            crop = crops.crop(number)
            if idle is not None:
                yield idle.at(picture, crop, float((chunk.start + number) / scene.rate))
            else:
                yield picture if crop is None else paste(picture, source, crop)
