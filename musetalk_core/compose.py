"""Composite rendered face crops into source frames. Pixels outside the face keep the source's bytes."""

from collections.abc import Generator

import cv2
import numpy as np

from musetalk_core.blending import composite
from musetalk_core.crops import Crops
from musetalk_core.engine import Engine, FaceFrame
from musetalk_core.faces.finding import mesh_at
from musetalk_core.faces.topology import MESH_POINTS
from musetalk_core.idle import Idle
from musetalk_core.masks import MaskCache, Placed
from musetalk_core.media.picture import Picture
from musetalk_core.media.reader import FrameReader
from musetalk_core.plan import Chunk
from musetalk_core.render import Scene
from musetalk_core.types import Box, Float, Image

_CHROMA_REACH = 2
"""Pixels read around a mask, because chroma is not interpolated at the border of the area that is read."""
_UNREAD = np.zeros((0, 0, 3), np.uint8)


def compose(
    scene: Scene,
    engine: Engine,
    crops: Crops,
    chunk: Chunk,
    idle_seed: int | None = None,
    masks: MaskCache | None = None,
) -> Generator[Picture]:
    """
    Yield the finished frames of one chunk in order. Close the generator if it is not read to the end.

    Args:
        scene:     the avatar, its source file and the output frame rate.
        engine:    the engine that rendered the crops; supplies the blend masks.
        crops:     the crops it rendered for this chunk.
        chunk:     the range of output frames.
        idle_seed: seed of the idle motion of a still. With None, or if the source is a video, only the mouth
            moves.
        masks:     mask cache of this avatar under this engine, to share between chunks; None = a new one.
    """
    avatar = scene.avatar
    paste = Paste(scene, engine, MaskCache() if masks is None else masks)
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


class Paste:
    """Pastes rendered crops into the frames of one avatar, with the engine's blend masks."""

    def __init__(self, scene: Scene, engine: Engine, masks: MaskCache) -> None:
        self._avatar, self._engine, self._masks = scene.avatar, engine, masks

    def __call__(self, picture: Picture, source: int, crop: Image) -> Picture:
        """Return a copy of `picture` (source frame `source`) with the crop, uint8 BGR, blended in."""
        box = self._avatar.box(source)
        placed = self._masks.get(source, lambda: self._mask(source, box))
        if placed is None:
            return picture.pasted(crop, picture.bgr(box), box)
        mask, area = placed
        whole = picture.width, picture.height
        inside = area.shared(box).grown(_CHROMA_REACH).clipped(*whole).evened()
        if area.is_empty or inside.is_empty:
            return picture
        before = picture.bgr(inside)
        return picture.pasted(composite(before, inside, fitted(crop, box), box, mask, area), before, inside)

    def _mask(self, source: int, box: Box) -> Placed:
        avatar = self._avatar
        face = FaceFrame(source, int(avatar.shots[source]), box, _UNREAD, avatar.landmarks(source))
        return self._engine.mask(face, avatar.conditioning)


def fitted(crop: Image, box: Box) -> Image:
    """Scale a rendered crop to the size of its box, bilinearly as the original MuseTalk does."""
    if crop.shape[1::-1] == box.size:
        return crop
    return np.asarray(cv2.resize(crop, box.size, interpolation=cv2.INTER_LINEAR), np.uint8)


class StillWithIdle:
    """A still with idle motion: the rendered mouth is pasted first, then blinks and sway are applied."""

    def __init__(self, scene: Scene, paste: Paste, seed: int) -> None:
        self._avatar, self._paste, self._seed = scene.avatar, paste, seed
        self._idle: Idle | None = None

    def at(self, picture: Picture, crop: Image | None, time_s: float) -> Picture:
        """Return the frame at `time_s` seconds of the output; with `crop` None the mouth stays unchanged."""
        if self._idle is None:
            size = picture.width, picture.height
            self._idle = Idle(size, self._mesh(picture), self._seed)
        region = self._idle.region
        talking = picture if crop is None else self._paste(picture, 0, crop)
        return picture.pasted(self._idle.apply(talking.bgr(region), time_s), picture.bgr(region), region)

    def _mesh(self, picture: Picture) -> Float:
        """Return mesh landmarks, which the eyelids need; detect them if the avatar has other landmarks."""
        landmarks = self._avatar.landmarks(0)
        return landmarks if len(landmarks) == MESH_POINTS else mesh_at(picture, landmarks)
