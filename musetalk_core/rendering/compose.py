"""Composite rendered face crops into source frames. Pixels outside the face keep the source's bytes."""

from collections.abc import Generator

import cv2
import numpy as np

from musetalk_core.compositing.blending import composite
from musetalk_core.compositing.mask_cache import MaskCache, PositionedMask
from musetalk_core.engine_protocol import Engine, FaceFrame
from musetalk_core.faces.face_finder import find_mesh_for_landmarks
from musetalk_core.faces.mesh_topology import MESH_POINTS
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.idle_motion import IdleMotion
from musetalk_core.rendering.render_chunk import Scene
from musetalk_core.restoration.restorer_protocol import RenderedFace
from musetalk_core.types import Box, Float, Image

_CHROMA_MARGIN_PX = 2
"""Pixels read around a mask, because chroma is not interpolated at the border of the area that is read."""
_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


def compose(
    scene: Scene,
    engine: Engine,
    crops: CropReader,
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
    composer = FrameComposer(scene, engine, idle_seed, masks)
    source_frames = crops.sources.tolist()
    with FrameReader(scene.avatar.source_path(scene.source), scene.avatar.index) as reader:
        for number, (source, picture) in enumerate(
            zip(source_frames, reader.read(source_frames), strict=True)
        ):
            yield composer(picture, source, crops.crop(number), chunk.start + number)


class FrameComposer:
    """Makes finished frames of one avatar from source frames and rendered crops."""

    def __init__(
        self,
        scene: Scene,
        engine: Engine,
        idle_seed: int | None = None,
        masks: MaskCache | None = None,
        *,
        restores: bool = True,
    ) -> None:
        """
        Prepare for a scene; see `compose` for the other arguments.

        Args:
            restores: restore faces as the engine's options say. False if the frames are not consecutive.
        """
        self._rate = scene.rate
        self._paster = FacePaster(scene, engine, MaskCache() if masks is None else masks, restores=restores)
        is_animated = idle_seed is not None and scene.avatar.manifest.is_still
        self._still = AnimatedStill(scene, self._paster, idle_seed or 0) if is_animated else None

    def __call__(self, picture: Picture, source: int, crop: Image | None, frame: int) -> Picture:
        """
        Return the finished frame.

        Args:
            picture: the source frame.
            source:  its number.
            crop:    the rendered crop, uint8 BGR; None if the frame shows no face.
            frame:   number of the output frame.
        """
        if self._still is not None:
            return self._still.picture_at(picture, crop, float(frame / self._rate))
        return picture if crop is None else self._paster(picture, source, crop)


class FacePaster:
    """Pastes rendered crops into the frames of one avatar, with the engine's blend masks."""

    def __init__(self, scene: Scene, engine: Engine, masks: MaskCache, *, restores: bool = True) -> None:
        self._avatar, self._engine, self._masks = scene.avatar, engine, masks
        self._restorer = engine.open_restorer() if restores else None

    def __call__(self, picture: Picture, source: int, crop: Image) -> Picture:
        """Return a copy of `picture` (source frame `source`) with the crop, uint8 BGR, blended in."""
        box = self._avatar.box(source)
        positioned_mask = self.positioned_mask(source)
        if positioned_mask is None:
            return picture.with_crop(crop, picture.bgr(box), box)
        mask, area = positioned_mask
        picture_size = picture.width, picture.height
        blend_area = area.intersection(box).expand(_CHROMA_MARGIN_PX).clip(*picture_size).align_even()
        if area.is_empty or blend_area.is_empty:
            return picture
        background = picture.bgr(blend_area)
        face = self._restored(picture, source, resize_to_box(crop, box), area)
        return picture.with_crop(
            composite(background, blend_area, face, box, mask, area), background, blend_area
        )

    def _restored(self, picture: Picture, source: int, face: Image, mask_area: Box) -> Image:
        if self._restorer is None:
            return face
        box = self._avatar.box(source)
        visible = mask_area.intersection(box).clip(picture.width, picture.height)
        landmarks = self._avatar.landmarks(source)
        return self._restorer.restore(RenderedFace(face, box, visible, source, picture, landmarks))

    def positioned_mask(self, source: int) -> PositionedMask:
        """Return the blend mask of a source frame and its position; None if crops are pasted as they are."""
        return self._masks.get(source, lambda: self._compute_mask(source))

    def _compute_mask(self, source: int) -> PositionedMask:
        avatar = self._avatar
        box, shot = avatar.box(source), int(avatar.shots[source])
        face = FaceFrame(source, shot, box, _NO_PIXELS, avatar.landmarks(source))
        return self._engine.mask(face, avatar.conditioning)


def resize_to_box(crop: Image, box: Box) -> Image:
    """Scale a rendered crop to the size of its box, bilinearly as the original MuseTalk does."""
    if crop.shape[1::-1] == box.size:
        return crop
    return np.asarray(cv2.resize(crop, box.size, interpolation=cv2.INTER_LINEAR), np.uint8)


class AnimatedStill:
    """A still with idle motion: the rendered mouth is pasted first, then blinks and sway are applied."""

    def __init__(self, scene: Scene, paster: FacePaster, seed: int) -> None:
        self._avatar, self._paster, self._seed = scene.avatar, paster, seed
        self._motion: IdleMotion | None = None

    def picture_at(self, picture: Picture, crop: Image | None, time_s: float) -> Picture:
        """Return the frame at `time_s` seconds of the output; with `crop` None the mouth stays unchanged."""
        if self._motion is None:
            size = picture.width, picture.height
            self._motion = IdleMotion(size, self._mesh_landmarks(picture), self._seed)
        region = self._motion.region
        with_mouth = picture if crop is None else self._paster(picture, 0, crop)
        return picture.with_crop(
            self._motion.apply(with_mouth.bgr(region), time_s), picture.bgr(region), region
        )

    def _mesh_landmarks(self, picture: Picture) -> Float:
        """Return mesh landmarks, which the eyelids need; detect them if the avatar has other landmarks."""
        landmarks = self._avatar.landmarks(0)
        return landmarks if len(landmarks) == MESH_POINTS else find_mesh_for_landmarks(picture, landmarks)
